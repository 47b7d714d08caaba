package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A system service that would refuse everybody does not start, and says why;
// one that serves its own user does. Case 31 of the threat model.
func TestSystemServiceInAUserNamespace(t *testing.T) {
	inside := func(args ...string) (string, int) {
		cmd := newHome(t).tokend(args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}}
		out, err := cmd.CombinedOutput()
		var failed *exec.ExitError
		if !errors.As(err, &failed) {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out), failed.ExitCode()
	}
	if out, status := inside("run", "--system"); status != exitConfig || !strings.Contains(out, "PrivateUsers=") || strings.Count(out, "\n") != 1 {
		t.Errorf("the system's: status %d\n%s", status, out)
	}
	if out, status := inside("run"); status != exitConfig || !strings.Contains(out, "not set up") {
		t.Errorf("a user's: status %d\n%s", status, out)
	}
}
