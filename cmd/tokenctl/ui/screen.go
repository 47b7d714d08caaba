package ui

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"tokend/cmd/tokenctl/cli"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// Width is how wide help, hints and tables are.
const Width = cli.Width

// A Style says how a word is meant; colours show it where there are any.
type Style string

// The styles.
const (
	Plain Style = ""
	Good  Style = "\x1b[32m"
	Warn  Style = "\x1b[33m"
	Bad   Style = "\x1b[31m"
	Faint Style = "\x1b[2m"
)

// A Screen is where words go.
type Screen struct {
	W      io.Writer
	Colour bool
}

// NewScreen returns the screen that w is, with colours if it is a terminal
// that has them.
func NewScreen(w io.Writer) Screen {
	return Screen{w, IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && runtime.GOOS != "windows"}
}

// IsTerminal reports whether a reader or writer is a terminal.
func IsTerminal(v any) bool { return cli.IsTerminal(v) }

// ObeysEscapes reports whether the screen is a terminal that obeys escape
// sequences.
func (s Screen) ObeysEscapes() bool {
	return IsTerminal(s.W) && os.Getenv("TERM") != "dumb" && obeysEscapes(s.W)
}

// Print writes text. Where it cannot be written, there is no place for the
// error either.
func (s Screen) Print(text string) { _, _ = io.WriteString(s.W, text) }

// Answer writes the result of a command.
func (s Screen) Answer(text string) error {
	if _, err := io.WriteString(s.W, text); err != nil {
		return fmt.Errorf("the answer could not be written: %w", err)
	}
	return nil
}

// AnswerJSON writes the result of a command with --json.
func (s Screen) AnswerJSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	return s.Answer(PlainJSON(b.String()))
}

// Paint is text in a style.
func (s Screen) Paint(as Style, text string) string {
	if !s.Colour || as == Plain {
		return text
	}
	return string(as) + text + "\x1b[0m"
}

// Rows is how many lines the screen has, 24 if that is not known.
func (s Screen) Rows() int {
	_, rows := s.size()
	return cmp.Or(rows, 24)
}

// Columns is how wide the screen is, Width if that is not known.
func (s Screen) Columns() int {
	columns, _ := s.size()
	return cmp.Or(columns, Width)
}

// size is a terminal's size in characters, zero for anything else.
func (s Screen) size() (columns, rows int) {
	f, ok := s.W.(*os.File)
	if !ok {
		return 0, 0
	}
	columns, rows, _ = term.GetSize(int(f.Fd())) // zero with an error
	return columns, rows
}

// A Cell is a word in a table.
type Cell struct {
	Text string
	As   Style
}

// A Row of a table can have notes, which stand below it.
type Row struct {
	Cells []Cell
	Notes []string
}

// Header is a row of headings.
func Header(names ...string) Row {
	var r Row
	for _, name := range names {
		r.Cells = append(r.Cells, Cell{name, Faint})
	}
	return r
}

// Pair is a row of a name and a value, which is made printable.
func Pair(name, value string, as Style) Row {
	return Row{Cells: []Cell{{name, Faint}, {Printable(value), as}}}
}

// FitLast shortens the last cells of rows to what is left of so many columns;
// a few characters of them stay in any case.
func FitLast(rows []Row, columns int) {
	const least = 8
	last := len(rows[0].Cells) - 1
	for i := range last {
		widest := 0
		for _, r := range rows {
			widest = max(widest, utf8.RuneCountInString(r.Cells[i].Text))
		}
		columns -= widest + 2
	}
	for _, r := range rows {
		r.Cells[last].Text = Cut(r.Cells[last].Text, max(least, columns))
	}
}

// Table lines up the cells of rows, which must be printable.
func (s Screen) Table(rows []Row) string {
	var widths []int
	for _, r := range rows {
		for i, c := range r.Cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		for i, c := range r.Cells {
			b.WriteString(s.Paint(c.As, c.Text))
			if i < len(r.Cells)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text)+2))
			}
		}
		b.WriteByte('\n')
		for _, note := range r.Notes {
			b.WriteString(Wrap(note, "    "))
		}
	}
	return b.String()
}

// Section is a heading over indented lines, empty if there are no lines.
func (s Screen) Section(heading string, as Style, lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	text := "\n" + s.Paint(as, heading) + "\n"
	for _, line := range lines {
		text += Wrap(Printable(line), "  ")
	}
	return text
}

