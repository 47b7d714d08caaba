package helper

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tokend/providers/token"
)

// ask asks tokend, and says who asks. A tool that asks again for a token that it has
// got, and waits for each answer, had it refused: then tokend drops it.
func (c *Call) ask(ctx context.Context, q token.Query) (token.Grant, error) {
	asked := c.withAsker(ctx, q.URL)
	g, err := c.Daemon.Get(asked, c.Profile, q)
	if e, ok := errors.AsType[*token.Error](err); !ok || e.Detail != token.AskedAgain {
		return g, err
	}
	if g, err = c.Daemon.Get(ctx, c.Profile, q); err != nil || runsOthers(os.Getppid()) {
		return g, err
	}
	if c.refusals.always {
		asked = ctx
	}
	err = c.Daemon.Invalidate(asked, g.Profile, g.Secret)
	switch {
	case err == nil:
		return c.Daemon.Get(asked, c.Profile, q)
	case c.refusals.always:
		return g, nil
	}
	return token.Grant{}, err
}

// withAsker returns ctx with who asks about url: a process, but for git, whose
// processes come and go.
func (c *Call) withAsker(ctx context.Context, url string) context.Context {
	a := token.Asker{Key: cmp.Or(c.about, url), Again: c.refusals.again}
	if a.Again > 0 {
		a.Key = toolProcess() + " " + a.Key
	}
	return token.WithAsker(ctx, a)
}

// toolProcess names the process that runs this helper: its pid and, where /proc
// says it, when it started, because pids are used again.
func toolProcess() string {
	name := strconv.Itoa(os.Getppid())
	stat, _ := os.ReadFile("/proc/" + name + "/stat")
	// What precedes is the program's name in parentheses, which may hold anything.
	after := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(after) > 19 {
		name += "." + after[19] // the 22nd field of all, proc(5)
	}
	return name
}

// runsOthers reports whether a process runs helpers besides this one, where /proc
// says it: so it does not ask because of a refusal.
func runsOthers(pid int) bool {
	own, _ := os.Readlink("/proc/self/exe")
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	return slices.ContainsFunc(threads, func(file string) bool {
		children, _ := os.ReadFile(file)
		return slices.ContainsFunc(strings.Fields(string(children)), func(child string) bool {
			exe, err := os.Readlink("/proc/" + child + "/exe")
			return err == nil && exe == own && child != strconv.Itoa(os.Getpid())
		})
	})
}
