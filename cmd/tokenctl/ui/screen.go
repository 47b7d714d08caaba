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
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"tokend/cmd/tokenctl/cli"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

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

// AnswerLine writes a value that came as JSON, on a line.
func (s Screen) AnswerLine(v any) error {
	line, _ := json.Marshal(v)
	return s.Answer(PlainJSON(string(line)) + "\n")
}

// Paint is text in a style.
func (s Screen) Paint(as Style, text string) string {
	if !s.Colour || as == Plain {
		return text
	}
	return string(as) + text + "\x1b[0m"
}

// Size is a terminal's size in characters; for anything else it is what is usual.
func (s Screen) Size() (columns, rows int) {
	if f, ok := s.W.(*os.File); ok {
		columns, rows, _ = term.GetSize(int(f.Fd())) // zero with an error
	}
	return cmp.Or(columns, cli.Width), cmp.Or(rows, 24)
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

// List is a table under headings. The last column is cut to what the screen has
// left for it, but to no less than a few characters.
func (s Screen) List(rows []Row, heads ...string) string {
	const least = 8
	rows = slices.Insert(rows, 0, Header(heads...))
	last := len(heads) - 1
	columns, _ := s.Size()
	for _, width := range widths(rows)[:last] {
		columns -= width + len(gap)
	}
	for _, r := range rows {
		r.Cells[last].Text = Cut(r.Cells[last].Text, max(least, columns))
	}
	return s.Table(rows)
}

// gap stands between the columns of a table.
const gap = "  "

// widths are how wide the columns of a table are.
func widths(rows []Row) (list []int) {
	for _, r := range rows {
		for i, c := range r.Cells {
			if i == len(list) {
				list = append(list, 0)
			}
			list[i] = max(list[i], utf8.RuneCountInString(c.Text))
		}
	}
	return list
}

// Table lines up the cells of rows, which must be printable.
func (s Screen) Table(rows []Row) string {
	var b strings.Builder
	columns := widths(rows)
	for _, r := range rows {
		for i, c := range r.Cells {
			b.WriteString(s.Paint(c.As, c.Text))
			if i < len(r.Cells)-1 {
				b.WriteString(strings.Repeat(" ", columns[i]-utf8.RuneCountInString(c.Text)) + gap)
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
	return escaped(text, "\n", func(r rune, raw string) (code string) {
		for _, unit := range utf16.Encode([]rune{r}) {
			code += fmt.Sprintf(`\u%04x`, unit)
		}
		return code
	})
}

// escaped has code stand for what cannot be printed and is not among keep, bytes that
// are not UTF-8 among it.
func escaped(text, keep string, code func(r rune, raw string) string) string {
	isPlain := func(r rune) bool { return unicode.IsPrint(r) || strings.ContainsRune(keep, r) }
	if !strings.ContainsFunc(text, func(r rune) bool { return r == utf8.RuneError || !isPlain(r) }) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if raw := text[:n]; isPlain(r) && (r != utf8.RuneError || n > 1) {
			b.WriteString(raw)
		} else {
			b.WriteString(code(r, raw))
		}
		text = text[n:]
	}
	return b.String()
}

// Checks is a line for each check of a doctor, with the advice below it.
func (s Screen) Checks(checks []token.Check) string {
	styles := map[string]Style{token.CheckOK: Good, token.CheckWarn: Warn, token.CheckFail: Bad}
	var b strings.Builder
	for _, c := range checks {
		result := fmt.Sprintf("%-6s", Printable(c.Result))
		b.WriteString(s.Paint(styles[c.Result], result) + strings.TrimPrefix(Wrap(Printable(c.Name+": "+c.Text), result), result))
		for line := range strings.Lines(c.Advice) {
			b.WriteString(Wrap("-> "+Printable(strings.TrimSuffix(line, "\n")), "      "))
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
	nearest := func(unit time.Duration) int { return int((d + unit/2) / unit) }
	seconds, minutes, hours := int(d/time.Second), nearest(time.Minute), nearest(time.Hour)
	switch {
	case seconds < 120 && seconds != 60:
		return strconv.Itoa(seconds) + " s"
	case minutes < 120 && minutes != 60:
		return strconv.Itoa(minutes) + " min"
	case hours < 48:
		return strconv.Itoa(hours) + " h"
	}
	return strconv.Itoa(nearest(24*time.Hour)) + " days"
}

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
	return escaped(s, "", func(r rune, raw string) string {
		if r == utf8.RuneError {
			return fmt.Sprintf(`\x%02x`, raw)
		}
		return strings.Trim(strconv.QuoteRuneToASCII(r), "'")
	})
}

// Setting is a setting's value on one line: text as it is, nothing for none,
// the rest as JSON.
func Setting(v any) string {
	s, ok := v.(string)
	if !ok && v != nil {
		b, _ := json.Marshal(v) // it came as JSON
		return string(b)
	}
	s = strings.TrimSpace(s)
	if n := strings.Count(s, "\n") + 1; n > 1 {
		return fmt.Sprintf("(%d lines)", n)
	}
	return s
}

// Wrap is cli.Wrap.
func Wrap(text, head string) string { return cli.Wrap(text, head) }

// Cut shortens text to n characters.
func Cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-3]) + "..."
}
