//go:build linux

package ipcserver

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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

// A process is another one, played by this test binary.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *os.File
	rest string
}

func play(t *testing.T, part, socket string, attr *syscall.SysProcAttr) *process {
	t.Helper()
	cmd := player(part, socket, attr)
	_, err := cmd.StdinPipe() // stays open
	Must(t, err)
	r, w, err := os.Pipe()
	Must(t, err)
	cmd.Stdout, cmd.Stderr = w, w
	Must(t, cmd.Start())
	_ = w.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = r.Close() })
	return &process{t: t, cmd: cmd, out: r}
}

// says returns the next line of the player's output.
func (p *process) says() string {
	p.t.Helper()
	for !strings.Contains(p.rest, "\n") {
		b := make([]byte, 4096)
		n, err := p.out.Read(b)
		p.rest += string(b[:n])
		if err != nil {
			p.t.Fatalf("the other process ended after %q: %v", p.rest, err)
		}
	}
	line, rest, _ := strings.Cut(p.rest, "\n")
	p.rest = rest
	return line
}

func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait()
}

func listening(t *testing.T, socket string) net.Listener {
	t.Helper()
	l, err := Listen(socket)
	Must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	return err == nil
}

// longestPath is that of a socket on Linux.
const longestPath = len(unix.RawSockaddrUnix{}.Path) - 1

// Case 68 of the threat model.
func TestModesDoNotDependOnTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		old := unix.Umask(umask)
		root, err := os.MkdirTemp("", "tokend-umask")
		Must(t, err)
		socket := filepath.Join(root, "a", "b", "tokend.sock")
		l, err := Listen(socket)
		unix.Umask(old)
		t.Cleanup(func() { _ = os.RemoveAll(root) })
		Must(t, err)
		for path, want := range map[string]fs.FileMode{
			socket: 0o600, socket + ".lock": 0o600, filepath.Join(root, "a", "b"): 0o700, filepath.Join(root, "a"): 0o700,
		} {
			if got := Val(os.Lstat(path)).Mode().Perm(); got != want {
				t.Errorf("umask %03o: %s has mode %o, want %o", umask, path, got, want)
			}
		}
		_ = l.Close()
	}
}

func TestCloseRemovesTheSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "tokend", "s")
	unready := errors.New("not ready")
	if _, err := Listen(socket, func() error { return unready }); !errors.Is(err, unready) || exists(t, socket) {
		t.Errorf("before it was ready: %v", err)
	}
	l := listening(t, socket)
	Must(t, l.Close())
	if exists(t, socket) {
		t.Error("the socket is still there")
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	_ = listening(t, socket) // the lock is free again
}

// Case 17 of the threat model.
func TestStaleSocketIsReplacedLiveOneIsNot(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "tokend", "s")
	first := play(t, "daemon", socket, nil)
	if got := first.says(); got != "ok" {
		t.Fatal(got)
	}
	if _, err := Listen(socket); !errors.Is(err, token.ErrExists) || !strings.Contains(err.Error(), "already running at "+socket) {
		t.Errorf("beside a live daemon: %v", err)
	}
	if err := (&ipc.Client{Socket: socket}).Reload(t.Context()); err != nil {
		t.Errorf("the first daemon does not answer any more: %v", err)
	}
	first.kill()
	if !exists(t, socket) {
		t.Fatal("no stale socket to test with")
	}
	go AnswerAll(listening(t, socket), emptyAnswer)
	if err := (&ipc.Client{Socket: socket}).Reload(t.Context()); err != nil {
		t.Errorf("after taking over: %v", err)
	}
}

// A socket that systemd opened has no lock: it is not taken from under it.
func TestALiveSocketIsNotReplaced(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	held, err := net.Listen("unix", socket)
	Must(t, err)
	t.Cleanup(func() { _ = held.Close() })
	if _, err := Listen(socket); !errors.Is(err, token.ErrExists) || !strings.Contains(err.Error(), "service manager") {
		t.Errorf("beside a service manager's socket: %v", err)
	}
	go AnswerAll(held, emptyAnswer)
	if err := (&ipc.Client{Socket: socket}).Reload(t.Context()); err != nil {
		t.Errorf("it does not answer any more: %v", err)
	}
}

// Case 18 of the threat model.
func TestOfTwentyStartedAtOnceOneListens(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "a", "tokend", "s")
	const n = 20
	players := make([]*process, n)
	for i := range players {
		players[i] = play(t, "daemon", socket, nil)
	}
	count := map[string]int{}
	for _, p := range players {
		count[p.says()]++
	}
	if count["ok"] != 1 || count["exists"] != n-1 {
		t.Errorf("got %v, want one listening and ErrExists for the others", count)
	}
	if err := (&ipc.Client{Socket: socket}).Reload(t.Context()); err != nil {
		t.Errorf("the one that listens does not answer: %v", err)
	}
}

