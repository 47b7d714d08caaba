package ipcserver

import (
	"net"
	"os"
	"slices"
	"sync"
)

// A quota shares n places between users. An eighth of them is kept for root and
// the user that the server runs as, who are trusted to know what they do. No other
// user has more than another eighth, and those who may use nothing have that
// together: one of them may well act as many (user_namespaces(7)).
type quota struct {
	n      int
	known  func(*caller) bool // reports whether a user may use something
	mu     sync.Mutex
	taken  map[int]int // by user; -1 stands for all who may use nothing
	others int         // taken by those who are not trusted
	all    int
}

// take takes a place for a caller, and returns what gives it back; nil if the
// caller can have none.
func (q *quota) take(c *caller) (giveBack func()) {
	uid, trusted := c.peer.UID, c.err == nil && (c.peer.UID == 0 || c.peer.UID == os.Geteuid())
	if !trusted && !q.known(c) {
		uid = -1
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all >= q.n || !trusted && (q.taken[uid] >= q.n/8 || q.others >= q.n-q.n/8) {
		return nil
	}
	count := func(by int) {
		q.all += by
		if q.taken[uid] += by; q.taken[uid] == 0 {
			delete(q.taken, uid)
		}
		if !trusted {
			q.others += by
		}
	}
	count(1)
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		count(-1)
	}
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
	proven bool
}

func (l *loopback) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := &guest{Conn: conn, of: l}
		switch evicted := l.enter(g); evicted {
		case g:
			_ = conn.Close()
			continue
		case nil:
		default:
			_ = evicted.Close()
		}
		return g, nil
	}
}

// enter adds g, and returns the guest that has to go for it, which may be g.
func (l *loopback) enter(g *guest) (evicted *guest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.n {
		i := slices.IndexFunc(l.open, func(g *guest) bool { return !g.proven })
		if i < 0 {
			return g
		}
		evicted = l.open[i]
		l.open = slices.Delete(l.open, i, i+1)
	}
	l.open = append(l.open, g)
	return evicted
}

// prove has g stay when others come.
func (g *guest) prove() {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	g.proven = true
}

func (g *guest) Close() error {
	g.of.mu.Lock()
	g.of.open = slices.DeleteFunc(g.of.open, func(o *guest) bool { return o == g })
	g.of.mu.Unlock()
	return g.Conn.Close()
}
