package ipcserver

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tokend/ipc"
)

// limit lets as many of l's connections be open at a time as there are places. Accept
// waits until there is room, and further ones queue in the kernel meanwhile; those
// of a user who has too many are closed. Each write to a connection has to leave
// within patience.
func limit(l net.Listener, places *quota, patience time.Duration) *limited {
	open, closeIt := context.WithCancel(context.Background())
	return &limited{Listener: l, places: places, patience: patience, room: make(chan struct{}, places.n), open: open, stop: closeIt}
}

type limited struct {
	net.Listener
	places   *quota
	patience time.Duration
	room     chan struct{} // holds one value per open connection
	open     context.Context
	stop     func()
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		select {
		case l.room <- struct{}{}:
		case <-l.open.Done():
			return nil, net.ErrClosed
		}
		accepted, err := l.Listener.Accept()
		if err != nil {
			<-l.room
			return nil, err
		}
		c := &conn{Conn: accepted, of: l}
		c.peer, c.err = ipc.PeerOf(accepted)
		if l.places.take(c) {
			c.program = programOf(c.peer.PID)
			return c, nil
		}
		_ = accepted.Close()
		<-l.room
	}
}

func (l *limited) Close() error {
	l.stop()
	return l.Listener.Close()
}

// drain waits until all connections have ended, or until patience does, and
// then closes those that never said a word. It is called after Close.
//
// Shutdown alone would drop the requests that net/http has not read yet.
func (l *limited) drain(patience time.Duration) {
	for end := time.Now().Add(patience); l.closeIdle() > 0 && time.Now().Before(end); time.Sleep(drainPoll) {
	}
	for _, c := range l.places.all() {
		if c.state.Load() == int32(http.StateNew) {
			_ = c.Close()
		}
	}
}

// drainPoll is how often drain looks.
const drainPoll = 2 * time.Millisecond

// closeIdle lets those who wait between two requests say no more, and reports how
// many connections there are. A request that has arrived is still read.
func (l *limited) closeIdle() int {
	conns := l.places.all()
	for _, c := range conns {
		if socket, ok := c.Conn.(interface{ CloseRead() error }); ok && c.state.Load() == int32(http.StateIdle) {
			_ = socket.CloseRead()
		}
	}
	return len(conns)
}

func (l *limited) closeAll() {
	for _, c := range l.places.all() {
		_ = c.Close()
	}
}

// Write sets the deadline itself, since a handler knows nothing of the writes
// that net/http makes of its own. One that was set just now does for the next.
func (c *conn) Write(b []byte) (int, error) {
	if now := time.Now(); c.deadline.Sub(now) < c.of.patience*3/4 {
		c.deadline = now.Add(c.of.patience)
		_ = c.Conn.SetWriteDeadline(c.deadline)
	}
	return c.Conn.Write(b)
}

// SetWriteDeadline does nothing: see Write.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func (c *conn) Close() error {
	err := c.Conn.Close()
	if c.of.places.giveBack(c) {
		<-c.of.room
	}
	return err
}

// A quota shares n places between users. An eighth of them is kept for root and
// the user that the server runs as, who are trusted to know what they do. No other
// user has more than another eighth, and those who may use nothing have that
// together: one of them may well act as many (user_namespaces(7)).
type quota struct {
	n     int
	known func(*conn) bool // reports whether a user may use something
	mu    sync.Mutex
	held  map[*conn]int // whose place it is: trusted, strangers or a user
}

// These hold places together.
const (
	trusted   = -1
	strangers = -2 // all who may use nothing
)

// take takes a place for a caller, unless it can have none.
func (q *quota) take(c *conn) bool {
	user := c.peer.UID
	switch {
	case c.isTrusted():
		user = trusted
	case !q.known(c):
		user = strangers
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.held) >= q.n || user != trusted && q.isCrowded(user) {
		return false
	}
	q.held[c] = user
	return true
}

// isCrowded reports whether a user, or all who are not trusted, have their share.
func (q *quota) isCrowded(user int) bool {
	own, others := 0, 0
	for _, holder := range q.held {
		if holder == user {
			own++
		}
		if holder != trusted {
			others++
		}
	}
	return own >= q.n/8 || others >= q.n-q.n/8
}

// giveBack reports whether c had a place until now.
func (q *quota) giveBack(c *conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, had := q.held[c]
	delete(q.held, c)
	return had
}

func (q *quota) all() []*conn {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Collect(maps.Keys(q.held))
}

// LimitLoopback lets n connections of l be open at a time. l is on loopback, where
// every user can connect: one more closes the oldest that has not proven itself.
func LimitLoopback(l net.Listener, n int) net.Listener { return &loopback{Listener: l, n: n} }

type loopback struct {
	net.Listener
	n    int
	mu   sync.Mutex
	open []*guest // the oldest first
}

// A guest is a connection to a loopback.
type guest struct {
	net.Conn
	of     *loopback
	proven atomic.Bool
}

func (l *loopback) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := &guest{Conn: accepted, of: l}
		if l.enter(g) {
			return g, nil
		}
		_ = accepted.Close()
	}
}

// enter adds g, for which another may have to go, and reports whether it could.
func (l *loopback) enter(g *guest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.n {
		i := slices.IndexFunc(l.open, func(g *guest) bool { return !g.proven.Load() })
		if i < 0 {
			return false
		}
		_ = l.open[i].Conn.Close()
		l.open = slices.Delete(l.open, i, i+1)
	}
	l.open = append(l.open, g)
	return true
}

func (g *guest) Close() error {
	g.of.mu.Lock()
	g.of.open = slices.DeleteFunc(g.of.open, func(o *guest) bool { return o == g })
	g.of.mu.Unlock()
	return g.Conn.Close()
}
