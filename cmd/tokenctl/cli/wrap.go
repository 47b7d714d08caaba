package cli

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Width is how wide help, hints and tables are at most.
const Width = 80

// columns is how wide prose is: as the terminal, but not wider than Width, which
// it also is if there is no terminal.
func columns() int {
	for _, f := range []*os.File{os.Stderr, os.Stdout} {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return min(n, Width)
		}
	}
	return Width
}

// NoBreak is a space (U+00A0) where Wrap does not break a line.
const NoBreak = "\u00a0"

// Wrap writes printable text behind head, breaks it between words where the
// terminal ends, and goes on below its beginning. All prose that people read goes
// through it.
func Wrap(text, head string) string {
	width, line, indent := columns(), head, strings.Repeat(" ", utf8.RuneCountInString(head))
	var b strings.Builder
	for i, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }) {
		switch {
		case i == 0:
		case utf8.RuneCountInString(line+" "+word) > width:
			b.WriteString(line + "\n")
			line = indent
		default:
			line += " "
		}
		line += word
	}
	return strings.ReplaceAll(b.String()+line, NoBreak, " ") + "\n"
}

// Message is printable text for w. If that is a terminal, lines that are too long
// for it are wrapped under their own beginning; programs, which read lines, get
// them as they are.
func Message(w io.Writer, text string) string {
	if !IsTerminal(w) {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		words := strings.TrimLeft(line, " ")
		if end := strings.TrimSuffix(words, "\n"); len(end) < len(words) && utf8.RuneCountInString(line) > columns() {
			line = Wrap(end, line[:len(line)-len(words)])
		}
		b.WriteString(line)
	}
	return b.String()
}

// Prose returns a writer to w for whole lines, each of which is a Message.
func Prose(w io.Writer) io.Writer { return prose{w} }

type prose struct{ io.Writer }

// Write implements io.Writer.
func (p prose) Write(b []byte) (int, error) {
	_, err := io.WriteString(p.Writer, Message(p.Writer, string(b)))
	return len(b), err
}

// IsTerminal reports whether a reader or writer is a terminal.
func IsTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
