// Command recording runs tokend demo and tokenctl status --watch in a terminal (tmux),
// and prints what their screens show over time as an animated SVG:
//
//	go run ./packaging/recording > docs/demo.svg
package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	columns  = 80
	interval = 100 * time.Millisecond // between two looks at the screens
	patience = 2 * time.Minute
	ending   = 3 * time.Second // recorded after the demo's last word
	pause    = 6 * time.Second // with the last picture, before it begins again
)

// The two terminals: their names, what is typed there, and their heights.
var (
	names    = []string{"demo", "status"}
	commands = []string{"tokend demo", "tokenctl status --watch"}
	rows     = []int{28, 12}
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	dir, err := os.MkdirTemp("", "recording")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if out, err := exec.Command("go", "build", "-o", dir, "./cmd/tokend", "./cmd/tokenctl").CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	t := terminals{dir: dir}
	defer func() { _, _ = t.tmux("kill-server") }() // it may have ended
	frames, err := t.record()
	if err == nil {
		_, err = os.Stdout.WriteString(draw(frames))
	}
	return err
}

// terminals are those of a tmux server of our own.
type terminals struct{ dir string }

func (t terminals) tmux(args ...string) (string, error) {
	c := exec.Command("tmux", append([]string{"-S", filepath.Join(t.dir, "tmux"), "-f", os.DevNull}, args...)...)
	c.Env = []string{"PATH=" + t.dir + ":/usr/bin:/bin", "HOME=" + t.dir, "PS1=$ ", "LANG=C.UTF-8", "TERM=xterm-256color"}
	out, err := c.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), err
}

// open opens the i-th terminal with a shell, and types its command.
func (t terminals) open(i int, environment string) error {
	_, err := t.tmux("new-session", "-d", "-s", names[i], "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows[i]),
		"-e", environment, "-e", "HISTFILE=", "bash", "--norc", ";", "set", "status", "off")
	if err != nil {
		return err
	}
	_, err = t.tmux("send-keys", "-t", names[i], commands[i], "Enter")
	return err
}

// A frame is what the terminals show at a time, line by line with their colours.
type frame struct {
	at    time.Duration
	lines []string
}

var place = regexp.MustCompile(`, in (\S+)`)

// record runs the two programs, the second as soon as the first says where.
func (t terminals) record() (frames []frame, err error) {
	if err := t.open(0, "TMPDIR=/tmp"); err != nil {
		return nil, err
	}
	var watched bool
	var end time.Duration
	for begin := time.Now(); ; time.Sleep(interval) {
		f := frame{at: time.Since(begin)}
		for i := range rows {
			screen := ""
			if i == 0 || watched {
				if screen, err = t.tmux("capture-pane", "-e", "-p", "-t", names[i]); err != nil {
					return nil, err
				}
			}
			lines := append(carryColours(strings.Split(strings.TrimRight(screen, "\n"), "\n")), make([]string, rows[i])...)
			f.lines = append(f.lines, lines[:rows[i]]...)
		}
		frames = append(frames, f)
		text := strings.Join(f.lines, "\n")
		if m := place.FindStringSubmatch(text); m != nil && !watched {
			watched = true
			if err := t.open(1, "TOKEND_SOCKET="+m[1]+"/tokend.sock"); err != nil {
				return nil, err
			}
		}
		if end == 0 && strings.Contains(text, "Ctrl-C ends the demo") {
			end = f.at + ending
		}
		if end > 0 && f.at > end {
			_, err := t.tmux("send-keys", "-t", names[0], "C-c")
			return frames, errors.Join(err, t.awaitPrompt(names[0]))
		}
		if f.at > patience {
			return nil, fmt.Errorf("the demo does not end:\n%s", text)
		}
	}
}

// carryColours has each line begin with the colours that the line before ended with.
func carryColours(lines []string) []string {
	colours := ""
	for i, text := range lines {
		lines[i] = colours + text
		colours = strings.Join(sgr.FindAllString(lines[i], -1), "")
		if j := strings.LastIndex(colours, reset); j >= 0 {
			colours = colours[j+len(reset):]
		}
	}
	return lines
}

// awaitPrompt waits for the shell, so that the demo has taken its files away.
func (t terminals) awaitPrompt(terminal string) error {
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(interval) {
		screen, err := t.tmux("capture-pane", "-p", "-t", terminal)
		if err != nil || strings.HasSuffix(strings.TrimRight(screen, "\n"), "$") {
			return err
		}
	}
	return errors.New("the demo does not end at Ctrl-C")
}

