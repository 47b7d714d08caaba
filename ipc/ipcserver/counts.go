package ipcserver

import (
	"slices"
	"sync/atomic"

	"tokend/providers/token"
)

// The operations that are counted. "connect" is a caller who is not let in,
// "other" a path or method that does not exist.
var operations = [...]string{
	"connect", "other",
	"get", "exchange", "sign", "verify", "authorize", "invalidate", "azure-msi",
	"list", "show", "add", "remove", "rotate", "providers", "status", "reload", "events", "metrics",
	"keystore", "unlock", "migrate", "doctor",
}

const (
	opConnect = iota
	opOther
)

// operation is the index of the named one.
func operation(name string) int { return slices.Index(operations[:], name) }

// results are how a request can end: "ok", or the code of its error.
var results = [...]string{
	"ok",
	string(token.ErrNotFound), string(token.ErrExists), string(token.ErrDenied), string(token.ErrRejected), string(token.ErrUnavailable),
	string(token.ErrLocked), string(token.ErrKeystore), string(token.ErrInvalid), string(token.ErrInternal),
}

// Counts are how many requests ended how. The zero value is ready for use, by
// any number of goroutines.
type Counts struct {
	n [len(operations)][len(results)]atomic.Uint64
}

// All calls f with each operation, how it ended and how often. What never
// happened is left out.
func (c *Counts) All(f func(do, result string, n uint64)) {
	for i, do := range operations {
		for j, result := range results {
			if n := c.n[i][j].Load(); n > 0 {
				f(do, result, n)
			}
		}
	}
}

func (c *Counts) add(op int, err error) {
	if c == nil {
		return
	}
	result := 0
	if err != nil {
		e, _ := wireError(err)
		result = slices.Index(results[:], string(e.Code))
		if result < 0 {
			result = len(results) - 1
		}
	}
	c.n[op][result].Add(1)
}
