// Package child runs other programs with a credential: curl, and for exec any
// program.
package child

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// getToken obtains a token, and shows that it waits for one.
func getToken(ctx context.Context, e *ui.Env, profile string, q token.Query) (token.Grant, error) {
	return ui.AskFor(ctx, e, "Waiting for a token", func(d *ipc.Client, ctx context.Context) (token.Grant, error) { return d.Get(ctx, profile, q) })
}

// catchSignals sends the signals that end programs to a channel, until stop is
// called. Signals that are ignored, as under nohup, stay ignored.
func catchSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	return c, func() { signal.Stop(c) }
}

// forward passes signals on to a process, and calls caught for each, until
// stop is called.
func forward(p *os.Process, signals <-chan os.Signal, caught func()) (stop func()) {
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				caught()
				if !reachesChild(s) {
					_ = p.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}()
	return func() { close(ended) }
}

// wait waits for the end of a program that was started. The error is a *ui.Exit
// with the status that shells have for it, if the program did not succeed; it has
// reported why.
func wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return err
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &ui.Exit{Status: bySignal + int(status.Signal())}
	}
	return &ui.Exit{Status: failed.ExitCode()}
}

// bySignal and the signal's number are a shell's status for the end by a signal.
const bySignal = 128

// dieAlike ends this process by the signal that ended the program, so that a
// shell sees what happened. It returns err if there was no such signal.
func dieAlike(err error) error {
	var exit *ui.Exit
	if !errors.As(err, &exit) {
		return err
	}
	s := syscall.Signal(exit.Status - bySignal)
	if s != syscall.SIGINT && s != syscall.SIGTERM && s != syscall.SIGHUP || signal.Ignored(s) {
		return err
	}
	signal.Reset(s)
	if self, failed := os.FindProcess(os.Getpid()); failed == nil && self.Signal(s) == nil {
		time.Sleep(time.Second) // until the signal arrives
	}
	return err
}
