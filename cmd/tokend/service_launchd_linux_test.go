package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tokend/daemon"
)

// A fakeLaunchctl knows one job, as loaded as the files in its directory say.
// It stands for the real one, which is on Macs alone.
func newFakeLaunchctl(t *testing.T) (dir string, l launchdServices, d definition) {
	t.Helper()
	dir = t.TempDir()
	short, err := os.MkdirTemp("", "tokend-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	script := `#!/bin/sh
cd ` + dir + `
echo "$*" >>calls
if [ -e "fail-$1" ]; then cat "fail-$1" >&2; exit 5; fi
case $1 in
print) [ -e loaded ] || { echo "Could not find service" >&2; exit 113; }; cat loaded ;;
bootstrap) [ ! -e loaded ] || { echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; }; cp job loaded ;;
bootout) rm loaded ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "launchctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("HOME", dir)
	d = definition{program: "/usr/local/bin/tokend", socket: filepath.Join(short, "s"), dirs: daemon.Dirs{Config: dir + "/c", State: dir + "/s"}}
	return dir, launchdServices{socket: d.socket}, d
}

func TestLaunchd(t *testing.T) {
	dir, l, d := newFakeLaunchctl(t)
	file := filepath.Join(dir, "Library/LaunchAgents/tokend.plist")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	called := func(want string) {
		t.Helper()
		got, _ := os.ReadFile(filepath.Join(dir, "calls"))
		want = strings.ReplaceAll(want, "JOB", l.target())
		if strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
			t.Errorf("launchctl was called\n%s\nwant\n%s", got, want)
		}
		_ = os.Remove(filepath.Join(dir, "calls"))
	}

	if removed, err := l.uninstall(t.Context()); len(removed) > 0 || err != nil {
		t.Errorf("nothing there: %v, %v", removed, err)
	}
	called("print JOB")
	for range 2 {
		if files, err := l.install(t.Context(), d); err != nil || len(files) != 1 || files[0] != file {
			t.Fatal(files, err)
		}
		called("enable JOB")
	}
	want, err := d.plist(filepath.Join(dir, "Library/Logs/tokend.log"))
	got, readErr := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err := errors.Join(err, readErr, statErr); err != nil || string(got) != want || info.Mode() != 0o644 {
		t.Errorf("%v %v\n%s", err, info, got)
	}

	// What ends at once is told, with its status.
	write("job", "tokend = {\n\tstate = spawn scheduled\n\tlast exit code = 78: EX_CONFIG\n}\n")
	if err := l.start(t.Context()); statusOf(err) != exitConfig || !strings.Contains(err.Error(), "Library/Logs/tokend.log") {
		t.Errorf("what ends at once: %v", err)
	}
	if now, err := l.state(t.Context()); err != nil || now.running || now.says != "spawn scheduled, last exit status 78" || now.definition != file {
		t.Errorf("%+v, %v", now, err)
	}
	_ = os.Remove(filepath.Join(dir, "calls"))

	// What serves is started, and started anew with a new definition.
	listener, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"version":"x","profiles":[]}`))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	write("job", "tokend = {\n\tstate = running\n\tpid = 42\n\tlast exit code = (never exited)\n}\n")
	if err := l.restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	called("print JOB\nbootout JOB\nprint JOB\nprint JOB\nbootstrap " + l.domain() + " " + file)
	if now, err := l.state(t.Context()); err != nil || !now.running || now.pid != 42 || now.says != "running" {
		t.Errorf("%+v, %v", now, err)
	}
	if err := l.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	called("print JOB\nprint JOB\nkickstart JOB")
	// Another definition takes the place of the one that is loaded.
	d.program = "/opt/tokend"
	if _, err := l.install(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	called("print JOB\nbootout JOB\nprint JOB\nenable JOB")
	if err := l.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	called("print JOB\nbootstrap " + l.domain() + " " + file)
	if removed, err := l.uninstall(t.Context()); err != nil || len(removed) != 1 || exists(file) {
		t.Errorf("%v, %v", removed, err)
	}
	called("print JOB\nbootout JOB\nprint JOB")

	write("fail-bootstrap", "Bootstrap failed: 125: Domain does not support specified action\nTry again\n")
	if err := l.start(t.Context()); err == nil || !strings.Contains(err.Error(), "Domain does not support") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without a session: %v", err)
	}
}
