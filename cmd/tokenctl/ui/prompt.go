package ui

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"tokend/cmd/tokenctl/cli"
	"tokend/providers/token"
)

// A Terminal asks a person: questions go to stderr, answers come from stdin.
type Terminal struct {
	In  *os.File
	Out Screen
	// fits reports whether the beginning of an answer may be shown; nil for any.
	fits func(text string) bool
}

// Terminal returns the terminal if there is a person who sees questions and can
// answer them.
func (e *Env) Terminal() (Terminal, bool) {
	f, ok := e.In.(*os.File)
	if !ok || !IsTerminal(f) || !IsTerminal(e.Err.W) {
		return Terminal{}, false
	}
	return Terminal{In: f, Out: e.Err}, true
}

// Explain introduces the next question on lines of its own.
func (t Terminal) Explain(text string) {
	if text != "" {
		t.Out.Print(Wrap(Printable(text), ""))
	}
}

// Ask asks for a line until it is not empty; an empty one means otherwise, if
// there is one.
func (t Terminal) Ask(question, otherwise string) (string, error) {
	if otherwise != "" {
		question += " [" + otherwise + "]"
	}
	for {
		line, err := t.read(question+": ", true)
		if line = cmp.Or(line, otherwise); err != nil || line != "" {
			return line, err
		}
	}
}

// AskSecret asks for a line that does not appear on the screen. It may be empty
// if it is optional.
func (t Terminal) AskSecret(question string, optional bool) (token.Secret, error) {
	text, err := t.read(question+map[bool]string{false: " (not shown): ", true: " (not shown, Enter for none): "}[optional], false)
	if err == nil && text == "" && !optional {
		err = ErrNoAnswer
	}
	return token.NewSecret(text), err
}

// AskFile asks for the name of a file, which may be empty if it is optional. The
// answer can be what is in the file instead: IsKey. No shell stands between, so
// a leading ~, and the quotes of a file that is dropped here, are taken care of.
func (t Terminal) AskFile(question string, optional bool) (file string, err error) {
	if optional {
		file, err = t.read(question+" (Enter for none): ", true)
	} else {
		file, err = t.Ask(question, "")
	}
	return ExpandHome(strings.Trim(file, `"'`)), err
}

// Confirm asks for a yes; anything else is a no.
func (t Terminal) Confirm(question string) (bool, error) {
	line, err := t.read(question+" [y/N] ", true)
	return isYes(line), err
}

// Offer asks whether to do what is usual: Enter is a yes.
func (t Terminal) Offer(question string) (bool, error) {
	line, err := t.read(question+" [Y/n] ", true)
	return isYes(cmp.Or(line, "y")), err
}

func isYes(line string) bool { return strings.EqualFold(line, "y") || strings.EqualFold(line, "yes") }

// Choose asks for one of several things, by number or name. If a key can be
// pasted in place of an answer, the result may be one: IsKey.
func (t Terminal) Choose(question string, names, docs []string, orKey bool) (string, error) {
	var rows []Row
	for i, name := range names {
		rows = append(rows, Row{Cells: []Cell{{Text: fmt.Sprintf("%d  %s", i+1, Printable(name))}}, Notes: []string{Printable(docs[i])}})
	}
	t.Out.Print(Printable(question) + ":\n" + t.Out.Table(rows))
	prompt := fmt.Sprintf("Which one [1-%d]%s: ", len(names), map[bool]string{true: ", or paste a key"}[orKey])
	t.fits = func(text string) bool { // a secret that is pasted here by mistake is not shown
		return slices.ContainsFunc(names, func(name string) bool { return len(text) <= len(name) && strings.EqualFold(name[:len(text)], text) }) ||
			len(text) < 3 && strings.Trim(text, "0123456789") == ""
	}
	for {
		answer, err := t.read(prompt, true)
		if err != nil || orKey && IsKey(answer) {
			return answer, err
		}
		if i, err := strconv.Atoi(answer); err == nil && i >= 1 && i <= len(names) {
			return names[i-1], nil
		}
		if i := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, answer) }); i >= 0 {
			return names[i], nil
		}
		t.Explain(fmt.Sprintf("Type a number from 1 to %d, or a name such as %s%s", len(names), names[0], cli.DidYouMean(answer, names)))
	}
}

