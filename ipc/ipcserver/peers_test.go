//go:build linux

package ipcserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tokend/ipc"
	"tokend/packaging/checktest"
	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// stranger is a uid that is not ours.
const stranger = 65533

// playEnv names the part that this test binary plays as another process,
// placeEnv the socket.
const (
	playEnv  = "TOKEND_TEST_PLAY"
	placeEnv = "TOKEND_TEST_SOCKET"
)

func TestMain(m *testing.M) {
	socket := os.Getenv(placeEnv)
	switch os.Getenv(playEnv) {
	case "":
		os.Exit(m.Run())
	case "caller":
		_, err := (&ipc.Client{Socket: socket}).Get(context.Background(), "clms", token.Query{})
		tell(err)
	case "daemon": // says whether it could listen, and stays until stdin ends
		l, err := Listen(socket)
		tell(err)
		if err == nil {
			go AnswerAll(l, emptyAnswer)
			_, _ = os.Stdin.Read(make([]byte, 1))
			_ = l.Close()
		}
	case "squatter": // listens without any care, for others to connect to
		unix.Umask(0)
		l, err := net.Listen("unix", socket)
		tell(err)
		conn, err := l.Accept()
		tell(err)
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			tell(errors.New("heard something"))
		}
	case "heir": // was given a connection as descriptor 3
		_, _ = syscall.Write(3, []byte("GET /v1/token/clms HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
		_, _ = io.Copy(os.Stdout, os.NewFile(3, "connection"))
	case "chameleon": // connects, and becomes a shell that goes on
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		}
		if err == nil {
			n := strconv.Itoa(fd)
			err = syscall.Exec("/bin/sh", []string{"sh", "-c",
				`printf 'GET /v1/token/clms HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&` + n + `; cat <&` + n}, nil)
		}
		tell(err)
	case "server": // was given a listener as descriptor 3
		l, err := net.FileListener(os.NewFile(3, "listener"))
		if err != nil {
			tell(err)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
		tell(Serve(ctx, l, newMemory(), Options{}))
	}
}

func tell(err error) {
	var e *token.Error
	switch {
	case err == nil:
		_, _ = os.Stdout.WriteString("ok\n")
	case errors.As(err, &e):
		_, _ = os.Stdout.WriteString(string(e.Code) + "\n")
	default:
		_, _ = os.Stdout.WriteString(err.Error() + "\n")
	}
}

func player(part, socket string, attr *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe") // others may not reach the test binary by its path
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", playEnv+"="+part, placeEnv+"="+socket)
	cmd.SysProcAttr = attr
	return cmd
}

func asStranger() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
}

func plays(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// Case 12 of the threat model.
func TestStrangerIsRefused(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	s := start(t, newMemory(), Options{})
	if got := plays(t, player("caller", s.socket, asStranger())); got != "denied\n" {
		t.Errorf("with the socket's mode as it is: %q", got)
	}
	if s.log.String() != "" {
		t.Errorf("the stranger got as far as the server: %s", s.log)
	}
	Must(t, os.Chmod(s.socket, 0o666))
	if got := plays(t, player("caller", s.socket, asStranger())); got != "denied\n" {
		t.Errorf("with the socket open to all: %q", got)
	}
	if text := s.log.String(); !strings.Contains(text, "caller refused") || !strings.Contains(text, "uid=65533") {
		t.Errorf("no word of it in the log: %q", text)
	}
	if got := plays(t, player("caller", s.socket, nil)); got != "ok\n" {
		t.Errorf("the user itself: %q", got)
	}
}

// With AnyUser a stranger is let in; the kernel names the user and the groups, however
// many.
func TestTheGroupsOfACaller(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	b := newMemory()
	s := start(t, b, Options{AnyUser: true})
	Must(t, os.Chmod(s.socket, 0o666))
	attr := asStranger()
	for gid := range uint32(200) {
		attr.Credential.Groups = append(attr.Credential.Groups, 80000+gid)
	}
	if got := plays(t, player("caller", s.socket, attr)); got != "ok\n" {
		t.Fatal(got)
	}
	if c := b.callers[0]; c.UID != stranger || c.PID == 0 {
		t.Errorf("the backend saw %+v", c)
	}
	groups := b.callers[0].Groups
	for _, gid := range []int{stranger, 80000, 80100, 80199} {
		if !slices.Contains(groups, gid) {
			t.Errorf("group %d is not among %d", gid, len(groups))
		}
	}
	if slices.Contains(groups, 0) {
		t.Error("root's group is among them")
	}
}

// Who connected counts, not who holds the connection now. Cases 15 and 16 of the
// threat model.
func TestIdentityIsThatOfTheConnect(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	s := start(t, newMemory(), Options{})
	f, err := s.dial(t).File()
	Must(t, err)
	defer func() { _ = f.Close() }()
	heir := player("heir", "", asStranger())
	heir.ExtraFiles = []*os.File{f}
	if got := plays(t, heir); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("the heir of root's connection: %s", got)
	}
	if got := plays(t, player("chameleon", s.socket, nil)); !strings.Contains(got, "HTTP/1.1 200") {
		t.Errorf("another program after the connect: %s", got)
	}
}

// elsewhere runs a server in namespaces of its own on a socket that we can
// connect to.
func elsewhere(t *testing.T, flags uintptr) *ipc.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	Must(t, err)
	f, err := l.File()
	Must(t, err)
	server := player("server", "", &syscall.SysProcAttr{Cloneflags: flags})
	server.ExtraFiles = []*os.File{f}
	var out bytes.Buffer
	server.Stdout, server.Stderr = &out, &out
	in, err := server.StdinPipe()
	Must(t, err)
	Must(t, server.Start())
	_ = f.Close()
	t.Cleanup(func() {
		_ = in.Close()
		if err := server.Wait(); err != nil || out.String() != "ok\n" {
			t.Errorf("the server elsewhere: %v %s", err, &out)
		}
		_ = l.Close()
	})
	return &ipc.Client{Socket: socket}
}

// Case 14 of the threat model.
func TestServerInAnotherPIDNamespace(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	if _, err := elsewhere(t, syscall.CLONE_NEWPID).Get(t.Context(), "clms", token.Query{}); err != nil {
		t.Errorf("a caller without a pid: %v", err)
	}
}

// Case 13 of the threat model.
func TestServerThatCannotTellUsersApart(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	_, err := elsewhere(t, syscall.CLONE_NEWUSER).Get(t.Context(), "clms", token.Query{})
	if !errors.Is(err, token.ErrDenied) || !strings.Contains(err.Error(), "65534") {
		t.Errorf("a caller without a uid: %v", err)
	}
}
