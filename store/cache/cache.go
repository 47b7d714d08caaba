// Package cache keeps access tokens in a file, so that the daemon has them again
// after a restart.
package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	key  func(context.Context) (token.Secret, error)
	wait time.Duration // for another process to let go of the file

	// mu guards what follows. It is held across the disk: bbolt would serialise
	// the calls anyway, and nothing else must happen while a fault is handled.
	mu      sync.Mutex
	box     *recordBox // nil until the key was read
	file    *file      // nil between a failed opening and the next try
	closed  bool
	swept   time.Time
	notices []string
}

const (
	// lockWait is how long Open waits for another process.
	lockWait = 2 * time.Second
	// sweepEvery is how often Save removes what has expired.
	sweepEvery = time.Hour
	// keptDamaged is how many damaged files stay, to find out what happened.
	keptDamaged = 3
	// corruptSuffix stands between a damaged file's name and its time.
	corruptSuffix = ".corrupt-"
	// maxNotices bounds what a caller that never asks for them costs.
	maxNotices = 100
)

var (
	errSealed = &token.Error{Code: token.ErrLocked, Message: "the token cache is sealed: its key has not been read yet"}
	errClosed = &token.Error{Code: token.ErrInternal, Message: "the token cache is closed"}
)

// Open opens the file at path, or makes it (0600), in a directory that exists.
// It waits 2 s for another process that holds the file, then returns
// token.ErrExists. It puts a damaged file aside. Any other error may pass, so
// the first call that needs the file meets it again and returns it.
//
// Load reads the key, 32 bytes. Until it has, the other methods return
// token.ErrLocked.
func Open(path string, key func(context.Context) (token.Secret, error)) (*Cache, error) {
	return open(path, key, lockWait)
}

func open(path string, key func(context.Context) (token.Secret, error), wait time.Duration) (*Cache, error) {
	c := &Cache{path: path, key: key, wait: wait}
	if err := c.openFile(); errors.Is(err, token.ErrExists) {
		return nil, err
	}
	return c, nil
}

