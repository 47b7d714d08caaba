//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"tokend/ipc"
	"tokend/packaging"
)

// launchdServices are the jobs of launchd: an agent of this user, who must be
// logged in on the screen, where the keychain is; or a daemon of the machine.
type launchdServices struct {
	system bool
	socket string
}

// target names the job, domain its place, in launchctl's words.
func (l launchdServices) target() string { return l.domain() + "/" + serviceName }

func (l launchdServices) domain() string {
	if l.system {
		return "system"
	}
	return "gui/" + strconv.Itoa(os.Getuid())
}

// file is where launchd looks for the job at boot or login.
func (l launchdServices) file() (string, error) {
	if l.system {
		return "/Library/LaunchDaemons/" + serviceName + ".plist", nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, "Library", "LaunchAgents", serviceName+".plist"), err
}

func (l launchdServices) logFile() (string, error) {
	if l.system {
		return "/var/log/" + serviceName + ".log", nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, "Library", "Logs", serviceName+".log"), err
}

// install replaces the definition. launchd goes on with the one that it has
// loaded, so that is unloaded.
func (l launchdServices) install(ctx context.Context, d definition) ([]string, error) {
	file, err := l.file()
	if err != nil {
		return nil, err
	}
	log, err := l.logFile()
	if err != nil {
		return nil, err
	}
	text, err := d.plist(log)
	if err != nil {
		return nil, err
	}
	if now, err := os.ReadFile(file); err == nil && string(now) != text {
		if err := l.stop(ctx); err != nil {
			return nil, err
		}
	}
	if err := writeDefinition(file, text); err != nil {
		return nil, err
	}
	// A job that somebody switched off stays so over an installation otherwise.
	_, err = l.ctl(ctx, "enable", l.target())
	return []string{file}, err
}

func (l launchdServices) uninstall(ctx context.Context) ([]string, error) {
	file, err := l.file()
	if err != nil {
		return nil, err
	}
	if err := l.stop(ctx); err != nil {
		return nil, err
	}
	err = os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return []string{file}, err
}

func (l launchdServices) start(ctx context.Context) error {
	_, loaded, err := l.print(ctx)
	switch {
	case err != nil:
		return err
	case loaded:
		_, err = l.ctl(ctx, "kickstart", l.target())
	default:
		var file string
		if file, err = l.file(); err == nil {
			_, err = l.ctl(ctx, "bootstrap", l.domain(), file)
		}
		if err != nil && !l.system {
			err = fmt.Errorf("%w (an agent takes its user's login on the screen)", err)
		}
	}
	if err != nil {
		return err
	}
	return l.waitUntilItServes(ctx)
}

// waitUntilItServes is what launchd leaves to those who want to know.
func (l launchdServices) waitUntilItServes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if _, err := (&ipc.Client{Socket: l.socket}).Status(ctx); err == nil {
			return nil
		}
		said, _, _ := l.print(ctx)
		if m := printedExit.FindStringSubmatch(said); m != nil && m[1] != "0" {
			status, _ := strconv.Atoi(m[1])
			log, _ := l.logFile()
			return startError{status, fmt.Sprintf("the service ended with status %d: see the end of %s", status, log)}
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return fmt.Errorf("the service does not answer at %s after %v", l.socket, startLimit)
		}
	}
}

const (
	startLimit = 15 * time.Second
	stopLimit  = 30 * time.Second
	pollEvery  = 50 * time.Millisecond
)

// stop unloads the job: one that is loaded launchd keeps alive.
func (l launchdServices) stop(ctx context.Context) error {
	_, loaded, err := l.print(ctx)
	if !loaded || err != nil {
		return err
	}
	if _, err := l.ctl(ctx, "bootout", l.target()); err != nil && !strings.Contains(err.Error(), "in progress") {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for {
		if _, loaded, err := l.print(ctx); !loaded || err != nil {
			return err
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return errors.New("launchd does not let go of " + l.target())
		}
	}
}

// restart loads the definition anew, which kickstart -k would not.
func (l launchdServices) restart(ctx context.Context) error {
	if err := l.stop(ctx); err != nil {
		return err
	}
	return l.start(ctx)
}

func (l launchdServices) state(ctx context.Context) (serviceState, error) {
	file, err := l.file()
	if err != nil {
		return serviceState{}, err
	}
	log, err := l.logFile()
	if err != nil {
		return serviceState{}, err
	}
	now := serviceState{log: log}
	if _, err := os.Stat(file); err == nil {
		now.definition, now.enabled = file, true
	}
	said, _, err := l.print(ctx)
	if m := printedPID.FindStringSubmatch(said); m != nil {
		now.running = true
		now.pid, _ = strconv.Atoi(m[1])
	}
	if m := printedState.FindStringSubmatch(said); m != nil {
		now.says = m[1]
	}
	if m := printedExit.FindStringSubmatch(said); m != nil && !now.running {
		now.says += ", last exit status " + m[1]
	}
	return now, err
}

// What launchctl print says of a job.
var (
	printedPID   = regexp.MustCompile(`(?m)^\tpid = (\d+)$`)
	printedState = regexp.MustCompile(`(?m)^\tstate = (.+)$`)
	printedExit  = regexp.MustCompile(`(?m)^\tlast exit code = (\d+)`)
)

// notFound is launchctl's exit status for a job that is not loaded.
const notFound = 113

// print gives what launchd knows of the job, and whether it is loaded.
func (l launchdServices) print(ctx context.Context) (said string, loaded bool, err error) {
	said, err = l.ctl(ctx, "print", l.target())
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == notFound {
		return "", false, nil
	}
	return said, err == nil, err
}

// ctl runs launchctl. Its error is what launchctl says.
func (l launchdServices) ctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "launchctl", args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return "", fmt.Errorf("launchctl %s: %w: %s", args[0], err, line)
	}
	return out.String(), nil
}

// plist is the job as packaging has it, with the places of d.
func (d definition) plist(log string) (string, error) {
	name := "launchd/agent.plist"
	if d.system {
		name = "launchd/daemon.plist"
	}
	text, err := packaging.Services.ReadFile(name)
	if err != nil {
		return "", err
	}
	const user = "/Users/USER/Library/Application Support/tokend"
	var places []string
	for _, place := range [][2]string{
		{"/usr/local/bin/tokend", d.program},
		{user + "/tokend.sock", d.socket}, {"/var/run/tokend/tokend.sock", d.socket},
		{user + "/state", d.dirs.State}, {user, d.dirs.Config},
		{"/Users/USER/Library/Logs/tokend.log", log}, {"/var/log/tokend.log", log},
	} {
		var escaped bytes.Buffer
		if err := xml.EscapeText(&escaped, []byte(place[1])); err != nil {
			return "", err
		}
		places = append(places, "<string>"+place[0]+"</string>", "<string>"+escaped.String()+"</string>")
	}
	return strings.NewReplacer(places...).Replace(string(text)), nil
}

// writeDefinition writes a file that the service manager reads, whole or not at
// all, for its owner to change and all to read, whatever the umask.
func writeDefinition(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(file, renameio.WithStaticPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
