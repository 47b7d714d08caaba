// Package launch starts a daemon of the user's own where none answers, as gpg starts
// gpg-agent: for tokenctl --start, and for tokend setup where no service can be. It
// never chooses a keystore: a person does, once.
package launch

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// Env names the environment variable that stands for --start.
const Env = "TOKEND_START"

const (
	// patience bounds the wait for a daemon that was started.
	patience = 10 * time.Second
	// otherPatience is how long another one that runs already has to answer or, if
	// it is stopping, to end.
	otherPatience = 5 * time.Second
	// poll is how often a daemon is asked, or one is started again.
	poll = 20 * time.Millisecond
	// statusRunning is tokend's exit status if another one serves already.
	statusRunning = 3
	// largestLog is how large its log may be before a start sets it aside, in
	// bytes.
	largestLog = 1 << 20
)

// IsWanted reports whether the environment wants what --start does.
func IsWanted() bool {
	value := os.Getenv(Env)
	return value != "" && value != "0" && value != "false"
}

// At starts the daemon beside tokenctl, to listen at socket.
func At(ctx context.Context, e *ui.Env, socket string) error {
	state, err := ui.StateDir()
	if err != nil || !ui.IsSetUp(state) {
		return &token.Error{Code: token.ErrNoDaemon, Message: "no tokend answers at " + socket + ", and none is set up here"}
	}
	program := ui.FindTokend()
	if program == "" {
		return notStarted("tokend is neither beside tokenctl nor in $PATH")
	}
	return Run(ctx, e, program, state, socket)
}

// LogFile is the log of a daemon that is started with this state directory.
func LogFile(state string) string { return filepath.Join(state, "tokend.log") }

// Run starts the program, to listen at socket, and returns when one answers there. Of
// several that are started at once one gets the socket, and the others end.
func Run(ctx context.Context, e *ui.Env, program, state, socket string, flags ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer e.Progress("Starting tokend")()
	for begin := time.Now(); ; time.Sleep(10 * poll) {
		isRunning, err := run(ctx, program, socket, LogFile(state), flags)
		if err == nil || !isRunning || time.Since(begin) > otherPatience {
			return err
		}
	}
}

func notStarted(why string) error {
	return &token.Error{Code: token.ErrNoDaemon, Message: "tokend could not be started: " + why, Cause: ui.ErrNotStarted}
}

// run starts the program, on its own from then on, and waits until one
// answers. It reports whether it ended because another one runs already.
func run(ctx context.Context, program, socket, logFile string, flags []string) (isRunning bool, err error) {
	log, begin, err := openLog(logFile)
	if err != nil {
		return false, notStarted(err.Error())
	}
	defer log.Close()
	c := exec.Command(program, append([]string{"run", "--socket", socket}, flags...)...)
	c.Dir = filepath.Dir(logFile) // no directory of the caller's stays in use
	c.Stdout, c.Stderr = log, log
	Detach(c)
	if err := c.Start(); err != nil {
		return false, notStarted(err.Error())
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for {
		if answers(ctx, socket) {
			return false, nil
		}
		select {
		case <-ended:
			return c.ProcessState.ExitCode() == statusRunning, notStarted(lastWords(log, begin))
		case <-ctx.Done():
			return false, notStarted("it does not answer; its log is " + logFile)
		case <-time.After(poll):
		}
	}
}

// answers reports whether a daemon serves at socket.
func answers(ctx context.Context, socket string) bool {
	_, err := (&ipc.Client{Socket: socket}).Providers(ctx)
	return err == nil || !errors.Is(err, token.ErrNoDaemon) && ctx.Err() == nil
}

// openLog opens the log of a daemon that is started, for its owner alone, and
// returns where new text begins.
func openLog(file string) (log *os.File, begin int64, err error) {
	if info, err := os.Stat(file); err == nil && info.Size() > largestLog {
		_ = os.Rename(file, strings.TrimSuffix(file, ".log")+"-old.log")
	}
	log, err = os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	begin, err = log.Seek(0, io.SeekEnd)
	return log, begin, err
}

// lastWords is why a daemon ended, by what the log has since begin.
func lastWords(log *os.File, begin int64) string {
	why := "it ended; its log is " + log.Name()
	text, _ := io.ReadAll(io.NewSectionReader(log, begin, largestLog))
	for line := range strings.Lines(string(text)) {
		if words, ok := strings.CutPrefix(line, "tokend: "); ok {
			why = strings.TrimSuffix(words, "\n")
		}
	}
	return why
}
