package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tokend/packaging"
)

// What a restart cannot fix does not restart. A crash, which Go ends
// with status 2, does.
func TestUnitsKnowTheExitStatuses(t *testing.T) {
	want := fmt.Sprintf("\nRestartPreventExitStatus=%d %d %d %d\n", exitRunning, exitKeystore, exitSocket, exitConfig)
	for _, name := range []string{"systemd/tokend.service", "systemd/user/tokend.service"} {
		text, err := packaging.Services.ReadFile(name)
		check(t, err)
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say%s", name, want)
		}
	}
}

// An activated tokend runs as systemd runs it: with a socket that is there before
// it, and a place to notify.
type activated struct {
	*home
	listener *net.UnixListener
	notified chan string
}

func newService(t *testing.T) *activated {
	s := &activated{home: newHome(t), notified: make(chan string, 1000)}
	s.setupSealed()
	var err error
	if s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: s.client.Socket, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.listener.Close() })
	at := &net.UnixAddr{Name: filepath.Join(s.dir, "notify"), Net: "unixgram"}
	notify, err := net.ListenUnixgram("unixgram", at)
	check(t, err)
	t.Cleanup(func() { _ = notify.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := notify.Read(b)
			if err != nil {
				return
			}
			s.notified <- string(b[:n])
		}
	}()
	s.env = append(s.env, "NOTIFY_SOCKET="+at.Name)
	return s
}

// command is tokend run with files, as sd_listen_fds(3) says, which takes a shell to
// learn the process id.
func (s *activated) command(files ...*os.File) *exec.Cmd {
	cmd := s.tokend("run")
	cmd.Args = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = files
	cmd.Env = append(slices.Clone(s.env), fmt.Sprint("LISTEN_FDS=", len(files)))
	return cmd
}

// socket is the listening socket as a file.
func (s *activated) socket() *os.File {
	s.t.Helper()
	f, err := s.listener.File()
	check(s.t, err)
	s.t.Cleanup(func() { _ = f.Close() })
	return f
}

// start starts tokend on the socket and waits until it says that it is ready.
func (s *activated) start(env ...string) {
	s.t.Helper()
	s.daemon = s.command(s.socket())
	s.daemon.Env = append(s.daemon.Env, env...)
	s.daemon.Stderr = &s.log
	check(s.t, s.daemon.Start())
	s.waitFor("READY=1")
}

func (s *activated) waitFor(text string) string {
	s.t.Helper()
	for {
		select {
		case got := <-s.notified:
			if strings.Contains(got, text) {
				return got
			}
		case <-time.After(20 * time.Second):
			s.t.Fatalf("no %s", text)
		}
	}
}

// The socket outlives tokend: a call that comes while tokend restarts waits in
// it and is answered.
func TestNoCallIsLostWhileTokendRestarts(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start()
	before, err := s.client.Status(t.Context())
	check(t, err)
	s.interrupt()
	s.waitFor("STOPPING=1")
	answered := make(chan error, 1)
	pid := 0
	go func() {
		st, err := s.client.Status(context.Background())
		pid = st.PID
		answered <- err
	}()
	s.start()
	if err := <-answered; err != nil || pid == before.PID {
		t.Errorf("the call that waited: pid %d after %d, %v", pid, before.PID, err)
	}

	// A second tokend on the same state is refused, and takes nothing away.
	if out, status := ends(t, s.command(s.socket())); status != exitRunning {
		t.Errorf("the second: status %d\n%s", status, out)
	}
	if _, err := s.client.Status(t.Context()); err != nil {
		t.Errorf("after the second: %v", err)
	}
}

func TestWhatTheServiceManagerHears(t *testing.T) {
	s := newService(t)
	s.start("WATCHDOG_USEC=200000")
	s.waitFor("STATUS=serving 0 profiles; keystore sealed: ok")
	for range 5 {
		s.waitFor("WATCHDOG=1")
	}
	check(t, s.daemon.Process.Signal(syscall.SIGHUP))
	if got := s.waitFor("RELOADING=1"); !strings.Contains(got, "MONOTONIC_USEC=") {
		t.Errorf("%q", got)
	}
	if got := s.waitFor("READY=1"); !strings.Contains(got, "STATUS=serving 0 profiles; keystore sealed: ok") {
		t.Errorf("%q", got)
	}
}

func TestWhatIsNoSocketIsRefused(t *testing.T) {
	s := newService(t)
	file, err := os.Open("/dev/null")
	check(t, err)
	defer file.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer tcp.Close()
	open, err := tcp.(*net.TCPListener).File()
	check(t, err)
	defer open.Close()
	for what, files := range map[string][]*os.File{"no socket": {file}, "a TCP socket": {open}, "two": {s.socket(), file}} {
		if out, status := ends(t, s.command(files...)); status != exitSocket || !strings.Contains(out, "ListenStream=") {
			t.Errorf("%s: status %d\n%s", what, status, out)
		}
	}
}
