package token

import (
	"context"
	"time"
)

// An EventKind says what happened.
type EventKind string

// The kinds of events. docs/observability.md describes them.
const (
	// About a profile's tokens.
	EventObtained    EventKind = "obtained"
	EventFailed      EventKind = "failed"
	EventRefused     EventKind = "refused"
	EventExpiring    EventKind = "expiring"
	EventInvalidated EventKind = "invalidated"
	// About a profile.
	EventAdded   EventKind = "added"
	EventRotated EventKind = "rotated"
	EventRemoved EventKind = "removed"
	// About the daemon.
	EventReloaded EventKind = "reloaded"
	EventLocked   EventKind = "locked"
	EventUnlocked EventKind = "unlocked"
	EventCache    EventKind = "cache"
	EventStopping EventKind = "stopping"
	// About the events themselves: some are missing here.
	EventLost EventKind = "lost"
)

// An Event is something that happened. Its JSON form is a line of GET
// /v1/events. It contains no secret.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    EventKind `json:"event"`
	Profile string    `json:"profile,omitempty"`
	Target
	// Expires and RenewAt are those of the cached token.
	Expires time.Time `json:"expires,omitzero"`
	RenewAt time.Time `json:"renew_at,omitzero"`
	// Took is how long the attempt lasted.
	Took time.Duration `json:"took_ns,omitempty"`
	// Error is why an attempt failed, Failures how many failed in a row.
	Error    *Error `json:"error,omitempty"`
	Failures int    `json:"failures,omitempty"`
	// State is the state of the cache: "ok", or what is wrong with it.
	State string `json:"state,omitempty"`
	// BadFiles is how many files could not be reloaded.
	BadFiles int `json:"bad_files,omitempty"`
	// Lost is how many events were lost, 0 if that is unknown.
	Lost int `json:"lost,omitempty"`
}

// Events delivers events as they happen.
type Events interface {
	// Next waits for the next event, until ctx ends. Only one goroutine may call
	// it at a time.
	Next(ctx context.Context) (Event, error)
	// Close ends the delivery.
	Close()
}
