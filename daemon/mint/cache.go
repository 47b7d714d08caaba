package mint

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"tokend/providers/token"
)

// A Cache is where tokens outlive the daemon. Any goroutine may call it.
type Cache interface {
	Load(ctx context.Context, now time.Time) ([]token.Record, error)
	// Write removes the records of drop, for good, then keeps those of save.
	Write(save, drop []token.Record) error
	// Notices says what happened to the file since the last call, for the
	// log. After a notice, records that were saved before it may be gone.
	Notices() []string
}

const (
	// loadLimit bounds Load: a keyring may hang.
	loadLimit = 5 * time.Second
	// saveApart is how far apart the cache is written: the first token at once,
	// and those that come meanwhile together.
	saveApart = 100 * time.Millisecond
	// cacheAgain is how soon what failed at the cache is tried again.
	cacheAgain = 15 * time.Second
)

// cacheState is what the cache lacks, and how it is. Mint.mu guards it.
type cacheState struct {
	loaded     bool
	save, drop map[token.Record]token.Record // what is dropped is dropped first
	err        error
	writes     uint64 // so far
}

// keyOf identifies a record in the cache: it is the record without its token.
func keyOf(r token.Record) token.Record {
	r.Token = token.Token{}
	return r
}

// recache saves the token of s in the cache, soon. m.mu is held.
func (m *Mint) recache(s *slot) {
	r := s.record()
	m.cache.save[keyOf(r)] = r
	nudge(m.dirty)
}

// uncache drops a record from the cache, soon. m.mu is held.
func (m *Mint) uncache(r token.Record) {
	delete(m.cache.save, keyOf(r))
	m.cache.drop[keyOf(r)] = r
	nudge(m.dirty)
}

// dropToken drops the token of s, here and in the cache. m.mu is held.
func (m *Mint) dropToken(s *slot) {
	if !s.tok.Secret.IsZero() {
		m.uncache(s.record())
		s.tok = token.Token{}
	}
}

// Load reads the tokens that the last daemon left in the cache, once, and reports
// whether that is done. If the keystore is locked or does not answer, Run tries
// again.
func (m *Mint) Load(ctx context.Context) bool {
	if m.Loaded() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	records, err := m.Cache.Load(ctx, m.now())
	retry := fromKeystore(err) || err != nil && ctx.Err() != nil
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.noteCache(err) // after the tokens are there
	if retry {
		return false
	}
	taken := 0
	for _, r := range records {
		t := m.tokens[r.Profile]
		if t == nil || t.src.Fingerprint != r.Fingerprint { // it belongs to no profile as it is now
			m.uncache(r)
			continue
		}
		taken++
		s, err := t.makeSlot(r.Target, Use{At: r.Token.Issued})
		if err == nil && s.tok.Issued.Before(r.Token.Issued) {
			s.tok = r.Token
			m.plan(s)
		}
	}
	m.cache.loaded = true
	m.Log.Info("token cache read", "tokens", taken, "dropped", len(records)-taken)
	return true
}

// Loaded reports whether the tokens of the last daemon are here.
func (m *Mint) Loaded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cache.loaded
}

// keepCache writes what is obtained to the cache. When ctx ends it saves what is
// left.
func (m *Mint) keepCache(ctx context.Context) {
	dirty, rested := m.dirty, (<-chan time.Time)(nil)
	for {
		if m.Load(ctx) {
			m.write()
		}
		var again <-chan time.Time
		if m.Stats().CacheErr != nil {
			again = time.After(cacheAgain)
		}
		select {
		case <-ctx.Done():
			m.write()
			return
		case <-dirty:
			dirty, rested = nil, time.After(saveApart)
		case <-rested:
			dirty, rested = m.dirty, nil
		case <-again:
		}
	}
}

// write saves what is pending, and once more what the cache turns out to have lost.
func (m *Mint) write() {
	for range 2 {
		m.heedNotices()
		m.save()
	}
}

// heedNotices logs what happened to the cache file. If anything did, it has all
// tokens written again, because the file may be a new one.
func (m *Mint) heedNotices() {
	notices := m.Cache.Notices()
	if len(notices) == 0 {
		return
	}
	for _, text := range notices {
		m.Log.Warn("token cache", "notice", text)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tokens {
		for _, s := range t.slots {
			if s.tok.State(m.now()) != token.Expired {
				m.recache(s)
			}
		}
	}
}

// save writes what is pending. What cannot be written stays pending; the tokens
// are served from memory all the same.
func (m *Mint) save() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.cache.save)+len(m.cache.drop) == 0 {
		return
	}
	m.cache.writes++
	save, drop := maps.Clone(m.cache.save), maps.Clone(m.cache.drop)
	m.mu.Unlock()
	err := m.Cache.Write(slices.Collect(maps.Values(save)), slices.Collect(maps.Values(drop)))
	m.mu.Lock()
	m.noteCache(err)
	if err == nil { // except for what is newer by now
		maps.DeleteFunc(m.cache.save, func(key token.Record, r token.Record) bool { return r == save[key] })
		maps.DeleteFunc(m.cache.drop, func(key token.Record, r token.Record) bool { return r == drop[key] })
	}
}

// noteCache remembers how the cache is, and logs a change once. m.mu is held.
func (m *Mint) noteCache(err error) {
	before := m.cache.err
	m.cache.err = err
	if errors.Is(err, token.ErrLocked) {
		m.noteKeyring(true)
	}
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		m.Log.Warn("token cache", "error", err.Error())
		m.Event(token.Event{Kind: token.EventCache, State: err.Error()})
	case err == nil && before != nil:
		m.Log.Info("token cache works again")
		m.Event(token.Event{Kind: token.EventCache, State: "ok"})
	}
}
