//go:build unix

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"tokend/ipc"
)

const stopTimeout = 30 * time.Second

// WriteFile writes a file that the service manager reads, atomically: the owner
// may change it and everyone read it, whatever the umask.
func WriteFile(file, text string) error {
	if err := makeDir(filepath.Dir(file)); err != nil {
		return err
	}
	return renameio.WriteFile(file, []byte(text), 0o644, renameio.WithStaticPermissions(0o644))
}

// makeDir makes a directory that others may read but not change, whatever the
// umask.
func makeDir(dir string) error {
	if Exists(dir) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// checkSystemProgram refuses a program that others than root could replace, or that
// the unit's sandbox hides (ProtectHome=).
func checkSystemProgram(path string) error {
	for _, dir := range []string{"/home/", "/root/", "/run/user/"} {
		if strings.HasPrefix(path, dir) {
			return fmt.Errorf("this program is %s, and the system service sees nothing under %s", path, dir)
		}
	}
	path, err := filepath.EvalSymlinks(path)
	for err == nil {
		var info os.FileInfo
		if info, err = os.Stat(path); err != nil {
			break
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 || info.Mode().Perm()&0o022 != 0 {
			return fmt.Errorf("others than root can replace %s (uid %d, mode %04o), which the system service would run", path, uid, info.Mode().Perm())
		}
		if path == "/" {
			return nil
		}
		path = filepath.Dir(path)
	}
	return err
}

// StopProcess ends the tokend that says it serves at socket as process pid, and
// returns when it is gone. The kernel has to confirm the pid: root must not end
// a process because another user named it.
func StopProcess(ctx context.Context, socket string, pid int) error {
	peer, err := ipc.ServerOf(ctx, socket)
	if err != nil || peer.PID != pid || pid <= 1 {
		return errors.New("stop it, and repeat this command")
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("it cannot be stopped: %w", err)
	}
	if !waitFor(ctx, stopTimeout, func() bool { return syscall.Kill(pid, 0) != nil }) {
		return fmt.Errorf("it does not end within %v", stopTimeout)
	}
	return nil
}

// waitFor reports whether done becomes true in time.
func waitFor(ctx context.Context, timeout time.Duration, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for !done() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
	return true
}
