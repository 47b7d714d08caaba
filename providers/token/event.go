package token

import (
	"context"
	"time"
)

// An EventKind says what an Event tells of.
type EventKind string

// The kinds. docs/observability.md says when each comes.
const (
	// Of a profile's tokens.
	EventObtained    EventKind = "obtained"
	EventFailed      EventKind = "failed"
	EventRefused     EventKind = "refused"
	EventExpiring    EventKind = "expiring"
	EventInvalidated EventKind = "invalidated"
	// Of a profile.
	EventAdded   EventKind = "added"
	EventRotated EventKind = "rotated"
	EventRemoved EventKind = "removed"
	// Of the daemon.
	EventReloaded EventKind = "reloaded"
	EventLocked   EventKind = "locked"
	EventUnlocked EventKind = "unlocked"
	EventCache    EventKind = "cache"
	EventStopping EventKind = "stopping"
	// Of the events themselves: some are missing here.
	EventLost EventKind = "lost"
)

// An Event is a change that others may want to know of. Its JSON form is a line
// of GET /v1/events. It holds no secret.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    EventKind `json:"event"`
	Profile string    `json:"profile,omitempty"`
	Target
	// Expires and RenewAt are those of the token at hand.
	Expires time.Time `json:"expires,omitzero"`
	RenewAt time.Time `json:"renew_at,omitzero"`
	// Took is how long the attempt lasted.
	Took time.Duration `json:"took_ns,omitempty"`
	// Error is why an attempt failed, Failures how many have in a row.
	Error    *Error `json:"error,omitempty"`
	Failures int    `json:"failures,omitempty"`
	// State says how the cache is now: ok, or what is wrong.
	State string `json:"state,omitempty"`
	// BadFiles is how many files a reload could not take over.
	BadFiles int `json:"bad_files,omitempty"`
	// Lost is how many events were lost, 0 if that is not known.
	Lost int `json:"lost,omitempty"`
}

// Events are changes as they happen.
type Events interface {
	// Next waits for the next one, until ctx ends. It is not for use by several
	// goroutines at a time.
	Next(ctx context.Context) (Event, error)
	// Close ends the watching.
	Close()
}
