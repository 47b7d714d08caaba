package ui

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A notepad is what stands on a screen of one line, by what was written to it.
type notepad struct {
	mu     sync.Mutex
	line   []rune
	column int
}

func (n *notepad) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range string(b) {
		switch {
		case r == '\r':
			n.column = 0
			continue
		case n.column < len(n.line):
			n.line[n.column] = r
		default:
			n.line = append(n.line, r)
		}
		n.column++
	}
	return len(b), nil
}

func (n *notepad) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.TrimRight(string(n.line), " ")
}

func TestProgressShowsWhatLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n notepad
		p := newProgress(Screen{W: &n}, "Waiting for tokend", true)
		want := func(after time.Duration, text string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := n.String(); got != text {
				t.Errorf("%q, want %q", got, text)
			}
		}
		want(499*time.Millisecond, "")
		want(501*time.Millisecond, "Waiting for tokend ... 0 s")
		want(2*time.Second, "Waiting for tokend ... 2 s")
		p.End()
		want(0, "")
		want(5*time.Second, "")
	})
}

func TestProgressHidesWhatIsShortAndIsForTerminals(t *testing.T) {
	for isTerminal, after := range map[bool]time.Duration{true: 400 * time.Millisecond, false: 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var n notepad
			p := newProgress(Screen{W: &n}, "Waiting", isTerminal)
			time.Sleep(after)
			p.End()
			time.Sleep(5 * time.Second)
			if n.column != 0 || n.String() != "" {
				t.Errorf("shown: %q", n.String())
			}
		})
	}
}