// ExpandHome replaces a leading ~ in the name of a file.
func ExpandHome(file string) string {
	rest, ok := strings.CutPrefix(filepath.ToSlash(file), "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return file
	}
	return filepath.Join(home, rest)
}

// Escape sequences by which a terminal marks what is pasted (xterm's bracketed
// paste mode).
const (
	markPastes = "\x1b[?2004h"
	dontMark   = "\x1b[?2004l"
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// read asks a question and reads the answer, which is shown if show. The
// terminal's own echo is off: it would show a key that is pasted as an answer.
func (t Terminal) read(question string, show bool) (string, error) {
	fd := int(t.In.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	mark, unmark := "", ""
	if t.Out.ObeysEscapes() {
		mark, unmark = markPastes, dontMark
	}
	question = strings.TrimSuffix(Wrap(Printable(question), ""), "\n")
	t.Out.Print(strings.ReplaceAll(question, "\n", "\r\n") + " " + mark)
	var text []byte
	if show {
		text, err = readAnswer(t.In, t.Out.W, t.fits)
		text = bytes.TrimSpace(text)
	} else {
		text, err = readAnswer(t.In, nil, nil)
	}
	err = errors.Join(err, term.Restore(fd, before))
	t.Out.Print(unmark + "\n")
	return string(text), err
}

// Keys that an answer obeys: in raw mode they arrive as such.
const (
	ctrlC     = '\x03'
	ctrlD     = '\x04'
	backspace = '\x08'
	ctrlU     = '\x15'
	escape    = '\x1b'
	del       = '\x7f' // what Backspace types on most terminals
)

// readAnswer reads what is typed or pasted up to Enter, byte by byte: what
// follows is for the next question. It shows the answer on echo, but not a key,
// which ends by itself, nor what does not fit. Without echo it takes keys for
// ordinary answers.
func readAnswer(r io.Reader, echo io.Writer, fits func(string) bool) (text []byte, err error) {
	isKey := func() bool { return echo != nil && IsKey(string(text)) }
	show := func(s string) {
		if echo != nil && (fits == nil || fits(string(text))) {
			_, _ = io.WriteString(echo, s)
		}
	}
	paste := -1 // where the paste begins that is not at its end yet
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		c := b[0]
		if c == '\r' {
			c = '\n'
		}
		switch {
		case n == 0 && err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case n == 0, c == ctrlD && len(text) == 0:
			return nil, ErrNoAnswer
		case c == ctrlC:
			return nil, ErrInterrupted
		case paste >= 0:
			rest, ended := bytes.CutSuffix(append(text, c), []byte(pasteEnd))
			if text = rest; !ended {
				continue
			}
			if text = bytes.TrimRight(text, "\n"); isKey() {
				return text, nil
			}
			show(Printable(string(text[min(paste, len(text)):])))
			paste = -1
		case c == '\n' && !isKey(), c == ctrlD && isKey():
			return text, nil
		case c == ctrlU:
			for ; len(text) > 0; text = text[:len(text)-1] {
				if utf8.RuneStart(text[len(text)-1]) {
					show("\b \b")
				}
			}
		case c == backspace || c == del:
			if _, last := utf8.DecodeLastRune(text); last > 0 && !isKey() {
				show("\b \b")
				text = text[:len(text)-last]
			}
		case c != ctrlD:
			text = append(text, c)
			if rest, begins := bytes.CutSuffix(text, []byte(pasteBegin)); begins {
				text, paste = rest, len(rest)
			} else if isKey() && isWhole(string(text)) {
				return text, nil
			} else if !isKey() && bytes.IndexByte(text[max(0, len(text)-len(pasteBegin)):], escape) < 0 {
				show(string(b))
			}
		}
	}
}

// pemBegin and pemEnd begin the first and the last line of PEM (RFC 7468 §2).
const pemBegin, pemEnd, pemDashes = "-----BEGIN", "-----END", "-----"

// IsKey reports whether text is a key and not the name of a file.
func IsKey(text string) bool {
	return strings.ContainsAny(text, "\n{") || strings.Contains(text, pemBegin)
}

// isWhole reports whether a key that is typed or pasted has its end.
func isWhole(key string) bool {
	if braces := strings.Count(key, "{"); braces > 0 {
		return braces == strings.Count(key, "}")
	}
	return strings.Contains(key, pemEnd) && strings.HasSuffix(key, pemDashes)
}
