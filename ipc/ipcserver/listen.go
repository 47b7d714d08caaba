package ipcserver

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// limit lets as many of l's connections be open at a time as places allows. Accept
// waits until there is room, and further ones queue in the kernel meanwhile; those
// of a user who has too many are closed. Each write to a connection has to leave
// within patience.
func limit(l net.Listener, places *quota, patience time.Duration) *limitedListener {
	return &limitedListener{
		Listener: l, room: make(chan struct{}, places.n), closed: make(chan struct{}), patience: patience,
		places: places, conns: map[*limitedConn]struct{}{},
	}
}

type limitedListener struct {
	net.Listener
	room   chan struct{} // holds one value per open connection
	once   sync.Once
	closed chan struct{}

	patience time.Duration
	places   *quota
	mu       sync.Mutex
	conns    map[*limitedConn]struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		select {
		case l.room <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.room
			return nil, err
		}
		c := &limitedConn{Conn: conn, caller: identify(conn), patience: l.patience}
		giveBack := l.places.take(&c.caller)
		if giveBack == nil {
			_ = conn.Close()
			<-l.room
			continue
		}
		c.release = sync.OnceFunc(func() {
			giveBack()
			l.mu.Lock()
			delete(l.conns, c)
			l.mu.Unlock()
			<-l.room
		})
		l.mu.Lock()
		l.conns[c] = struct{}{}
		l.mu.Unlock()
		return c, nil
	}
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// drain waits until all connections have ended, or until patience does, and
// then closes those that never said a word. It is called after Close.
//
// Shutdown alone would drop the requests that net/http has not read yet.
func (l *limitedListener) drain(patience time.Duration) {
	for end := time.Now().Add(patience); l.closeIdle() > 0 && time.Now().Before(end); time.Sleep(drainPoll) {
	}
	for _, c := range l.all() {
		if c.state.Load() == int32(http.StateNew) {
			_ = c.Close()
		}
	}
}

// drainPoll is how often drain looks.
const drainPoll = 2 * time.Millisecond

// closeIdle lets those who wait between two requests say no more, and reports how
// many connections there are. A request that has arrived is still read.
func (l *limitedListener) closeIdle() int {
	conns := l.all()
	for _, c := range conns {
		if socket, ok := c.Conn.(interface{ CloseRead() error }); ok && c.state.Load() == int32(http.StateIdle) {
			_ = socket.CloseRead()
		}
	}
	return len(conns)
}

func (l *limitedListener) closeAll() {
	for _, c := range l.all() {
		_ = c.Close()
	}
}

func (l *limitedListener) all() []*limitedConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.conns))
}

type limitedConn struct {
	net.Conn
	caller   caller
	release  func()
	state    atomic.Int32 // an http.ConnState
	patience time.Duration
	deadline time.Time // of writes
}

// Write sets the deadline itself, since a handler knows nothing of the writes
// that net/http makes of its own. One that was set just now does for the next.
func (c *limitedConn) Write(b []byte) (int, error) {
	if now := time.Now(); c.deadline.Sub(now) < c.patience*3/4 {
		c.deadline = now.Add(c.patience)
		_ = c.Conn.SetWriteDeadline(c.deadline)
	}
	return c.Conn.Write(b)
}

// SetWriteDeadline does nothing: see Write.
func (c *limitedConn) SetWriteDeadline(time.Time) error { return nil }

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
