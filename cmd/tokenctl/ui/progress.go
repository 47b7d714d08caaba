package ui

import (
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// progressAfter is how long something may last before it is shown.
	progressAfter = 500 * time.Millisecond
	// progressAgain is how often the time is updated.
	progressAgain = time.Second
)

// A Progress shows a person at a terminal, on stderr, what tokenctl waits for
// and for how long already. It leaves nothing behind.
type Progress struct {
	out   Screen
	began time.Time
	text  string

	mu    sync.Mutex
	shown int // characters on the screen
	timer *time.Timer
	ended bool
}

// Progress begins to show that something may last.
func (e *Env) Progress(text string) *Progress {
	return newProgress(e.Err, text, !e.Watching && IsTerminal(e.Err.W))
}

// newProgress shows progress on out, if it is seen there.
func newProgress(out Screen, text string, seen bool) *Progress {
	p := &Progress{out: out, began: time.Now(), text: text, ended: !seen}
	if seen {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.timer = time.AfterFunc(progressAfter, p.show)
	}
	return p
}

// End takes the text off the screen.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.ended = true
		p.timer.Stop()
		p.clear()
	}
}

// show shows the text in place of the one before.
func (p *Progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.clear()
	line := Cut(Printable(p.text)+" ... "+Duration(time.Since(p.began)), p.out.Columns()-1)
	p.out.Print(line)
	p.shown = utf8.RuneCountInString(line)
	p.timer.Reset(progressAgain)
}

// clear takes the text off the screen. p.mu is held.
func (p *Progress) clear() {
	if p.shown > 0 {
		p.out.Print("\r" + strings.Repeat(" ", p.shown) + "\r")
		p.shown = 0
	}
}
