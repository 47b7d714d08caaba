package soak

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tokend/providers/providertest"
)

// A chaos breaks things, one at a time or several together, and repairs them.
type chaos struct {
	stage  *stage
	random *rand.Rand
	active []*trouble
	done   map[string]int // how often each was done
	locked bool
}

// A trouble is one thing that can go wrong. Two of the same kind do not happen
// at a time.
type trouble struct {
	kind, name string
	begin, end func()
	until      time.Time
}

// longest is how long a trouble lasts at the most: longer than the life of the
// shortest tokens.
const longest = 8 * time.Second

// run makes trouble until ctx ends.
func (c *chaos) run(ctx context.Context) {
	c.done = map[string]int{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(100+c.random.IntN(600)) * time.Millisecond):
		}
		c.restore(time.Now())
		all := c.troubles()
		next := all[c.random.IntN(len(all))]
		if c.has(next.kind) {
			continue
		}
		c.done[next.name]++
		next.begin()
		if next.end != nil {
			next.until = time.Now().Add(time.Duration(c.random.Int64N(int64(min(longest, *howLong/4)))))
			c.active = append(c.active, &next)
		}
	}
}

// restore ends what has lasted long enough.
func (c *chaos) restore(now time.Time) {
	var rest []*trouble
	for _, t := range c.active {
		if now.Before(t.until) {
			rest = append(rest, t)
			continue
		}
		t.end()
	}
	c.active = rest
}

// heal ends all trouble.
func (c *chaos) heal() { c.restore(time.Now().Add(longest)) }

func (c *chaos) has(kind string) bool {
	for _, t := range c.active {
		if t.kind == kind {
			return true
		}
	}
	return false
}

func (c *chaos) troubles() []trouble {
	s := c.stage
	list := []trouble{
		{"process", "kill -9", func() { c.restart(syscall.SIGKILL) }, nil, time.Time{}},
		{"process", "kill -9", func() { c.restart(syscall.SIGKILL) }, nil, time.Time{}},
		{"process", "stop and start", func() { c.restart(syscall.SIGTERM) }, nil, time.Time{}},
		{"process", "reload", func() { c.signal(syscall.SIGHUP) }, nil, time.Time{}},
		{"process", "SIGSTOP", func() { c.signal(syscall.SIGSTOP) }, func() { c.signal(syscall.SIGCONT) }, time.Time{}},
		{"keyring", "keyring locked", c.lock, c.unlock, time.Time{}},
		{"keyring", "keyring killed", c.killKeyring, c.unlock, time.Time{}},
		{"cache", "cache file cut", func() { c.damage(func(path string) error { return os.Truncate(path, 4096) }) }, nil, time.Time{}},
		{"cache", "cache file deleted", func() { c.damage(os.Remove) }, nil, time.Time{}},
		{"cache", "cache file overwritten", func() { c.damage(c.scribble) }, nil, time.Time{}},
	}
	for _, m := range []proxyMode{refuses, hangs, denies, cuts} {
		list = append(list, trouble{"proxy", "proxy " + string(m), func() { s.proxy.set(m) }, func() { s.proxy.set(passes) }, time.Time{}})
	}
	i := s.profiles[c.random.IntN(len(s.profiles))].issuer
	for _, f := range []struct {
		name  string
		fault providertest.Fault
	}{
		{"issuer: 500", providertest.Status(http.StatusInternalServerError, "")},
		{"issuer: 503", providertest.Status(http.StatusServiceUnavailable, "")},
		{"issuer: 429", providertest.Status(http.StatusTooManyRequests, "2")},
		{"issuer: redirect", providertest.Redirect(http.StatusTemporaryRedirect, "https://127.0.0.1:1/")},
		{"issuer: sign-in page", providertest.Answer(http.StatusOK, "text/html", "<html>Please sign in</html>")},
		{"issuer: cut JSON", providertest.Answer(http.StatusOK, "application/json", `{"access_token":"`)},
		{"issuer: no token", providertest.Answer(http.StatusOK, "application/json", `{"expires_in":3600}`)},
		{"issuer: echo, failing", providertest.Echo(http.StatusInternalServerError)},
	} {
		list = append(list, trouble{"issuer", f.name, func() { i.Fail(f.fault) }, i.Heal, time.Time{}})
	}
	if s.smallDisk {
		list = append(list, trouble{"disk", "disk full", c.fill, c.empty, time.Time{}})
	}
	return list
}

func (c *chaos) restart(signal syscall.Signal) {
	c.stage.end(signal)
	c.stage.ledger.ended(time.Now(), !c.locked)
	time.Sleep(time.Duration(c.random.IntN(300)) * time.Millisecond)
	c.stage.start()
}

func (c *chaos) signal(signal syscall.Signal) {
	_ = c.stage.process.Load().cmd.Process.Signal(signal) // that it has ended is seen elsewhere
}

func (c *chaos) lock() {
	c.stage.keyring.Lock()
	c.lockedNow()
}

func (c *chaos) killKeyring() {
	c.stage.keyring.KillKeyring() // its heir is locked
	c.lockedNow()
}

// startTime is what tokend needs at most to read its cache, whose key is in the
// keyring.
const startTime = 10 * time.Second

func (c *chaos) lockedNow() {
	c.locked = true
	if time.Since(c.stage.process.Load().started) < startTime {
		c.stage.ledger.forget()
	}
}

func (c *chaos) unlock() {
	c.stage.keyring.Unlock()
	c.locked = false
}

func (c *chaos) damage(do func(path string) error) {
	c.stage.ledger.damage()
	_ = do(filepath.Join(c.stage.state(), "cache.db")) // it may be missing, or the disk full
}

// scribble writes over a page.
func (c *chaos) scribble(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	page := make([]byte, 4096)
	for i := range page {
		page[i] = byte(c.random.Uint32())
	}
	_, err = f.WriteAt(page, 4096*c.random.Int64N(8))
	return err
}

func (c *chaos) ballast() string { return filepath.Join(c.stage.state(), "ballast") }

func (c *chaos) fill() {
	c.stage.ledger.trouble(time.Now().Add(time.Hour))
	f, err := os.OpenFile(c.ballast(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
}

func (c *chaos) empty() {
	_ = os.Remove(c.ballast())
	c.stage.ledger.trouble(time.Now())
}
