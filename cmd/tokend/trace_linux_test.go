package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tokend/cmd/tokend/service"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// stranger is a uid that owns nothing.
const stranger = 64321

// Case 64 of the threat model: a program of the same user cannot trace tokend,
// nor read its memory or environment.
func TestTheSameUserCannotLookInside(t *testing.T) {
	if os.Geteuid() != 0 {
		checktest.Unable(t, "this takes root, for another uid")
	}
	dir, err := os.MkdirTemp("", "tokend-trace-")
	check(t, err)
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "program") // where that user can run it
	check(t, errors.Join(copyFile(program, "/proc/self/exe"), os.Chmod(program, 0o755), os.Chown(dir, stranger, stranger)))
	// as is a program of this test's binary, run by that user.
	as := func(name string, args ...string) *exec.Cmd {
		return &exec.Cmd{Path: program, Args: append([]string{name}, args...), Dir: dir, Env: []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + dir},
			SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}}
	}
	if out, err := as("tokend", "setup", "--keystore", "sealed", "--key-file", filepath.Join(dir, "key")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	daemon, other := as("tokend", "run"), as("tokend-sleep")
	for _, cmd := range []*exec.Cmd{daemon, other} {
		check(t, cmd.Start())
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	}
	waitFor(t, "tokend's socket", func() bool { return service.Exists(filepath.Join(dir, "tokend", "tokend.sock")) })
	out, err := as("tokend-peek", strconv.Itoa(daemon.Process.Pid)).CombinedOutput()
	if want := "environ refused\nmaps refused\nmem refused\nptrace refused\nreadv refused\n"; err != nil || string(out) != want {
		t.Errorf("tokend: %v\n%s", err, out)
	}
	// That these can be had of another process shows that the above says
	// something. Some systems allow no tracing.
	out, err = as("tokend-peek", strconv.Itoa(other.Process.Pid)).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "environ granted\nmaps granted\n") {
		t.Errorf("another process: %v\n%s", err, out)
	}
}

func init() {
	commands["tokend-sleep"] = func() { time.Sleep(time.Minute) }
	commands["tokend-peek"] = peek
}

// peek is a program that tries to look into a process, and says what it may.
func peek() {
	pid, _ := strconv.Atoi(os.Args[1])
	for _, try := range []struct {
		what string
		do   func() error
	}{
		{"environ", func() error { return readSome(fmt.Sprintf("/proc/%d/environ", pid)) }},
		{"maps", func() error { return readSome(fmt.Sprintf("/proc/%d/maps", pid)) }},
		{"mem", func() error {
			f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
			if err == nil {
				err = f.Close()
			}
			return err
		}},
		{"ptrace", func() error {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			err := unix.PtraceAttach(pid)
			if err == nil {
				_, _ = unix.Wait4(pid, nil, 0, nil)
				err = unix.PtraceDetach(pid)
			}
			return err
		}},
		{"readv", func() error {
			b := make([]byte, 8)
			_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
			if errors.Is(err, unix.EFAULT) {
				err = nil // there is nothing at that address
			}
			return err
		}},
	} {
		verdict := "granted"
		if err := try.do(); errors.Is(err, fs.ErrPermission) {
			verdict = "refused"
		} else if err != nil {
			verdict = err.Error()
		}
		fmt.Println(try.what, verdict)
	}
}

func readSome(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); err != nil && err != io.EOF {
		return err
	}
	return nil
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// Case 65 of the threat model: a tokend that is made to dump what it is doing
// shows no secret, and dumps no core.
func TestATraceShowsNoSecret(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT} {
		t.Run(signal.String(), func(t *testing.T) {
			h := newHome(t, "GOTRACEBACK=all")
			h.setupSealed()
			h.start()
			a := h.clms("clms", 2048)
			key, err := privateKey([]byte(a.Secrets["service_key"].Reveal()))
			check(t, err)
			kek := read(t, h.dir, "key")
			h.add(a)
			secrets := append(strings.Fields(key), h.get("clms", token.Query{}), strings.TrimSpace(kek))
			limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", h.daemon.Process.Pid))
			if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0 ") {
				t.Errorf("cores are not forbidden: %v\n%s", err, limits)
			}
			check(t, h.daemon.Process.Signal(signal))
			_ = h.daemon.Wait() // it says how it ended
			h.daemon = nil
			if !strings.Contains(h.log.String(), "daemon.(*Daemon).Run(") {
				t.Errorf("no trace: %s", h.log.String())
			}
			for _, s := range secrets {
				if len(s) > 20 && strings.Contains(h.log.String(), s) { // not "-----BEGIN"
					t.Errorf("%.8s… is in the trace", s)
				}
			}
			if cores, _ := filepath.Glob(filepath.Join(h.dir, "core*")); len(cores) > 0 {
				t.Errorf("%q", cores)
			}
		})
	}
}
