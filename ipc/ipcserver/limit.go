package ipcserver

import (
	"net"
	"os"
	"sync"
	"time"
)

// limit lets at most n of l's connections be open at a time, and at most
// ofUser of one user's. Accept waits until there is room, and further ones
// queue in the kernel meanwhile; those of a user who has too many are closed.
func limit(l net.Listener, n, ofUser int) net.Listener {
	return &limitedListener{
		Listener: l, room: make(chan struct{}, n), closed: make(chan struct{}),
		ofUser: ofUser, open: map[int]int{},
	}
}

type limitedListener struct {
	net.Listener
	room   chan struct{} // holds one value per open connection
	once   sync.Once
	closed chan struct{}

	ofUser int
	mu     sync.Mutex
	open   map[int]int // connections by uid
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
		who := identify(conn)
		if l.enter(who) {
			return &limitedConn{Conn: conn, caller: who, release: sync.OnceFunc(func() { l.leave(who) })}, nil
		}
		_ = conn.Close()
		<-l.room
	}
}

// enter counts a connection, unless its user has too many. Root and the
// server's own user are trusted to know what they do, and those who could not
// be identified are told so soon.
func (l *limitedListener) enter(c caller) bool {
	uid := c.peer.UID
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.err == nil && uid != 0 && uid != os.Geteuid() && l.open[uid] >= l.ofUser {
		return false
	}
	l.open[uid]++
	return true
}

func (l *limitedListener) leave(c caller) {
	l.mu.Lock()
	if l.open[c.peer.UID]--; l.open[c.peer.UID] == 0 {
		delete(l.open, c.peer.UID)
	}
	l.mu.Unlock()
	<-l.room
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	caller  caller
	release func()
	// unread is what was read and is to be read again, before all else.
	unread []byte
	// until is the shortcut's deadline.
	until time.Time
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
