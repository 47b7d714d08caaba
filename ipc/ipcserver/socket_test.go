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
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tokend/ipc"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// A process is another one, played by this test binary.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   interface{ Close() error }
	out  *os.File
	rest string
}

func play(t *testing.T, part, socket string, uid uint32) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", playEnv+"="+part, placeEnv+"="+socket)
	if uid != uint32(os.Getuid()) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		// The test binary may lie where only we can go.
		cmd.Path = "/proc/self/exe"
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	p := &process{t: t, cmd: cmd, in: in, out: r}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait(); _ = r.Close() })
	return p
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
	if err != nil {
		t.Fatal(err)
	}
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

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// Case 68 of the threat model.
func TestModesDoNotDependOnTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		old := unix.Umask(umask)
		root, err := os.MkdirTemp("", "tokend-umask")
		if err != nil {
			t.Fatal(err)
		}
		socket := filepath.Join(root, "a", "b", "tokend.sock")
		l, err := Listen(socket)
		unix.Umask(old)
		t.Cleanup(func() { _ = os.RemoveAll(root) })
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]fs.FileMode{
			socket: 0o600, socket + ".lock": 0o600, filepath.Join(root, "a", "b"): 0o700, filepath.Join(root, "a"): 0o700,
		} {
			if got := mode(t, path); got != want {
				t.Errorf("umask %03o: %s has mode %o, want %o", umask, path, got, want)
			}
		}
		_ = l.Close()
	}
}

func TestCloseRemovesTheSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "tokend", "s")
	l := listening(t, socket)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
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
	first := play(t, "daemon", socket, uint32(os.Getuid()))
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
	answerAll(listening(t, socket))
	if err := (&ipc.Client{Socket: socket}).Reload(t.Context()); err != nil {
		t.Errorf("after taking over: %v", err)
	}
}

// A socket that systemd opened has no lock: it is not taken from under it.
func TestALiveSocketIsNotReplaced(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	held, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { _ = held.Close() })
	if _, err := Listen(socket); !errors.Is(err, token.ErrExists) || !strings.Contains(err.Error(), "service manager") {
		t.Errorf("beside a service manager's socket: %v", err)
	}
	answerAll(held)
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
		players[i] = play(t, "daemon", socket, uint32(os.Getuid()))
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

