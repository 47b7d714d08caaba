package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// waitFor waits for the end of a program that was started, passing signals on
// to it. The error is a childExit if it did not succeed.
func waitFor(cmd *exec.Cmd, program string, signals <-chan os.Signal, caught func()) error {
	ended := make(chan struct{})
	var forwarder sync.WaitGroup
	forwarder.Go(func() {
		for {
			select {
			case s := <-signals:
				caught()
				if !reachesChild(s) {
					_ = cmd.Process.Signal(s)
				}
			case <-ended:
				return
			}
		}
	})
	err := cmd.Wait()
	close(ended)
	forwarder.Wait()
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return err
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return childExit{program, 128 + int(status.Signal()), status.Signal()}
	}
	return childExit{program: program, status: failed.ExitCode()}
}

// catchSignals has the signals that end programs go to a channel, until the
// function that it returns is called. Those that are ignored (nohup) stay so.
func catchSignals(to chan os.Signal) func() {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(to, s)
		}
	}
	return func() { signal.Stop(to) }
}

// A childExit is how a program that tokenctl ran ended, if not well. It has said
// why itself.
type childExit struct {
	program string
	status  int
	signal  os.Signal // nil if none ended it
}

func (e childExit) Error() string { return fmt.Sprintf("%s ended with status %d", e.program, e.status) }

// dieAlike ends this process by the signal that ended the program, so that a shell
// sees what happened. It returns if no signal did, or not one to die of.
func (e childExit) dieAlike() {
	if e.signal != os.Interrupt && e.signal != syscall.SIGTERM && e.signal != syscall.SIGHUP {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil || signal.Ignored(e.signal) {
		return
	}
	signal.Reset(e.signal)
	if self.Signal(e.signal) == nil {
		time.Sleep(time.Second) // the signal ends this
	}
}