// The picture, in pixels.
const (
	cell, line, size = 8.4, 19, 14
	margin, gap      = 18, 30
)

// A span is a line that a terminal shows for a time.
type span struct {
	from, to time.Duration
	row      int
	text     string
}

// spans are the lines of all frames, each once for as long as it stays.
func spans(frames []frame, end time.Duration) (all []span) {
	for row := range frames[0].lines {
		for i := 0; i < len(frames); {
			s := span{from: frames[i].at, row: row, text: frames[i].lines[row], to: end}
			for i++; i < len(frames); i++ {
				if frames[i].lines[row] != s.text {
					s.to = frames[i].at
					break
				}
			}
			if strings.TrimSpace(sgr.ReplaceAllString(s.text, "")) != "" {
				all = append(all, s)
			}
		}
	}
	return all
}

// draw draws the frames. Where nothing moves, by choice or for want of CSS, the last
// one is seen.
func draw(frames []frame) string {
	end := frames[len(frames)-1].at + pause
	var style, body bytes.Buffer
	classes := map[string]string{}
	for _, s := range spans(frames, end) {
		first, last := 100*s.from.Seconds()/end.Seconds(), 100*s.to.Seconds()/end.Seconds()
		rule := fmt.Sprintf("0%%{visibility:hidden}%.2f%%{visibility:visible}%.2f%%{visibility:%s}", first, last, map[bool]string{true: "visible", false: "hidden"}[s.to == end])
		class, ok := classes[rule]
		if !ok {
			class = "k" + strconv.Itoa(len(classes))
			classes[rule] = class
			fmt.Fprintf(&style, "@keyframes %s{%s}.%[1]s{animation-name:%[1]s}\n", class, rule)
		}
		if s.to != end {
			class += " gone"
		}
		fmt.Fprintf(&body, "<g class=\"%s\">%s</g>\n", class, drawLine(s))
	}
	width, divide := columns*cell+2*margin, float64(margin+line*rows[0]+gap/2)
	height := margin*2 + line*(rows[0]+rows[1]) + gap
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]g" height="%[2]d" viewBox="0 0 %[1]g %[2]d" role="img">
<title>%[10]s, and below it %[11]s</title>
<style>
text{font:%[3]dpx ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#e6edf3;white-space:pre}
.faint{fill:#8b949e}.c31{fill:#ff7b72}.c32{fill:#3fb950}.c33{fill:#d29922}
.label{font-size:12px;text-anchor:end}g{animation:%.1[4]fs step-end infinite}.gone{visibility:hidden}
@media(prefers-reduced-motion:reduce){.label{font-size:12px;text-anchor:end}g{animation:none}}
%[5]s</style>
<rect x=".5" y=".5" width="%[6]g" height="%[7]d" rx="8" fill="#0d1117" stroke="#30363d"/>
<path d="M0 %[8]gH%[1]g" stroke="#30363d"/>
<text class="faint label" x="%[12]g" y="%[13]g">%[11]s</text>
%[9]s</svg>
`, width, height, size, end.Seconds(), style.String(), width-1, height-1, divide, body.String(), commands[0], commands[1], width-margin, divide+18)
}

// sgr are the sequences for colours, and reset ends them all.
var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

const reset = "\x1b[0m"

// drawLine draws a line in pieces of one colour each.
func drawLine(s span) string {
	y := margin + line*s.row + size
	if s.row >= rows[0] {
		y += gap
	}
	var b strings.Builder
	column, faint, colour := 0, "", ""
	piece := func(text string) {
		if trimmed := strings.TrimSpace(text); trimmed != "" {
			lead := len(text) - len(strings.TrimLeft(text, " "))
			fmt.Fprintf(&b, `<text x="%g" y="%d" textLength="%g" class="%s">%s</text>`, margin+cell*float64(column+lead), y,
				cell*float64(utf8.RuneCountInString(trimmed)), cmp.Or(faint, colour), html.EscapeString(trimmed))
		}
		column += utf8.RuneCountInString(text)
	}
	from := 0
	for _, m := range sgr.FindAllStringSubmatchIndex(s.text, -1) {
		piece(s.text[from:m[0]])
		from = m[1]
		for _, code := range strings.Split(cmp.Or(s.text[m[2]:m[3]], "0"), ";") {
			switch code {
			case "0":
				faint, colour = "", ""
			case "2":
				faint = "faint"
			case "39":
				colour = ""
			case "31", "32", "33":
				colour = "c" + code
			}
		}
	}
	piece(s.text[from:])
	return b.String()
}