// PlainJSON escapes the characters that JSON allows in strings and a terminal
// obeys: C1 controls, bidirectional overrides. Line ends are JSON's own.
func PlainJSON(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// Checks is a line for each check of a doctor, with the advice below it.
func (s Screen) Checks(checks []token.Check) string {
	const indent = "      "
	styles := map[string]Style{token.CheckOK: Good, token.CheckWarn: Warn, token.CheckFail: Bad}
	var b strings.Builder
	for _, c := range checks {
		text := Wrap(Printable(c.Name+": "+c.Text), indent)
		b.WriteString(s.Paint(styles[c.Result], fmt.Sprintf("%-*s", len(indent), Printable(c.Result))) + strings.TrimPrefix(text, indent))
		for line := range strings.Lines(c.Advice) {
			b.WriteString(Wrap("-> "+Printable(strings.TrimSuffix(line, "\n")), indent))
		}
	}
	return b.String()
}

// Typed is something to type, which Wrap does not break.
func Typed(parts ...string) string {
	line := strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
	return strings.ReplaceAll(line, " ", cli.NoBreak)
}

// Plainly is a hint with ordinary spaces.
func Plainly(hint string) string { return strings.ReplaceAll(hint, cli.NoBreak, " ") }

// Word is a profile's name as it is typed in a shell.
func Word(name string) string {
	if name == "" {
		return "NAME"
	}
	if strings.ContainsFunc(name, func(r rune) bool {
		return r >= utf8.RuneSelf || !strings.ContainsRune("._-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return format.ShellQuote(name)
	}
	return name
}

// Duration is a length of time to the nearest of the unit that people would
// use.
func Duration(d time.Duration) string {
	seconds, minutes, hours := d/time.Second, nearest(d, time.Minute), nearest(d, time.Hour)
	switch {
	case seconds < 120 && seconds != 60:
		return strconv.Itoa(int(seconds)) + " s"
	case minutes < 120 && minutes != 60:
		return strconv.Itoa(int(minutes)) + " min"
	case hours < 48:
		return strconv.Itoa(int(hours)) + " h"
	}
	return strconv.Itoa(int(nearest(d, 24*time.Hour))) + " days"
}

func nearest(d, unit time.Duration) time.Duration { return (d + unit/2) / unit }

// When is a moment as seen from now: "in 42 min".
func When(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d >= time.Second:
		return "in " + Duration(d)
	case d <= -time.Second:
		return Duration(-d) + " ago"
	}
	return "now"
}

// WhenOrDash is When, or a dash for no time at all.
func WhenOrDash(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return When(t, now)
}

// Took is how long something lasted.
func Took(d time.Duration) string {
	if d < time.Second {
		return strconv.Itoa(int(d/time.Millisecond)) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// Day is a date.
func Day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Printable makes text fit for a terminal: one line, and nothing in it that a
// terminal obeys (control characters, escape sequences) or that makes it show
// another order than there is (bidirectional overrides).
func Printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// Wrap breaks printable text between words, and indents each line.
func Wrap(text, indent string) string { return cli.Wrap(text, indent) }

// Cut shortens text to n characters.
func Cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-3]) + "..."
}

const (
	// progressAfter is how long something may last before it is shown.
	progressAfter = 500 * time.Millisecond
	// progressAgain is how often the time is updated.
	progressAgain = time.Second
)

// A Progress shows a person at a terminal, on stderr, what tokenctl waits for
// and for how long already. It leaves nothing behind.
type Progress struct {
	out   Screen
	began time.Time
	text  string

	mu    sync.Mutex
	shown int // characters on the screen
	timer *time.Timer
	ended bool
}

// Progress begins to show that something may last.
func (e *Env) Progress(text string) *Progress {
	return newProgress(e.Err, text, !e.Watching && IsTerminal(e.Err.W))
}

// newProgress shows progress on out, if it is seen there.
func newProgress(out Screen, text string, seen bool) *Progress {
	p := &Progress{out: out, began: time.Now(), text: text, ended: !seen}
	if seen {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.timer = time.AfterFunc(progressAfter, p.show)
	}
	return p
}

// End takes the text off the screen.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.ended = true
		p.timer.Stop()
		p.clear()
	}
}

// show shows the text in place of the one before.
func (p *Progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.clear()
	line := Cut(Printable(p.text)+" ... "+Duration(time.Since(p.began)), p.out.Columns()-1)
	p.out.Print(line)
	p.shown = utf8.RuneCountInString(line)
	p.timer.Reset(progressAgain)
}

// clear takes the text off the screen. p.mu is held.
func (p *Progress) clear() {
	if p.shown > 0 {
		p.out.Print("\r" + strings.Repeat(" ", p.shown) + "\r")
		p.shown = 0
	}
}
