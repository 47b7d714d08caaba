// Package cache keeps access tokens in a file, so that the daemon has them again
// after a restart.
package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"tokend/providers/token"
)

// A Cache is a file of sealed tokens. The daemon keeps all tokens in memory: it
// loads the file once, and saves each new token.
//
// Damage to the file costs the tokens in it and nothing else: the Cache renames
// the file, starts a fresh one, and says so in Notices. A full or read-only disk
// is an error of the call that meets it; the next call tries again.
//
// Records are sealed with AES-256-GCM. In plain text the file shows how many
// there are, and when each expires.
type Cache struct {
	path string
	key  KeySource

	// mu guards what follows. It is held across the disk: bbolt would serialise
	// the calls anyway, and nothing else must happen while a fault is handled.
	mu      sync.Mutex
	box     *recordBox // nil until Load has read the key
	file    *file      // nil until it can be opened
	closed  bool
	notices []string
}

const (
	// lockWait is how long Open waits for another process.
	lockWait = 2 * time.Second
	// keyWait is how long a new key may take: a keyring may hang.
	keyWait = 5 * time.Second
	// corruptSuffix stands behind a damaged file's name.
	corruptSuffix = ".corrupt"
)

var (
	errSealed = &token.Error{Code: token.ErrLocked, Message: "the token cache is sealed: its key has not been read yet"}
	errClosed = &token.Error{Code: token.ErrInternal, Message: "the token cache is closed"}
)

// A KeySource returns the key of the cache, 32 bytes, or makes a new one in its
// place.
type KeySource = func(ctx context.Context, renew bool) (token.Secret, error)

// Open opens the file at path, or makes it (0600), in a directory that exists.
// It waits 2 s for another process that holds the file, then returns
// token.ErrExists. It puts a damaged file aside. Any other error may pass, so
// the first call that needs the file meets it again and returns it.
//
// Load reads the key. Until it has, the other methods return token.ErrLocked.
func Open(path string, key KeySource) (*Cache, error) {
	c := &Cache{path: path, key: key}
	if err := c.try(func(*file) error { return nil }); errors.Is(err, token.ErrExists) {
		return nil, err
	}
	return c, nil
}

// Load returns the records that have not expired at now. It removes from the
// file, if that can be written, those that have and those that it cannot unseal.
func (c *Cache) Load(ctx context.Context, now time.Time) ([]token.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.box == nil {
		key, err := c.key(ctx, false)
		if err != nil {
			return nil, err
		}
		c.box = newRecordBox(key)
	}
	var records []token.Record
	var drop [][]byte
	bad := 0
	err := c.do(false, func(b *bolt.Bucket) error {
		records, drop, bad = nil, nil, 0 // of a file that was damaged
		return c.box.each(b, func(key []byte, rec token.Record, err error) {
			switch {
			case err != nil:
				bad++
			case now.Before(rec.Token.Expiry):
				records = append(records, rec)
				return
			}
			drop = append(drop, key)
		})
	})
	if err != nil {
		return nil, err
	}
	if bad > 0 {
		c.note("%d cached tokens could not be unsealed and were dropped", bad)
	}
	if len(drop) > 0 {
		// They stay out of memory even if they stay in the file.
		_ = c.do(true, func(b *bolt.Bucket) error { return c.box.replace(b, drop, nil) })
	}
	return records, nil
}

// Write removes the records of drop, then keeps those of save in place of
// earlier ones for the same profile, target and fingerprint: all of it or none.
// After a removal it seals the file with a new key, so that an older copy of the
// file brings nothing back. Without the new key it returns an error, and the
// same Write can be repeated.
func (c *Cache) Write(save, drop []token.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.do(true, func(b *bolt.Bucket) error {
		var keys [][]byte
		for _, rec := range drop {
			keys = append(keys, c.box.key(rec))
		}
		return c.box.replace(b, keys, save)
	})
	if err == nil && len(drop) > 0 {
		err = c.reseal()
	}
	return err
}

// reseal seals all records with a new key. If tokend ends before the file has
// them, they are lost, and obtained again.
func (c *Cache) reseal() error {
	ctx, cancel := context.WithTimeout(context.Background(), keyWait)
	defer cancel()
	key, err := c.key(ctx, true)
	if err != nil {
		return err
	}
	next := newRecordBox(key)
	err = c.do(true, func(b *bolt.Bucket) error {
		var keys [][]byte
		var records []token.Record
		err := c.box.each(b, func(key []byte, rec token.Record, err error) {
			keys = append(keys, key)
			if err == nil {
				records = append(records, rec)
			}
		})
		if err != nil {
			return err
		}
		return next.replace(b, keys, records)
	})
	if err == nil {
		c.box = next
	}
	return err
}

// Notices returns what happened to the file since the last call, for the log:
// usually nothing. After a notice the file may lack records that were saved
// before it.
func (c *Cache) Notices() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	notices := c.notices
	c.notices = nil
	return notices
}

// Close closes the file. Later calls fail.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	f := c.file
	if f == nil {
		return nil
	}
	c.file = nil
	return f.close()
}

// do runs fn in a transaction, twice if the file turns out to be damaged.
func (c *Cache) do(write bool, fn func(*bolt.Bucket) error) error {
	switch {
	case c.closed:
		return errClosed
	case c.box == nil:
		return errSealed
	}
	return c.try(func(f *file) error { return f.do(write, fn) })
}

// try calls op with the open file. If that is damaged, try puts it aside and calls
// op once more with a fresh one.
func (c *Cache) try(op func(*file) error) error {
	for again := false; ; again = true {
		err := c.ready()
		if err == nil {
			err = op(c.file)
			c.file.leave()
		}
		var damage *damageError
		if !errors.As(err, &damage) {
			return c.explain(err)
		}
		if c.file != nil {
			c.file.abandon()
			c.file = nil
		}
		if putAside := c.quarantine(damage); again || putAside != nil {
			return c.explain(errors.Join(err, putAside))
		}
	}
}

// ready makes sure that c.file is open and is the file at c.path as we left it:
// another program may have deleted, replaced or changed it.
func (c *Cache) ready() (err error) {
	if c.file != nil {
		info, err := os.Lstat(c.path)
		if err == nil && c.file.unchanged(info) {
			return nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil // unreadable, which is no reason to let go of an open file
		}
		c.note("another program deleted, replaced or changed %s", c.path)
		old := c.file
		c.file = nil
		if err := old.close(); err != nil {
			return err
		}
	}
	c.file, err = openFile(c.path)
	return err
}

// quarantine renames the damaged file, if it still is the one at c.path: the
// one that is there now may be another process's fresh one.
func (c *Cache) quarantine(damage *damageError) error {
	info, err := os.Lstat(c.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && damage.info != nil && !os.SameFile(info, damage.info) {
		return nil
	}
	aside := c.path + corruptSuffix
	if err := os.Rename(c.path, aside); err != nil {
		return err
	}
	c.note("%s was damaged (%v): it is now %s, and a fresh one was started", c.path, damage, aside)
	return nil
}

// explain adds what the caller does not know.
func (c *Cache) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrTimeout):
		return &token.Error{Code: token.ErrExists, Message: fmt.Sprintf("another tokend holds %s", c.path), Cause: err}
	}
	return fmt.Errorf("token cache: %s%s: %w", token.DiskFault(err), c.path, err)
}

// note adds a notice.
func (c *Cache) note(format string, args ...any) {
	c.notices = append(c.notices, fmt.Sprintf(format, args...))
}
