package ipcserver

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"

	"tokend/providers/token"
)

// A shortcut is the listener that net/http serves. It keeps from it what is
// asked most: plain gets of tokens that are at hand. Those it answers by
// itself, byte for byte as the handler would. At the first request that is
// anything else it hands the connection over, with that request unread.
//
// A new connection's first request is answered where connections are accepted:
// a goroutine of its own, and the thread that wakes up for it, would take
// longer than the answer.
type shortcut struct {
	net.Listener // of limitedConns
	h            *handler
	requests     context.Context // what those of the requests are made of
	silent       *silentConns

	handed    chan handed
	closed    chan struct{} // net/http wants no more
	closeOnce sync.Once
	deaf      chan struct{} // closed when nobody accepts connections any more

	turns turns

	group  sync.WaitGroup // of all goroutines here
	mu     sync.Mutex
	kept   map[*limitedConn]struct{} // those that have asked something here and may ask again
	ending bool
}

// handed is a connection for net/http, or why there is none.
type handed struct {
	conn net.Conn
	err  error
}

func newShortcut(requests context.Context, l net.Listener, h *handler, silent *silentConns) *shortcut {
	s := &shortcut{Listener: l, h: h, requests: requests, silent: silent,
		handed: make(chan handed), closed: make(chan struct{}), deaf: make(chan struct{}), kept: map[*limitedConn]struct{}{}}
	s.turns.relieve = func() { s.group.Go(s.listen) }
	s.group.Go(s.listen)
	return s
}

