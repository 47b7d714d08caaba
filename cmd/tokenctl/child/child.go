// Package child runs other programs with a credential: curl, and for exec any
// program.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

// patience bounds each wait for tokend.
const patience = 2 * time.Minute

// An Env is what a program runs with.
type Env struct {
	Client   *ipc.Client
	In       io.Reader
	Out, Err io.Writer
	// Waiting shows what tokenctl waits for, until the function that it returns
	// is called.
	Waiting func(what string) (done func())
	// Warn shows a warning.
	Warn func(text string)
}

// get obtains a token, and shows that it waits for one.
func (e Env) get(ctx context.Context, profile string, q token.Query) (token.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer e.Waiting("Waiting for a token")()
	return e.Client.Get(ctx, profile, q)
}

// An ExitError says how a program ended that did not succeed, or why it could
// not be run.
type ExitError struct {
	// Status is the exit status to pass on.
	Status int
	// Reason says why the program could not be run. It is empty for one that
	// ran, and has reported its errors itself.
	Reason string
	signal os.Signal // the signal that ended it, if one did
}

func (e *ExitError) Error() string {
	if e.Reason != "" {
		return e.Reason
	}
	return fmt.Sprintf("the program ended with status %d", e.Status)
}

// DieAlike ends this process by the signal that ended the program, so that a
// shell sees what happened. It returns if there was no such signal.
func (e *ExitError) DieAlike() {
	if e.signal != os.Interrupt && e.signal != syscall.SIGTERM && e.signal != syscall.SIGHUP {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil || signal.Ignored(e.signal) {
		return
	}
	signal.Reset(e.signal)
	if self.Signal(e.signal) == nil {
		time.Sleep(time.Second) // until the signal arrives
	}
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
	var forwarder sync.WaitGroup
	forwarder.Go(func() {
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
	})
	return func() {
		close(ended)
		forwarder.Wait()
	}
}

// wait waits for the end of a program that was started. The error is an
// *ExitError if the program did not succeed.
func wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return err
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &ExitError{Status: 128 + int(status.Signal()), signal: status.Signal()}
	}
	return &ExitError{Status: failed.ExitCode()}
}

// profile asks about a profile.
func (e Env) profile(ctx context.Context, name string) (token.ProfileStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return e.Client.Profile(ctx, name)
}