// places makes what a test needs in dir. Each step is a kind and a path ("file",
// "fifo", "socket"), a path and a mode ("dir"), a target and a path ("link"), or a path
// that a stranger gets ("give").
func places(t *testing.T, dir, steps string) {
	t.Helper()
	for step := range strings.SplitSeq(steps, "; ") {
		words := append(strings.Fields(step), "")
		path, last := filepath.Join(dir, words[1]), words[2]
		var err error
		switch words[0] {
		case "file":
			err = os.WriteFile(path, nil, 0o600)
		case "fifo":
			err = unix.Mkfifo(path, 0o600)
		case "socket":
			l, listenErr := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			Must(t, listenErr)
			l.SetUnlinkOnClose(false)
			err = l.Close()
		case "dir":
			mode, _ := strconv.ParseUint(last, 8, 32)
			err = errors.Join(os.Mkdir(path, 0o700), unix.Chmod(path, uint32(mode)))
		case "link":
			err = os.Symlink(path, filepath.Join(dir, last))
		case "give":
			err = os.Lchown(path, stranger, stranger)
		}
		Must(t, err)
	}
}

// Case 19 of the threat model, the server's side.
func TestPlacesThatOthersCouldTake(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	for _, c := range []struct{ name, socket, steps string }{
		{"a file at the path", "s", "file s"},
		{"a directory at the path", "s", "dir s 0700"},
		{"a symlink at the path", "s", "file target; link target s"},
		{"a FIFO at the path", "s", "fifo s"},
		{"a stranger's socket at the path", "s", "socket s; give s"},
		{"a symlink at the lock", "s", "file target; link target s.lock"},
		{"a directory for all", "d/s", "dir d 0777"},
		{"a directory for the group", "d/s", "dir d 0770"},
		{"a sticky directory for all", "d/s", "dir d 1777"},
		{"a stranger's directory", "d/s", "dir d 0700; give d"},
		{"a symlink to the directory", "l/s", "dir d 0700; link d l"},
		{"a file for a directory", "d/s", "file d"},
		{"a parent for all", "p/d/s", "dir p 0777; dir p/d 0700"},
		{"a stranger's parent", "p/d/s", "dir p 0755; dir p/d 0700; give p"},
		{"a parent that is a stranger's symlink", "l/d/s", "dir p 0755; dir p/d 0700; link p l; give l"},
		{"a symlink to a parent for all", "l/d/s", "dir p 0777; dir p/d 0700; link p l"},
		{"a missing directory where all may write", "p/d/s", "dir p 1777"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			places(t, dir, c.steps)
			socket := filepath.Join(dir, c.socket)
			before, _ := os.Lstat(socket)
			l, err := Listen(socket)
			if err == nil {
				_ = l.Close()
			}
			if !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want ErrInvalid naming the place", err)
			}
			if after, _ := os.Lstat(socket); before != nil && !os.SameFile(before, after) {
				t.Error("what was there has been replaced")
			}
		})
	}
}

func TestPlacesThatAreFine(t *testing.T) {
	for _, c := range []struct{ name, socket, steps string }{
		{"under a sticky directory", "t/d/s", "dir t 1777; dir t/d 0700"},
		{"readable by others", "r/s", "dir r 0755"},
		{"under our own symlink", "l/d/s", "dir p 0755; link p l"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			places(t, dir, c.steps)
			socket := filepath.Join(dir, c.socket)
			go AnswerAll(listening(t, socket), emptyAnswer)
			if err := (&ipc.Client{Socket: socket}).Reload(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Case 30 of the threat model.
func TestLongestPathWorks(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "t")
	Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, strings.Repeat("x", longestPath-len(dir)-1))
	go AnswerAll(listening(t, socket), emptyAnswer)
	if err := (&ipc.Client{Socket: socket}).Reload(t.Context()); err != nil {
		t.Error(err)
	}
	for _, path := range []string{socket + "x", "tokend.sock", "@tokend", ""} {
		if _, err := Listen(path); !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), "socket's path") {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// Case 19 of the threat model, the client's side.
func TestClientTellsAStrangersServerNothing(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	dir := openDir(t)
	Must(t, os.Chmod(dir, 0o777))
	socket := filepath.Join(dir, "s")
	squatter := play(t, "squatter", socket, asStranger())
	if got := squatter.says(); got != "ok" {
		t.Fatal(got)
	}
	_, err := (&ipc.Client{Socket: socket}).Add(t.Context(), token.CreateProfile{Name: "a", Secrets: map[string]token.Secret{"k": token.NewSecret("canary")}})
	if !errors.Is(err, token.ErrDenied) || !strings.Contains(err.Error(), "uid 65533") {
		t.Errorf("got %v, want ErrDenied that says whose socket it is", err)
	}
	if got := squatter.says(); got != "ok" { // from Accept
		t.Fatal(got)
	}
	if heard, _ := io.ReadAll(squatter.out); len(heard) > 0 {
		t.Errorf("the squatter %s", heard)
	}
}

const emptyAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

// openDir is a directory that other users can reach.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tokend")
	Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	Must(t, os.Chmod(dir, 0o755))
	return dir
}

// A listener whose socket was removed does not remove the one that came after it.
func TestClosingLeavesAnothersSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := listening(t, path)
	Must(t, errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)))
	Must(t, l.Close())
	if !exists(t, path) {
		t.Error("it is gone")
	}
}
