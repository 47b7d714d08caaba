package main

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

	"tokend/providers/token"
)

// A terminal asks a person: questions go to stderr, answers come from stdin.
type terminal struct {
	in  *os.File
	out screen
}

// terminal is the person at the other end, if there is one who sees questions
// and can answer them.
func (a *app) terminal() (terminal, bool) {
	f, ok := a.in.(*os.File)
	if !ok || !isTerminal(f) || !isTerminal(a.err.w) {
		return terminal{}, false
	}
	return terminal{f, a.err}, true
}

var (
	errNoAnswer    = errors.New("nothing was entered")
	errInterrupted = errors.New("interrupted")
)

// explain says on lines of its own what the next question is about.
func (t terminal) explain(text string) {
	if text != "" {
		t.out.print(wrap(printable(text), ""))
	}
}

// ask asks for a line until it is not empty; an empty one means otherwise, if
// there is that.
func (t terminal) ask(question, otherwise string) (string, error) {
	question = printable(question)
	if otherwise != "" {
		question += " [" + printable(otherwise) + "]"
	}
	for {
		t.out.print(question + ": ")
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

// askPerhaps asks for a line that may be empty.
func (t terminal) askPerhaps(question string) (string, error) {
	t.out.print(printable(question) + " (Enter for none): ")
	return t.line()
}

// line reads a line byte by byte: what comes after it is for the next
// question, which may be read in another way.
func (t terminal) line() (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := t.in.Read(b)
		switch {
		case n == 1 && b[0] == '\n':
			return strings.TrimSpace(string(line)), nil
		case n == 1:
			line = append(line, b[0])
		case err != nil && !errors.Is(err, io.EOF):
			return "", err
		default:
			t.out.print("\n")
			return "", errNoAnswer
		}
	}
}

// askSecret asks for a line that does not appear on the screen.
func (t terminal) askSecret(question string) (token.Secret, error) {
	t.out.print(printable(question) + " (not shown): ")
	text, err := t.hidden()
	t.out.print("\n")
	if err == nil && len(text) == 0 {
		err = errNoAnswer
	}
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
// without echo for whoever uses it next.
func (t terminal) hidden() ([]byte, error) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	// In raw mode Ctrl-C and Ctrl-D arrive as keys; term.ReadPassword would
	// wait on after Ctrl-D.
	fd := int(t.in.Fd())
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
		text, err := hiddenLine(t.in)
		done <- reading{text, err}
	}()
	var r reading
	select {
	case r = <-done:
	case <-interrupts: // the reading ends with the process
		r.err = errInterrupted
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
			return nil, errNoAnswer
		case b[0] == ctrlC:
			return nil, errInterrupted
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

// confirm asks for a yes; anything else is a no.
func (t terminal) confirm(question string) (bool, error) {
	t.out.print(printable(question) + " [y/N] ")
	line, err := t.line()
	line = strings.ToLower(line)
	return line == "y" || line == "yes", err
}

// choose asks for one of several things, by number or name.
func (t terminal) choose(question string, names, docs []string) (string, error) {
	t.out.print(printable(question) + ":\n" + t.choices(names, docs))
	for {
		t.out.print(fmt.Sprintf("Which one [1-%d]: ", len(names)))
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
		t.out.print(wrap(printable(fmt.Sprintf("Type a number from 1 to %d, or a name such as %s%s",
			len(names), names[0], didYouMean(answer, names))), ""))
	}
}

// choices lists things to choose from, numbered, with what they are.
func (t terminal) choices(names, docs []string) string {
	longest := 0
	for _, name := range names {
		longest = max(longest, utf8.RuneCountInString(printable(name)))
	}
	var b strings.Builder
	for i, name := range names {
		begin := fmt.Sprintf("%3d  %-*s  ", i+1, longest, printable(name))
		indent := strings.Repeat(" ", utf8.RuneCountInString(begin))
		doc := strings.TrimPrefix(strings.TrimRight(wrap(printable(docs[i]), indent), "\n"), indent)
		b.WriteString(begin + t.out.paint(faint, doc) + "\n")
	}
	return b.String()
}

// askFile asks for a file's name. No shell stands between, so a leading ~ is
// taken care of here.
func (t terminal) askFile(question string) (string, error) {
	file, err := t.ask(question, "")
	return expandHome(file), err
}

func expandHome(file string) string {
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
