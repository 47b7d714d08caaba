package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// logPoll is how often --follow looks for new lines of a file.
const logPoll = 200 * time.Millisecond

func logsCommand(e *ui.Env) *cli.Command {
	var follow bool
	return &cli.Command{
		Name:  "logs",
		Short: "Show tokend's log",
		Long: `  tokenctl logs
  tokenctl logs --follow

Shows the log of your tokend, or of the system's if you have none, wherever it
is: in systemd's journal, in the file of launchd or Windows, or in the file of a
tokend that --start started. On a terminal it shows the last 200 lines of a
journal. The log of "tokend run" is on its own terminal.`,
		Flags: func(f *cli.Flags) { f.BoolVar(&follow, "follow, f", false, "go on with new lines until Ctrl-C") },
		Run: func(context.Context, *cli.Call) error {
			d, err := e.Client()
			if err != nil {
				return err
			}
			system := d.Socket == ipc.SystemSocket() || ui.InspectMachine().OnlySystem()
			if file := logFile(system); file != "" {
				return printFile(e.Out.W, file, follow)
			}
			return runJournalctl(e, system, follow)
		},
	}
}

// logFile returns the file of the log, "" if it is in systemd's journal.
func logFile(system bool) string {
	state, _ := ui.StateDir()
	file := filepath.Join(state, "tokend.log")
	switch runtime.GOOS {
	case "linux":
		if system || exec.Command("systemctl", "--user", "--quiet", "is-enabled", "tokend.service", "tokend.socket").Run() == nil {
			return ""
		}
	case "windows":
		if system {
			file = filepath.Join(os.Getenv("ProgramData"), "tokend", "state", "tokend.log")
		}
	case "darwin":
		library := "/var/log"
		if home, err := os.UserHomeDir(); err == nil && !system {
			library = filepath.Join(home, "Library", "Logs")
		}
		if service := filepath.Join(library, "tokend.log"); system || ui.Exists(service) {
			file = service
		}
	}
	return file
}

// runJournalctl passes on its exit status.
func runJournalctl(e *ui.Env, system, follow bool) error {
	args := []string{map[bool]string{false: "--user-unit", true: "--unit"}[system], "tokend", "--no-pager"}
	switch {
	case follow:
		args = append(args, "--follow")
	case ui.IsTerminal(e.Out.W):
		args = append(args, "--lines", "200")
	}
	cmd := exec.Command("journalctl", args...)
	cmd.Stdout, cmd.Stderr = e.Out.W, e.Err.W
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		e.Note("Only root and members of the group systemd-journal may read the journal. As root, then log in again: " + ui.Typed("usermod -aG systemd-journal USER"))
		return &ui.Exit{Status: exit.ExitCode()}
	}
	return err
}

// printFile prints a file, and what is added to it.
func printFile(out io.Writer, path string, follow bool) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &ui.Exit{Status: ui.ExitFailure, Err: errors.New("there is no log at " + path + ": a tokend that you started with \"tokend run\" logs to its terminal")}
	}
	for ; err == nil; time.Sleep(logPoll) {
		if _, err = io.Copy(out, f); err != nil || !follow {
			break
		}
	}
	if err != nil {
		err = errors.New(token.FileFault(err))
	}
	return err
}
