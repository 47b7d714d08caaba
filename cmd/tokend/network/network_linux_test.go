package network

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tokend/packaging/checktest"
)

// A network of its own comes up, and is changed again and again.
func TestAChangeOfTheNetworkIsNoticed(t *testing.T) {
	t.Parallel()
	const inside = "TOKEND_TEST_NETWORK"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAChangeOfTheNetworkIsNoticed$")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		if out, err := cmd.CombinedOutput(); err != nil && strings.Contains(err.Error(), "operation not permitted") {
			checktest.Unable(t, "the test cannot have a network of its own: %v", err)
		} else if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	again = 3 * time.Second
	changed := Watch(t.Context())
	began := time.Now()
	for _, up := range []uint16{unix.IFF_UP, 0, unix.IFF_UP} {
		setLoopback(t, up)
	}
	<-changed // or the test's time is over
	setLoopback(t, 0)
	select {
	case <-changed:
		t.Errorf("reported again after %v", time.Since(began))
	case <-time.After(2 * settles):
	}
	<-changed
}

var check = checktest.NoError

// setLoopback brings the loopback interface up or down.
func setLoopback(t *testing.T, flags uint16) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	check(t, err)
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	check(t, err)
	request.SetUint16(flags)
	check(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}
