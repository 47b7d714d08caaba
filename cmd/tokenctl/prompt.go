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
	errNoAnswer    = errors.New("no answer")
	errInterrupted = errors.New("interrupted")
)

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

// hidden reads a line without echo. Ctrl-C must not leave the terminal without
// echo for whoever uses it next.
func (t terminal) hidden() ([]byte, error) {
	fd := int(t.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	type reading struct {
		text []byte
		err  error
	}
	done := make(chan reading, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		done <- reading{text, err}
	}()
	select {
	case r := <-done:
		if errors.Is(r.err, io.EOF) {
			r.err = errNoAnswer
		}
		return r.text, r.err
	case <-interrupts: // the reading ends with the process
		return nil, errors.Join(errInterrupted, term.Restore(fd, before))
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
	var rows []row
	for i, name := range names {
		rows = append(rows, row{cells: []cell{
			{text: fmt.Sprintf("%3d", i+1)}, {text: printable(name)}, {cut(printable(docs[i]), width-30), faint},
		}})
	}
	t.out.print(t.out.table(rows))
	for {
		answer, err := t.ask(question, "")
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
		t.out.print("There is no such choice" + printable(didYouMean(answer, names)) + "\n")
	}
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
