package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tokend/ipc"
	"tokend/packaging"
	"tokend/providers/token"
)

// What a restart cannot fix does not restart. A crash, which Go ends
// with status 2, does.
func TestUnitsKnowTheExitStatuses(t *testing.T) {
	want := fmt.Sprintf("\nRestartPreventExitStatus=%d %d %d %d\n", exitRunning, exitKeystore, exitSocket, exitConfig)
	for _, name := range []string{"systemd/tokend.service", "systemd/user/tokend.service"} {
		text, err := packaging.Services.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say%s", name, want)
		}
	}
}

// activated runs tokend as systemd does: with a socket that is there before it,
// and a place to notify.
type activated struct {
	t        *testing.T
	dir      string
	socket   string
	env      []string
	listener *net.UnixListener
	notified chan string
}

func newService(t *testing.T) *activated {
	dir, err := os.MkdirTemp("", "tokend-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &activated{t: t, dir: dir, socket: filepath.Join(dir, "s"), notified: make(chan string, 1000)}
	s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: s.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.listener.Close() })
	at := &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}
	notify, err := net.ListenUnixgram("unixgram", at)
	if err != nil {
		t.Fatal(err)
	}
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
	s.env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir+"/config", "XDG_STATE_HOME="+dir+"/state", "NOTIFY_SOCKET="+at.Name)
	if out, err := s.command(nil, "setup", "--keystore", "sealed", "--key-file", dir+"/key").CombinedOutput(); err != nil {
		t.Fatalf("setup: %v\n%s", err, out)
	}
	return s
}

// command is tokend; with files, it gets them as sd_listen_fds(3) says,
// which takes a shell to learn the process id.
func (s *activated) command(files []*os.File, args ...string) *exec.Cmd {
	tokend, err := exec.LookPath("tokend")
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(tokend, args...)
	if files != nil {
		cmd = exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, tokend}, args...)...)
		cmd.ExtraFiles = files
	}
	cmd.Env = s.env
	if files != nil {
		cmd.Env = append(cmd.Env, "LISTEN_FDS="+string(rune('0'+len(files))))
	}
	return cmd
}

// start starts tokend on the socket and waits until it says that it is ready.
func (s *activated) start(more ...string) *exec.Cmd {
	s.t.Helper()
	f, err := s.listener.File()
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	cmd := s.command([]*os.File{f}, "run")
	cmd.Env = append(cmd.Env, more...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	s.waitFor("READY=1")
	return cmd
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
	client := ipc.Client{Socket: s.socket}
	first := s.start()
	before, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	s.waitFor("STOPPING=1")
	if err := first.Wait(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	answered := make(chan error, 1)
	pid := 0
	go func() {
		st, err := client.Status(context.Background())
		pid = st.PID
		answered <- err
	}()
	second := s.start()
	if err := <-answered; err != nil || pid == before.PID {
		t.Errorf("the call that waited: pid %d after %d, %v", pid, before.PID, err)
	}

	// A second tokend on the same state is refused, and takes nothing away.
	f, err := s.listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out, err := s.command([]*os.File{f}, "run").CombinedOutput()
	var failed *exec.ExitError
	if !errors.As(err, &failed) || failed.ExitCode() != exitRunning {
		t.Errorf("the second: %v\n%s", err, out)
	}
	if _, err := client.Status(t.Context()); err != nil {
		t.Errorf("after the second: %v", err)
	}
	_ = second.Process.Signal(os.Interrupt)
	_ = second.Wait()
}

func TestWhatTheServiceManagerHears(t *testing.T) {
	s := newService(t)
	cmd := s.start("WATCHDOG_USEC=200000")
	s.waitFor("STATUS=serving 0 profiles; keystore sealed: ok")
	for range 5 {
		s.waitFor("WATCHDOG=1")
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if got := s.waitFor("RELOADING=1"); !strings.Contains(got, "MONOTONIC_USEC=") {
		t.Errorf("%q", got)
	}
	if got := s.waitFor("READY=1"); !strings.Contains(got, "STATUS=serving 0 profiles; keystore sealed: ok") {
		t.Errorf("%q", got)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
}

func TestWhatIsNoSocketIsRefused(t *testing.T) {
	s := newService(t)
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	open, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for want, files := range map[string][]*os.File{"no socket that listens": {file}, "a tcp socket": {open}, "2 sockets": {open, file}} {
		out, err := s.command(files, "run").CombinedOutput()
		var failed *exec.ExitError
		if !errors.As(err, &failed) || failed.ExitCode() != exitSocket || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", want, err, out)
		}
	}
	if _, err := (&ipc.Client{Socket: s.socket + "x"}).Status(t.Context()); !errors.Is(err, token.ErrNoDaemon) {
		t.Error(err)
	}
}

// A service that was installed for another socket than the configuration now
// names serves, and logs that.
func TestAnotherSocketThanTheConfiguredIsTold(t *testing.T) {
	s := newService(t)
	f, err := s.listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := s.command([]*os.File{f}, "run", "--socket", filepath.Join(s.dir, "configured"))
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.waitFor("READY=1")
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if !strings.Contains(log.String(), "install the service again") || !strings.Contains(log.String(), `msg="tokend serves" version=devel socket=`+s.socket+" ") {
		t.Errorf("the log:\n%s", &log)
	}
}
