package store

import (
	"bytes"
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

// A Cache is a file of sealed tokens that outlives the daemon. It is a copy,
// written behind: whoever uses it keeps all tokens in memory, loads them once
// and saves each new one.
//
// Whatever is wrong with the file costs the tokens in it and nothing else: a
// damaged file is renamed, a fresh one takes its place, and Notices tells. A
// disk that is full or read-only is an error of the call that met it; the next
// call tries again.
//
// Records are sealed with AES-256-GCM; in plain text a file shows how many
// there are, and when each expires.
type Cache struct {
	path string

	// mu guards all below and is held across the disk: bbolt would serialise the calls anyway, and
	// what happens after a fault must happen alone.
	mu      sync.Mutex
	box     *recordBox // nil until Unseal
	file    *cacheFile // nil between a failed opening and the next try
	closed  bool
	swept   time.Time
	notices []string
}

// sweepEvery is how often Save removes what has expired meanwhile.
const sweepEvery = time.Hour

// OpenCache opens the file at path, or makes it (0600), in a directory that
// exists. It waits 2 s at most for another process that holds the file, and
// then returns token.ErrExists. A damaged file is put aside. Any other error is
// met again, and returned, by the first call that needs the file: it may pass.
//
// Until Unseal gave it the key, the other methods return token.ErrLocked.
func OpenCache(path string) (*Cache, error) {
	c := &Cache{path: path}
	if err := c.open(); errors.Is(err, token.ErrExists) {
		return nil, err
	}
	return c, nil
}

// Unseal gives the cache its key, 32 bytes.
func (c *Cache) Unseal(key token.Secret) error {
	box, err := newRecordBox(key)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.box = box
	return nil
}

// Load returns the records that have not expired at now. What has, and what
// cannot be unsealed, is removed from the file, if that can be written.
func (c *Cache) Load(now time.Time) ([]token.Record, error) {
	return c.load(now, func() []byte { return nil })
}

// LoadOf does that with the records of one profile.
func (c *Cache) LoadOf(profile string, now time.Time) ([]token.Record, error) {
	return c.load(now, func() []byte { return c.box.prefix(profile) })
}

// load loads the records whose entry keys begin with a prefix.
func (c *Cache) load(now time.Time, prefixed func() []byte) ([]token.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var records []token.Record
	var drop [][]byte
	var bad int
	var value []byte // a copy of each: the file may change while we look
	err := c.run((*cacheFile).view, func(b *bolt.Bucket) error {
		records, drop, bad = nil, nil, 0 // a second attempt starts anew
		prefix := prefixed()
		cur := b.Cursor()
		for k, v := cur.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = cur.Next() {
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
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if bad > 0 {
		c.say("%d cached tokens could not be unsealed and were dropped", bad)
	}
	if len(drop) > 0 {
		// They stay out of memory even if they stay in the file.
		_ = c.run((*cacheFile).update, func(b *bolt.Bucket) error { return deleteAll(b, drop) })
	}
	return records, nil
}

// Save keeps records, all of them or none, in place of earlier ones for the
// same profile, target and fingerprint.
func (c *Cache) Save(records ...token.Record) error {
	if len(records) == 0 {
		return nil
	}
	return c.do(func(b *bolt.Bucket) error {
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
	return c.do(func(b *bolt.Bucket) error {
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
	return c.do(func(b *bolt.Bucket) error {
		drop := make([][]byte, len(records))
		for i, rec := range records {
			drop[i] = c.box.key(rec)
		}
		return deleteAll(b, drop)
	})
}

// Notices says what happened to the file since it was last asked, for the log:
// nothing, usually. After a notice the file may lack records that were saved
// before it.
func (c *Cache) Notices() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	said := c.notices
	c.notices = nil
	return said
}

// Close lets go of the file. Later calls fail.
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

var (
	errSealed = fail(token.ErrLocked, nil, "the token cache is sealed: its key was not read yet")
	errClosed = fail(token.ErrInternal, nil, "the token cache is closed")
)

// do runs fn in a writing transaction of its own.
func (c *Cache) do(fn func(*bolt.Bucket) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run((*cacheFile).update, fn)
}

// run runs fn in a transaction. If the file turns out to be damaged it is put
// aside, and fn runs once more on a fresh one.
func (c *Cache) run(transaction func(*cacheFile, func(*bolt.Bucket) error) error, fn func(*bolt.Bucket) error) error {
	switch {
	case c.closed:
		return errClosed
	case c.box == nil:
		return errSealed
	}
	for attempt := 1; ; attempt++ {
		if err := c.current(); err != nil {
			return err
		}
		err := transaction(c.file, fn)
		c.file.leave()
		var damage *DamageError
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

// current makes sure that c.file is open and is the file at c.path, as we left
// it: somebody may have deleted, replaced or changed it.
func (c *Cache) current() error {
	if c.file == nil {
		return c.open()
	}
	info, err := os.Lstat(c.path)
	if err == nil && os.SameFile(info, c.file.info) && c.file.untouched(info) {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil // unreadable, and no reason to let go of an open file
	}
	c.say("%s was deleted, replaced or changed by somebody else", c.path)
	old := c.file
	c.file = nil
	if err := old.close(); err != nil {
		return c.explain(err)
	}
	return c.open()
}

// open opens the file at c.path, putting a damaged one aside.
func (c *Cache) open() error {
	f, err := openCacheFile(c.path)
	var damage *DamageError
	if errors.As(err, &damage) {
		if err := c.quarantine(damage.info, damage); err != nil {
			return err
		}
		f, err = openCacheFile(c.path)
	}
	if err != nil {
		return c.explain(err)
	}
	c.file = f
	return nil
}

// corruptSuffix stands between a cache file's name and when it was put aside.
const corruptSuffix = ".corrupt-"

// quarantine renames the damaged file, if it still is the one at c.path: the
// one that is there now may be another process's fresh one.
func (c *Cache) quarantine(damaged os.FileInfo, why error) error {
	info, err := os.Lstat(c.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && damaged != nil && !os.SameFile(info, damaged) {
		return nil
	}
	aside, err := freeName(c.path + corruptSuffix + time.Now().UTC().Format("20060102T150405.000Z"))
	if err == nil {
		err = os.Rename(c.path, aside)
	}
	if err != nil {
		return c.explain(err)
	}
	c.say("%s was damaged (%v): it is now %s, and a fresh one was started", c.path, why, aside)
	c.prune()
	return nil
}

// keptAside is how many damaged files are kept, for whoever wants to know what
// happened to them.
const keptAside = 3

// prune removes the oldest damaged files. Their names sort by time.
func (c *Cache) prune() {
	dir, prefix := filepath.Dir(c.path), filepath.Base(c.path)+corruptSuffix
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // they are in nobody's way
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), prefix) })
	for _, e := range entries[:max(0, len(entries)-keptAside)] {
		_ = os.Remove(filepath.Join(dir, e.Name()))
	}
}

// explain adds what the caller does not know.
func (c *Cache) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrTimeout):
		return fail(token.ErrExists, err, "another tokend holds %s", c.path)
	}
	return fmt.Errorf("token cache %s: %w", c.path, err)
}

// sweep removes what has expired, now and then: the file would fill up with
// the records of former settings.
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

// say adds a notice. Somebody who never asks for them gets the first ones.
func (c *Cache) say(format string, args ...any) {
	if len(c.notices) < 100 {
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

// freeName gives path, or path with a number if that is taken.
func freeName(path string) (string, error) {
	name := path
	for n := 2; n < 1000; n++ {
		if _, err := os.Lstat(name); errors.Is(err, os.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s-%d", path, n)
	}
	return "", fmt.Errorf("%s and many like it exist", path)
}
