package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

// watchPeriod is how often the screen is written again.
const watchPeriod = time.Second

// Escape sequences (ECMA-48, xterm's control sequences): the alternate screen,
// without cursor and without breaking lines that are too long.
const (
	enterWatch = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveWatch = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	frameStart = "\x1b[H"
	lineEnd    = "\x1b[K\r\n"
	frameEnd   = "\x1b[J"
)

// watch shows the current state live until it is interrupted, and leaves the terminal as
// it was. While tokend is not running it waits for it.
func watch(ctx context.Context, e *ui.Env) error {
	if !e.Out.ObeysEscapes() {
		return cli.Usage("--watch needs a terminal; programs use --json")
	}
	_, text, err := currentState(ctx, e)
	if err != nil {
		return err
	}
	ended, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	e.Watching = true
	e.Out.Print(enterWatch)
	defer e.Out.Print(leaveWatch)
	again := time.NewTicker(watchPeriod)
	defer again.Stop()
	for {
		e.Out.Print(frame(e.Out, text))
		select {
		case <-ended.Done():
			return nil
		case <-again.C:
		}
		if _, text, err = currentState(ctx, e); err != nil {
			if errors.Is(err, token.ErrNotFound) { // which will not pass
				return err
			}
			text = e.Out.Paint(ui.Bad, "Waiting for tokend.") + "\n" + ui.Wrap(ui.Printable(err.Error()), "")
		}
	}
}

// frame is text as one full screen.
func frame(s ui.Screen, text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if _, rows := s.Size(); len(lines) > rows-1 {
		lines = append(lines[:max(0, rows-2)], "... the window is too low for the rest")
	}
	return frameStart + strings.Join(lines, lineEnd) + lineEnd +
		s.Paint(ui.Faint, "Ctrl-C ends.") + "\x1b[K" + frameEnd
}