// Load returns the records that have not expired at now. It removes from the
// file, if that can be written, those that have and those that it cannot unseal.
func (c *Cache) Load(ctx context.Context, now time.Time) ([]token.Record, error) {
	if err := c.unseal(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var records []token.Record
	var drop [][]byte
	var bad int
	var value []byte // a copy of each: the file may change while we look
	err := c.do(false, func(b *bolt.Bucket) error {
		records, drop, bad = nil, nil, 0 // do may call this twice
		return b.ForEach(func(k, v []byte) error {
			value = append(value[:0], v...)
			rec, err := c.box.open(k, value)
			switch {
			case err != nil:
				bad++
				drop = append(drop, bytes.Clone(k))
			case !now.Before(rec.Token.Expiry):
				drop = append(drop, bytes.Clone(k))
			default:
				records = append(records, rec)
			}
			return nil
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
		_ = c.do(true, func(b *bolt.Bucket) error { return deleteAll(b, drop) })
	}
	return records, nil
}

// unseal reads the key, once. A locked keyring takes its time, and holds up no
// other call.
func (c *Cache) unseal(ctx context.Context) error {
	c.mu.Lock()
	unsealed := c.box != nil
	c.mu.Unlock()
	if unsealed {
		return nil
	}
	key, err := c.key(ctx)
	if err != nil {
		return err
	}
	box, err := newRecordBox(key)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.box = box
	return nil
}

// Save keeps records, all of them or none, in place of earlier ones for the
// same profile, target and fingerprint.
func (c *Cache) Save(records ...token.Record) error {
	if len(records) == 0 {
		return nil
	}
	return c.write(func(b *bolt.Bucket) error {
		if err := c.sweep(b, time.Now()); err != nil {
			return err
		}
		for _, rec := range records {
			k, v := c.box.seal(rec)
			if err := b.Put(k, v); err != nil {
				return err
			}
		}
		return nil
	})
}

// Delete removes all records of a profile.
func (c *Cache) Delete(profile string) error {
	return c.write(func(b *bolt.Bucket) error {
		prefix := c.box.prefix(profile)
		var drop [][]byte
		cur := b.Cursor()
		for k, _ := cur.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = cur.Next() {
			drop = append(drop, bytes.Clone(k))
		}
		return deleteAll(b, drop)
	})
}

// Drop removes single records.
func (c *Cache) Drop(records ...token.Record) error {
	if len(records) == 0 {
		return nil
	}
	return c.write(func(b *bolt.Bucket) error {
		drop := make([][]byte, len(records))
		for i, rec := range records {
			drop[i] = c.box.key(rec)
		}
		return deleteAll(b, drop)
	})
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
	if c.file == nil {
		return nil
	}
	f := c.file
	c.file = nil
	return f.close()
}

// write runs fn in a writing transaction of its own.
func (c *Cache) write(fn func(*bolt.Bucket) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.do(true, fn)
}

// do runs fn in a transaction. If the file turns out to be damaged, do puts it
// aside and runs fn once more on a fresh one.
func (c *Cache) do(write bool, fn func(*bolt.Bucket) error) error {
	switch {
	case c.closed:
		return errClosed
	case c.box == nil:
		return errSealed
	}
	for attempt := 1; ; attempt++ {
		if err := c.checkFile(); err != nil {
			return err
		}
		err := c.file.do(write, fn)
		c.file.leave()
		var damage *damageError
		if !errors.As(err, &damage) {
			return c.explain(err)
		}
		c.file.abandon()
		putAside := c.quarantine(c.file.info, damage)
		c.file = nil
		if attempt == 2 || putAside != nil {
			return errors.Join(c.explain(err), putAside)
		}
	}
}

// checkFile makes sure that c.file is open and is the file at c.path as we left
// it: another program may have deleted, replaced or changed it.
func (c *Cache) checkFile() error {
	if c.file == nil {
		return c.openFile()
	}
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
		return c.explain(err)
	}
	return c.openFile()
}

// openFile opens the file at c.path, putting a damaged one aside.
func (c *Cache) openFile() error {
	f, err := openFile(c.path, c.wait)
	var damage *damageError
	if errors.As(err, &damage) {
		if err := c.quarantine(damage.info, damage); err != nil {
			return err
		}
		f, err = openFile(c.path, c.wait)
	}
	if err != nil {
		return c.explain(err)
	}
	c.file = f
	return nil
}

// quarantine renames the damaged file, if it still is the one at c.path: the
// one that is there now may be another process's fresh one.
func (c *Cache) quarantine(damaged os.FileInfo, why error) error {
	info, err := os.Lstat(c.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && damaged != nil && !os.SameFile(info, damaged) {
		return nil
	}
	aside := c.path + corruptSuffix + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(c.path, aside); err != nil {
		return c.explain(err)
	}
	c.note("%s was damaged (%v): it is now %s, and a fresh one was started", c.path, why, aside)
	c.prune()
	return nil
}

// prune removes all damaged files but the newest. Their names sort by time.
func (c *Cache) prune() {
	dir, prefix := filepath.Dir(c.path), filepath.Base(c.path)+corruptSuffix
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // they do no harm
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), prefix) })
	for _, e := range entries[:max(0, len(entries)-keptDamaged)] {
		_ = os.Remove(filepath.Join(dir, e.Name()))
	}
}

// explain adds what the caller does not know.
func (c *Cache) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrTimeout):
		return &token.Error{Code: token.ErrExists, Message: fmt.Sprintf("another tokend holds %s", c.path), Cause: err}
	}
	return fmt.Errorf("token cache %s: %w", c.path, err)
}

// sweep removes what has expired, if it is time: the file would fill up with the
// records of former settings.
func (c *Cache) sweep(b *bolt.Bucket, now time.Time) error {
	if now.Sub(c.swept) < sweepEvery {
		return nil
	}
	c.swept = now
	var drop [][]byte
	err := b.ForEach(func(k, v []byte) error {
		if expiry, ok := expiryOf(v); !ok || !now.Before(expiry) {
			drop = append(drop, bytes.Clone(k))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return deleteAll(b, drop)
}

// note adds a notice.
func (c *Cache) note(format string, args ...any) {
	if len(c.notices) < maxNotices {
		c.notices = append(c.notices, fmt.Sprintf(format, args...))
	}
}

func deleteAll(b *bolt.Bucket, keys [][]byte) error {
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
