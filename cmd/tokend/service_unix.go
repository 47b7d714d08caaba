//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tokend/ipc"
)

// serveManaged serves: systemd and launchd run a program as a shell does.
func serveManaged(ctx context.Context, at places, log io.Writer) error {
	err := serve(ctx, at, log)
	if err != nil {
		systemd.failed(err)
	}
	return err
}

// checkRoots refuses a path on which anything could be replaced by others than
// root.
func checkRoots(path string) error {
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

// end ends the process that says it serves at socket and returns when it is
// gone. The kernel has to say the same: root must not end whatever somebody
// names.
func end(ctx context.Context, socket string, pid int) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	peer, err := ipc.PeerOf(conn)
	_ = conn.Close()
	if err != nil || peer.PID != pid || pid <= 1 {
		return errors.New("stop it, and type the same again")
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("it cannot be stopped: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return fmt.Errorf("it does not end within %v", stopLimit)
		}
	}
	return nil
}
