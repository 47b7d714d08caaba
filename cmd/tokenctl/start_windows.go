package main

import (
	"context"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// detach makes c, when started, a process without the caller's console.
func detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}

// lockStart does nothing here: of several daemons that start, one gets the
// pipe, and the others end.
func lockStart(context.Context, string) (unlock func(), err error) { return func() {}, nil }
