package daemon

import (
	"context"
	"os/user"
	"slices"
	"strconv"
	"time"

	"tokend/providers/token"
)

// What is remembered of a slot beyond its token, for people who look: who used
// it last, and what its last attempts came to. It does not outlive the daemon.

// historyLength is how many attempts a slot remembers.
const historyLength = 10

// An attempt to obtain a token: when it ended, how long it took, and why it
// failed, empty if it did not.
type attempt struct {
	at   int64 // in nanoseconds of Unix: there are many attempts
	took time.Duration
	code token.Code
}

// remember adds an attempt to what s remembers, in place of the oldest one if
// need be.
func (s *slot) remember(at time.Time, took time.Duration, code token.Code) {
	oldest := max(0, len(s.history)+1-historyLength)
	s.history = slices.Concat(s.history[oldest:], []attempt{{at.UnixNano(), took, code}}) // no room to spare: there are many slots
}

// attempts are the attempts that s remembers, the latest first.
func (s *slot) attempts() []token.Attempt {
	told := make([]token.Attempt, len(s.history))
	for i, a := range s.history {
		told[len(told)-1-i] = token.Attempt{At: time.Unix(0, a.at).UTC(), Took: a.took, Code: a.code}
	}
	return told
}

// userNames are the names of users, as far as they were found out.
type userNames map[int]string

// complete names those who used the tokens of p. It may ask a directory service
// and is called without locks.
func (n userNames) complete(p token.ProfileStatus) {
	n.name(p.LastUser)
	for _, t := range p.Tokens {
		n.name(t.LastUser)
	}
}

func (n userNames) name(u *token.User) {
	if u == nil {
		return
	}
	if _, known := n[u.UID]; !known {
		n[u.UID] = ""
		if found, err := user.LookupId(strconv.Itoa(u.UID)); err == nil {
			n[u.UID] = found.Username
		}
	}
	u.Name = n[u.UID]
}

// A use is when somebody last asked for something, and who; nobody is known who
// did not come over the socket.
type use struct {
	at       time.Time
	known    bool
	uid, pid int
	program  string
}

// useBy is a use by whoever calls now.
func (d *Daemon) useBy(ctx context.Context, now time.Time) use {
	c, ok := d.deps.Caller(ctx)
	if !ok {
		return use{at: now}
	}
	u := use{at: now, known: true, uid: c.UID, pid: c.PID}
	if c.Program != nil {
		u.program = c.Program()
	}
	return u
}

// tell is who made the use, as far as w may know: those who may manage
// profiles see everybody, others only themselves.
func (d *Daemon) tell(u use, w who) *token.User {
	if !u.known || !d.mayManage(w) && u.uid != w.UID {
		return nil
	}
	return &token.User{UID: u.uid, PID: u.pid, Program: u.program}
}
