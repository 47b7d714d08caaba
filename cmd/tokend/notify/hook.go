package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"tokend/providers/token"
)

// hookRuns is how often the hook runs within an hour.
const hookRuns = 10

// A Hook is a program that gets needs as events on its standard input; none without Path.
type Hook struct {
	Path  string
	Limit time.Duration // of each run

	turn    sync.Mutex // one run at a time
	last    []time.Time
	running sync.WaitGroup
}

// run starts the program as soon as it is its turn, without a shell and without
// arguments.
func (h *Hook) run(ctx context.Context, e token.Event, say func(string, ...any)) {
	if h.Path == "" {
		return
	}
	line, _ := json.Marshal(e) // what is of a status has a JSON form
	h.running.Go(func() {
		h.turn.Lock()
		defer h.turn.Unlock()
		h.last = slices.DeleteFunc(h.last, func(at time.Time) bool { return time.Since(at) >= time.Hour })
		if len(h.last) == hookRuns {
			say("the hook ran %d times within an hour; left out: %s", hookRuns, line)
			return
		}
		h.last = append(h.last, time.Now())
		ctx, cancel := context.WithTimeout(ctx, h.Limit)
		defer cancel()
		cmd := exec.CommandContext(ctx, h.Path)
		cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = bytes.NewReader(append(line, '\n')), os.Stderr, os.Stderr, time.Second
		killGroup(cmd)
		if err := cmd.Run(); err != nil {
			say("the hook, which may run for %v: %v", h.Limit, err)
		}
	})
}
