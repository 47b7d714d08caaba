package main

import (
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tokend/providers/token"
)

// watchPeriod is how often the screen is written anew.
const watchPeriod = time.Second

// What a terminal obeys (ECMA-48, xterm's control sequences): its other screen,
// without cursor and without breaking lines that are too long.
const (
	enterWatch = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveWatch = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	frameStart = "\x1b[H"
	lineEnd    = "\x1b[K\r\n"
	frameEnd   = "\x1b[J"
)

// watch shows a state live until it is interrupted, and leaves the terminal as
// it was. While tokend does not run it waits for it.
func (a *app) watch(c *cobra.Command, tell stateTelling) error {
	if !isTerminal(a.out.w) || os.Getenv("TERM") == "dumb" || !obeysEscapes(a.out.w) {
		return usage("--watch needs a terminal; programs use --json")
	}
	text, err := tell(c)
	if err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(ended)
	a.watching = true
	a.out.print(enterWatch)
	defer a.out.print(leaveWatch)
	again := time.NewTicker(watchPeriod)
	defer again.Stop()
	for {
		a.out.print(a.frame(text))
		select {
		case <-ended:
			return nil
		case <-again.C:
		}
		if text, err = tell(c); err != nil {
			if text, err = a.missing(err); err != nil {
				return err
			}
		}
	}
}

// missing is what to show in place of a state that cannot be told now; an error
// that will not pass is returned.
func (a *app) missing(err error) (string, error) {
	switch {
	case errors.Is(err, token.ErrNotFound):
		return "", err
	case errors.Is(err, token.ErrNoDaemon):
		return a.out.paint(bad, "tokend does not run. Waiting for it.") + "\n" + wrap(printable(err.Error()), ""), nil
	}
	return a.out.paint(bad, "tokend cannot tell now. Asking again.") + "\n" + wrap(printable(err.Error()), ""), nil
}

// frame is text as one full screen.
func (a *app) frame(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if room := a.out.rows() - 1; len(lines) > room {
		lines = append(lines[:max(0, room-1)], "... the window is too low for the rest")
	}
	return frameStart + strings.Join(lines, lineEnd) + lineEnd +
		a.out.paint(faint, "Ctrl-C ends.") + "\x1b[K" + frameEnd
}

// rows is how many lines the screen has.
func (s screen) rows() int {
	if _, rows := s.size(); rows > 0 {
		return rows
	}
	return 24
}

// columns is how wide the screen is, 80 where that is not known.
func (s screen) columns() int {
	if columns, _ := s.size(); columns > 0 {
		return columns
	}
	return width
}

// size is a terminal's size in characters, zero for anything else.
func (s screen) size() (columns, rows int) {
	f, ok := s.w.(*os.File)
	if !ok {
		return 0, 0
	}
	columns, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, rows
}