// Case 19 of the threat model, the server's side.
func TestPlacesThatOthersCouldTake(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	for name, prepare := range map[string]func(t *testing.T, dir string) (socket string){
		"a file at the path": func(t *testing.T, dir string) string {
			return write(t, filepath.Join(dir, "s"))
		},
		"a directory at the path": func(t *testing.T, dir string) string {
			return mkdir(t, filepath.Join(dir, "s"), 0o700)
		},
		"a symlink at the path": func(t *testing.T, dir string) string {
			return link(t, write(t, filepath.Join(dir, "target")), filepath.Join(dir, "s"))
		},
		"a FIFO at the path": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "s")
			must(t, unix.Mkfifo(path, 0o600))
			return path
		},
		"a stranger's socket at the path": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "s")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			must(t, err)
			l.SetUnlinkOnClose(false)
			must(t, errors.Join(l.Close(), os.Chown(path, stranger, stranger)))
			return path
		},
		"a symlink at the lock": func(t *testing.T, dir string) string {
			link(t, write(t, filepath.Join(dir, "target")), filepath.Join(dir, "s.lock"))
			return filepath.Join(dir, "s")
		},
		"a directory for all": func(t *testing.T, dir string) string {
			return filepath.Join(mkdir(t, filepath.Join(dir, "d"), 0o777), "s")
		},
		"a directory for the group": func(t *testing.T, dir string) string {
			return filepath.Join(mkdir(t, filepath.Join(dir, "d"), 0o770), "s")
		},
		"a sticky directory for all": func(t *testing.T, dir string) string {
			return filepath.Join(mkdir(t, filepath.Join(dir, "d"), 0o777|fs.ModeSticky), "s")
		},
		"a stranger's directory": func(t *testing.T, dir string) string {
			path := mkdir(t, filepath.Join(dir, "d"), 0o700)
			must(t, os.Chown(path, stranger, stranger))
			return filepath.Join(path, "s")
		},
		"a symlink to the directory": func(t *testing.T, dir string) string {
			return filepath.Join(link(t, mkdir(t, filepath.Join(dir, "d"), 0o700), filepath.Join(dir, "l")), "s")
		},
		"a file for a directory": func(t *testing.T, dir string) string {
			return filepath.Join(write(t, filepath.Join(dir, "d")), "s")
		},
		"a parent for all": func(t *testing.T, dir string) string {
			parent := mkdir(t, filepath.Join(dir, "p"), 0o777)
			return filepath.Join(mkdir(t, filepath.Join(parent, "d"), 0o700), "s")
		},
		"a stranger's parent": func(t *testing.T, dir string) string {
			parent := mkdir(t, filepath.Join(dir, "p"), 0o755)
			path := mkdir(t, filepath.Join(parent, "d"), 0o700)
			must(t, os.Chown(parent, stranger, stranger))
			return filepath.Join(path, "s")
		},
		"a parent that is a stranger's symlink": func(t *testing.T, dir string) string {
			mkdir(t, filepath.Join(mkdir(t, filepath.Join(dir, "p"), 0o755), "d"), 0o700)
			l := link(t, filepath.Join(dir, "p"), filepath.Join(dir, "l"))
			must(t, os.Lchown(l, stranger, stranger))
			return filepath.Join(l, "d", "s")
		},
		"a symlink to a parent for all": func(t *testing.T, dir string) string {
			mkdir(t, filepath.Join(mkdir(t, filepath.Join(dir, "p"), 0o777), "d"), 0o700)
			return filepath.Join(link(t, filepath.Join(dir, "p"), filepath.Join(dir, "l")), "d", "s")
		},
		"a missing directory where all may write": func(t *testing.T, dir string) string {
			return filepath.Join(mkdir(t, filepath.Join(dir, "p"), 0o777|fs.ModeSticky), "d", "s")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			socket := prepare(t, dir)
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
	dir := t.TempDir()
	for name, socket := range map[string]string{
		"under a sticky directory": filepath.Join(mkdir(t, filepath.Join(mkdir(t, filepath.Join(dir, "t"), 0o777|fs.ModeSticky), "d"), 0o700), "s"),
		"readable by others":       filepath.Join(mkdir(t, filepath.Join(dir, "r"), 0o755), "s"),
		"under our own symlink":    filepath.Join(link(t, mkdir(t, filepath.Join(dir, "p"), 0o755), filepath.Join(dir, "l")), "d", "s"),
	} {
		t.Run(name, func(t *testing.T) {
			answerAll(listening(t, socket))
			if err := (&ipc.Client{Socket: socket}).Reload(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPathsThatNoSocketCanHave(t *testing.T) {
	for name, socket := range map[string]string{"relative": "tokend.sock", "abstract": "@tokend", "empty": "", "long": "/" + strings.Repeat("x", longestPath)} {
		if _, err := Listen(socket); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}

// Case 30 of the threat model.
func TestLongestPathWorks(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "t")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, strings.Repeat("x", longestPath-len(dir)-1))
	answerAll(listening(t, socket))
	if err := (&ipc.Client{Socket: socket}).Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := Listen(socket + "x"); !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), "allows") {
		t.Errorf("one byte more: %v", err)
	}
}

// Case 12 of the threat model.
func TestStrangerCannotConnect(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	dir := openDir(t)
	socket := filepath.Join(mkdir(t, filepath.Join(dir, "tokend"), 0o755), "s")
	answerAll(listening(t, socket))
	if got := play(t, "reloader", socket, stranger).says(); got != string(token.ErrDenied) {
		t.Errorf("a stranger got %q, want denied", got)
	}
	if got := play(t, "reloader", socket, uint32(os.Getuid())).says(); got != "ok" {
		t.Errorf("the user itself got %q", got)
	}
}

// Case 19 of the threat model, the client's side.
func TestClientTellsAStrangersServerNothing(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	dir := openDir(t)
	must(t, os.Chmod(dir, 0o777))
	socket := filepath.Join(dir, "s")
	squatter := play(t, "squatter", socket, stranger)
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

func TestClientTalksToRoot(t *testing.T) {
	checktest.NeedRoot(t, "for a second uid")
	dir := openDir(t)
	socket := filepath.Join(dir, "s")
	answerAll(listening(t, socket))
	must(t, os.Chmod(socket, 0o666)) // as a system's daemon may have it
	if got := play(t, "reloader", socket, stranger).says(); got != "ok" {
		t.Errorf("got %q", got)
	}
}

func TestPeerOfBothEnds(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l := listening(t, socket)
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		if p, err := peerOf(conn); err != nil || p.UID != os.Getuid() || p.PID != os.Getpid() {
			t.Errorf("the server sees %+v, %v", p, err)
		}
	})
	conn, err := net.Dial("unix", socket)
	must(t, err)
	defer func() { _ = conn.Close() }()
	if p, err := peerOf(conn); err != nil || p.UID != os.Getuid() || p.PID != os.Getpid() {
		t.Errorf("the client sees %+v, %v", p, err)
	}
	wg.Wait()
	if _, err := peerOf(struct{ net.Conn }{conn}); err == nil {
		t.Error("a connection that is not a socket has a peer")
	}
}

// answerAll answers every caller with an empty object.
func answerAll(l net.Listener) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1<<16))
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
			_ = conn.Close()
		}
	}()
}

// openDir is a directory that other users can reach.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tokend")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func mkdir(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	must(t, errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, mode)))
	return path
}

func write(t *testing.T, path string) string {
	t.Helper()
	must(t, os.WriteFile(path, nil, 0o600))
	return path
}

func link(t *testing.T, target, path string) string {
	t.Helper()
	must(t, os.Symlink(target, path))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
