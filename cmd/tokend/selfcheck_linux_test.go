package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"tokend/providers/token"
)

func TestUserNamespacesInWhichCallersLookAlike(t *testing.T) {
	for text, good := range map[string]bool{
		"         0          0 4294967295\n":            true,  // none
		"0 1000 1\n1 100000 65536\n":                    true,  // a container without root
		"0 524288 65536\n":                              true,  // a container
		"0 0 65536\n":                                   true,  // PrivateUsers=identity
		"         0          0          1\n993 993 1\n": false, // PrivateUsers=yes
		"0 1000 1\n":                                    false, // unshare -Ur
		"":                                              false, // unshare -U
		"nonsense\n":                                    false,
	} {
		err := checkUIDMap(strings.NewReader(text))
		if good != (err == nil) || err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

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
