package ui

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
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
}

// Terminal returns the terminal if there is a person who sees questions and can
// answer them.
func (e *Env) Terminal() (Terminal, bool) {
	f, ok := e.In.(*os.File)
	if !ok || !IsTerminal(f) || !IsTerminal(e.Err.W) {
		return Terminal{}, false
	}
	return Terminal{f, e.Err}, true
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
	question = Printable(question)
	if otherwise != "" {
		question += " [" + Printable(otherwise) + "]"
	}
	for {
		t.Out.Print(question + ": ")
		line, err := t.line()
		if err != nil {
			return "", err
		}
		if line == "" {
			line = otherwise
		}
		if line != "" {
			return line, nil
		}
	}
}

// AskOptional asks for a line that may be empty.
func (t Terminal) AskOptional(question string) (string, error) {
	t.Out.Print(Printable(question) + " (Enter for none): ")
	return t.line()
}

// line reads a line byte by byte: what comes after it is for the next
// question, which may be read in another way.
func (t Terminal) line() (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := t.In.Read(b)
		switch {
		case n == 1 && b[0] == '\n':
			return strings.TrimSpace(string(line)), nil
		case n == 1:
			line = append(line, b[0])
		case err != nil && !errors.Is(err, io.EOF):
			return "", err
		default:
			t.Out.Print("\n")
			return "", ErrNoAnswer
		}
	}
}

// AskSecret asks for a line that does not appear on the screen.
func (t Terminal) AskSecret(question string) (token.Secret, error) {
	secret, err := t.askHidden(question + " (not shown): ")
	if err == nil && secret.IsZero() {
		err = ErrNoAnswer
	}
	return secret, err
}

// AskOptionalSecret is AskSecret for a line that may be empty.
func (t Terminal) AskOptionalSecret(question string) (token.Secret, error) {
	return t.askHidden(question + " (not shown, Enter for none): ")
}

func (t Terminal) askHidden(question string) (token.Secret, error) {
	t.Out.Print(Printable(question))
	text, err := t.hidden()
	t.Out.Print("\n")
	return token.NewSecret(string(text)), err
}

// Keys that a hidden line obeys.
const (
	ctrlC     = '\x03'
	ctrlD     = '\x04'
	backspace = '\x08'
	ctrlU     = '\x15'
	del       = '\x7f' // what Backspace types on most terminals
)

// hidden reads a line without echo. An interrupt must not leave the terminal
// without echo for the next program.
func (t Terminal) hidden() ([]byte, error) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	// In raw mode Ctrl-C and Ctrl-D arrive as keys; term.ReadPassword would
	// wait on after Ctrl-D.
	fd := int(t.In.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	type reading struct {
		text []byte
		err  error
	}
	done := make(chan reading, 1)
	go func() {
		text, err := hiddenLine(t.In)
		done <- reading{text, err}
	}()
	var r reading
	select {
	case r = <-done:
	case <-interrupts: // the reading ends with the process
		r.err = ErrInterrupted
	}
	return r.text, errors.Join(r.err, term.Restore(fd, before))
}

// hiddenLine makes a line of the keys that are typed. It reads byte by byte
// for the reason that line has.
func hiddenLine(r io.Reader) (line []byte, err error) {
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		switch {
		case n == 0 && err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case n == 0, b[0] == ctrlD && len(line) == 0:
			return nil, ErrNoAnswer
		case b[0] == ctrlC:
			return nil, ErrInterrupted
		case b[0] == '\r', b[0] == '\n':
			return line, nil
		case b[0] == ctrlU:
			line = nil
		case b[0] == backspace, b[0] == del:
			_, last := utf8.DecodeLastRune(line)
			line = line[:len(line)-last]
		case b[0] != ctrlD:
			line = append(line, b[0])
		}
	}
}

// Confirm asks for a yes; anything else is a no.
func (t Terminal) Confirm(question string) (bool, error) {
	t.Out.Print(Printable(question) + " [y/N] ")
	line, err := t.line()
	line = strings.ToLower(line)
	return line == "y" || line == "yes", err
}

// Choose asks for one of several things, by number or name.
func (t Terminal) Choose(question string, names, docs []string) (string, error) {
	t.Out.Print(Printable(question) + ":\n" + t.choices(names, docs))
	for {
		t.Out.Print(fmt.Sprintf("Which one [1-%d]: ", len(names)))
		answer, err := t.line()
		if err != nil {
			return "", err
		}
		if i, err := strconv.Atoi(answer); err == nil && i >= 1 && i <= len(names) {
			return names[i-1], nil
		}
		for _, name := range names {
			if strings.EqualFold(name, answer) {
				return name, nil
			}
		}
		t.Out.Print(Wrap(Printable(fmt.Sprintf("Type a number from 1 to %d, or a name such as %s%s",
			len(names), names[0], cli.DidYouMean(answer, names))), ""))
	}
}

// choices lists things to choose from, numbered, with what they are.
func (t Terminal) choices(names, docs []string) string {
	longest := 0
	for _, name := range names {
		longest = max(longest, utf8.RuneCountInString(Printable(name)))
	}
	var b strings.Builder
	for i, name := range names {
		begin := fmt.Sprintf("%3d  %-*s  ", i+1, longest, Printable(name))
		indent := strings.Repeat(" ", utf8.RuneCountInString(begin))
		doc := strings.TrimPrefix(strings.TrimRight(Wrap(Printable(docs[i]), indent), "\n"), indent)
		b.WriteString(begin + t.Out.Paint(Faint, doc) + "\n")
	}
	return b.String()
}

// AskFile asks for a file's name. No shell stands between, so a leading ~ is
// taken care of here.
func (t Terminal) AskFile(question string) (string, error) {
	file, err := t.Ask(question, "")
	return ExpandHome(file), err
}

func ExpandHome(file string) string {
	rest, ok := strings.CutPrefix(file, "~/")
	if !ok {
		return file
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return file
	}
	return filepath.Join(home, rest)
}
