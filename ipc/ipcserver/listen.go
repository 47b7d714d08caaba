package ipcserver

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"tokend/ipc"
)

// limit lets n of l's connections be open at a time. Accept waits until there is
// room, and further ones queue in the kernel meanwhile; those of a user who has too
// many are closed.
func limit(l net.Listener, n int, places *quota, user func(*conn) int) *limited {
	open, stop := context.WithCancel(context.Background())
	return &limited{Listener: l, places: places, user: user, room: make(chan struct{}, n), open: open, stop: stop}
}

// LimitLoopback lets n connections of l be open at a time. l is on loopback, where
// every user can connect: one more closes the oldest that has not proven itself.
func LimitLoopback(l net.Listener, n int) net.Listener {
	return limit(l, maxConns, &quota{n: n}, nil)
}

type limited struct {
	net.Listener
	places *quota
	user   func(*conn) int // nil if the kernel does not say who connects
	room   chan struct{}   // holds one value per open connection
	open   context.Context
	stop   func()
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
			if l.open.Err() != nil {
				err = net.ErrClosed
			}
			return nil, err
		}
		c := &conn{Conn: accepted, of: l}
		if l.user != nil {
			if c.peer, c.err = ipc.PeerOf(accepted); c.err != nil {
				c.peer.UID = -1 // it is refused; should that fail, it has no user
			}
			c.user = l.user(c)
			c.program = programOf(c.peer.PID)
			c.proven.Store(true)
		}
		if l.places.take(c) {
			return c, nil
		}
		_ = accepted.Close()
		<-l.room
	}
}

// Close lets no more in. Of a socket, new callers wait in the kernel until the Listener
// below is closed.
func (l *limited) Close() error {
	l.stop()
	if socket, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok && l.user != nil {
		return socket.SetDeadline(time.Now())
	}
	return l.Listener.Close()
}

// drain waits until all connections have ended, or until patience does, and
// then closes those that never said a word. It is called after Close.
//
// Shutdown alone would drop the requests that net/http has not read yet.
func (l *limited) drain(patience time.Duration) {
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		conns, isOver := l.places.all(), time.Now().After(end)
		for _, c := range conns {
			// One that waits between two requests says no more. A request that has arrived is
			// still read.
			socket, ok := c.Conn.(interface{ CloseRead() error })
			switch state := http.ConnState(c.state.Load()); {
			case ok && state == http.StateIdle:
				_ = socket.CloseRead()
			case isOver && state == http.StateNew:
				_ = c.Close()
			}
		}
		if isOver || len(conns) == 0 {
			return
		}
	}
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.ended.Do(func() {
		c.of.places.giveBack(c)
		<-c.of.room
	})
	return err
}

// A quota shares n places between users. An eighth of them is kept for root and
// the user that the server runs as, who are trusted to know what they do. No other
// user has more than another eighth, and those who may use nothing have that
// together: one of them may well act as many (user_namespaces(7)).
type quota struct {
	n    int
	mu   sync.Mutex
	held []*conn // the oldest first
}

// These have places together.
const (
	trusted   = 0 // root is one of them
	strangers = -1
)

// take takes a place for a caller, unless it can have none.
func (q *quota) take(c *conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.user != trusted && q.isCrowded(c.user) {
		return false
	}
	if len(q.held) >= q.n {
		i := slices.IndexFunc(q.held, func(c *conn) bool { return !c.proven.Load() })
		if i < 0 {
			return false
		}
		_ = q.held[i].Conn.Close() // which ends it for the goroutine that serves it
		q.held = slices.Delete(q.held, i, i+1)
	}
	q.held = append(q.held, c)
	return true
}

// isCrowded reports whether a user, or all who are not trusted, have their share.
func (q *quota) isCrowded(user int) bool {
	own, others := 0, 0
	for _, c := range q.held {
		if c.user == user {
			own++
		}
		if c.user != trusted {
			others++
		}
	}
	return own >= q.n/8 || others >= q.n-q.n/8
}

func (q *quota) giveBack(c *conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = slices.DeleteFunc(q.held, func(o *conn) bool { return o == c })
}

func (q *quota) all() []*conn {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.held)
}