// Accept gives net/http the next connection that is its to serve.
func (s *shortcut) Accept() (net.Conn, error) {
	select {
	case h := <-s.handed:
		return h.conn, h.err
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close is for net/http. It ends Accept.
func (s *shortcut) Close() error {
	s.closeOnce.Do(func() { close(s.closed) })
	return s.Listener.Close()
}

// deafen closes the underlying listener. Whoever was let in before is among the
// silent, was answered or is being so when it returns.
func (s *shortcut) deafen() {
	_ = s.Listener.Close()
	<-s.deaf
}

// end closes what is kept here between two requests, lets the others finish,
// and ends Accept. It is called after deafen.
func (s *shortcut) end() {
	s.mu.Lock()
	s.ending = true
	for c := range s.kept {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		_ = c.SetWriteDeadline(time.Now().Add(grace))
	}
	s.mu.Unlock()
	s.group.Wait()
	s.closeOnce.Do(func() { close(s.closed) })
}

// listen accepts connections until the underlying listener is closed. One
// goroutine does so at a time.
func (s *shortcut) listen() {
	for {
		conn, err := s.Listener.Accept()
		if err == nil {
			c := conn.(*limitedConn)
			s.silent.add(c) // before somebody else may find that there is nobody more to let in
			if !s.turns.begin() {
				s.group.Go(func() { s.serve(c) })
				continue
			}
			s.begin(c)
			if !s.turns.end() {
				return
			}
			continue
		}
		// net/http knows which errors pass, and waits.
		if s.isEnding() || !s.hand(handed{err: err}) {
			close(s.deaf)
			return
		}
	}
}

const (
	// heldUp is how often somebody looks whether who accepts connections is stuck
	// in an answer: the audit log's disk may be gone.
	heldUp = 100 * time.Millisecond
	// slowTurn is how long an answer may take before those that follow are left
	// to goroutines for a while.
	slowTurn = 5 * time.Millisecond
)

// turns are the answers of the goroutine that accepts connections. A timer for
// each would wake a thread for each, so one looks after all, while there are any.
type turns struct {
	relieve func() // has another goroutine accept connections

	mu       sync.Mutex
	taken    bool      // there is one
	began    time.Time // when the last one did
	relieved bool      // that one goes on, but somebody else accepts connections
	slow     bool      // one was, not long ago
	watched  bool      // look will be called
}

// begin tells whether who accepts connections may answer now.
func (t *turns) begin() (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.relieved || t.slow {
		return false
	}
	t.taken, t.began = true, time.Now()
	if !t.watched {
		t.watched = true
		time.AfterFunc(heldUp, t.look)
	}
	return true
}

// end tells whether who had the turn is still the one that accepts connections.
func (t *turns) end() (still bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	still = t.taken
	t.taken, t.relieved = false, false
	t.slow = still && time.Since(t.began) > slowTurn
	return still
}

func (t *turns) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slow = false
	t.watched = time.Since(t.began) < heldUp
	switch {
	case t.watched:
		time.AfterFunc(heldUp, t.look)
	case t.taken:
		t.taken, t.relieved = false, true
		t.relieve()
	}
}

// hand gives net/http a connection or an error, unless it wants no more.
func (s *shortcut) hand(h handed) bool {
	select {
	case s.handed <- h:
		return true
	case <-s.closed:
		return false
	}
}

// sheets are blank.
var sheets = sync.Pool{New: func() any { return new(sheet) }}

// begin answers what c has said already, if anything, and leaves the rest to a
// goroutine. It sets no deadline, for which another thread would wake up: what it
// reads is there.
func (s *shortcut) begin(c *limitedConn) {
	sheet := sheets.Get().(*sheet)
	defer sheets.Put(sheet)
	if n := readNow(c.Conn, sheet.in[:]); n > 0 && !s.reply(c, sheet, n) {
		return
	}
	s.group.Go(func() { s.serve(c) })
}

// serve answers what comes over c.
func (s *shortcut) serve(c *limitedConn) {
	sheet := sheets.Get().(*sheet)
	defer sheets.Put(sheet)
	for {
		if !s.await(c) {
			s.over(c)
			return
		}
		n, err := c.Read(sheet.in[:])
		if err != nil {
			s.over(c)
			return
		}
		if !s.reply(c, sheet, n) {
			return
		}
	}
}

// await gives c until its deadline for the next request, and for the answer to
// leave. Setting one takes time, so one that is far enough away stays; not ok if
// there is to be no further request.
func (s *shortcut) await(c *limitedConn) (ok bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	_, kept := s.kept[c]
	switch {
	case s.ending:
		return false
	case !kept:
		c.until = now.Add(headTimeout)
	case c.until.Sub(now) > idleTimeout/2:
		return true
	default:
		c.until = now.Add(idleTimeout)
	}
	return c.SetDeadline(c.until) == nil
}

// fits is how much of a first answer every system takes at once.
const fits = 4 << 10

// reply answers the n bytes on sheet if they are a plain get of a token that is
// at hand, and otherwise hands c over. It tells whether c may ask more here.
func (s *shortcut) reply(c *limitedConn, sheet *sheet, n int) (more bool) {
	defer func() {
		if v := recover(); v != nil {
			s.h.logPanic(v)
			s.over(c)
			more = false
		}
	}()
	get, ok := parsePlain(sheet.in[:n])
	var g token.Grant
	if ok {
		s.keep(c)
		g, ok = s.grant(c, get)
	}
	if !ok {
		s.handOver(c, bytes.Clone(sheet.in[:n]))
		return false
	}
	now, last := time.Now(), get.last || s.isEnding()
	answer := sheet.answer(g, now, last)
	defer sheet.wipe()
	late := c.until.Sub(now) < headTimeout/2 // granting took long, or the caller came late
	if late && (!c.until.IsZero() || len(answer) > fits) {
		_ = c.SetWriteDeadline(now.Add(writeTimeout))
	}
	if _, err := c.Write(answer); err != nil || last {
		s.over(c)
		return false
	}
	return true
}

// grant gives the token that is asked for, if it is at hand and c may have it.
func (s *shortcut) grant(c *limitedConn, get plainGet) (g token.Grant, ok bool) {
	if c.caller.err != nil || s.h.allow(c.caller.peer) != nil {
		return g, false
	}
	g, ok = s.h.backend.AtHand(remember(s.requests, c), get.profile, get.query)
	if !ok || g.Secret.IsZero() {
		return g, false
	}
	s.h.counts.add(doGet, nil)
	return g, true
}

// keep has c count as one that has spoken, and may ask again.
func (s *shortcut) keep(c *limitedConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, kept := s.kept[c]; !kept {
		s.kept[c] = struct{}{}
		s.silent.forget(c)
	}
}

// handOver leaves c, and what was read of it, to net/http. Until that serves it
// nobody has heard its request.
func (s *shortcut) handOver(c *limitedConn, unread []byte) {
	s.silent.add(c)
	s.drop(c)
	c.unread = unread
	_ = c.SetDeadline(time.Time{})
	if !s.hand(handed{conn: c}) {
		s.over(c)
	}
}

// over closes c.
func (s *shortcut) over(c *limitedConn) {
	_ = c.Close()
	s.drop(c)
	s.silent.forget(c)
}

func (s *shortcut) drop(c *limitedConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, c)
}

func (s *shortcut) isEnding() bool {
	select {
	case <-s.h.ending:
		return true
	default:
		return false
	}
}
