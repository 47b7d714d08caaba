package main

import (
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// progressAfter is how long something may last before a person is told what
	// it is that takes so long.
	progressAfter = 500 * time.Millisecond
	// progressAgain is how often that is told anew.
	progressAgain = time.Second
)

// A progress tells a person at a terminal, on stderr, what is being waited for
// and for how long already. It leaves nothing behind.
type progress struct {
	out   screen
	began time.Time

	mu    sync.Mutex
	text  string
	shown int // characters on the screen
	timer *time.Timer
	ended bool
}

// progress begins to tell of something that may last. What it costs where
// nothing lasts is a timer.
func (a *app) progress(text string) *progress {
	return tellProgress(a.err, text, func() bool { return !a.watching && isTerminal(a.err.w) })
}

// tellProgress tells on out, if somebody sees it.
func tellProgress(out screen, text string, seen func() bool) *progress {
	p := &progress{out: out, began: time.Now(), text: text}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(progressAfter, func() {
		if seen() {
			p.tell()
		}
	})
	return p
}

// say changes what is told.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
	if p.shown > 0 {
		p.write()
	}
}

// end takes what was told off the screen.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
	p.clear()
}

func (p *progress) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.write()
	p.timer.Reset(progressAgain)
}

// write shows the text in place of the one before. p.mu is held.
func (p *progress) write() {
	p.clear()
	line := cut(printable(p.text)+" ... "+duration(time.Since(p.began)), p.out.columns()-1)
	p.out.print(line)
	p.shown = utf8.RuneCountInString(line)
}

// clear takes the text off the screen. p.mu is held.
func (p *progress) clear() {
	if p.shown > 0 {
		p.out.print("\r" + strings.Repeat(" ", p.shown) + "\r")
		p.shown = 0
	}
}
