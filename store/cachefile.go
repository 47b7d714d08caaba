package store

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	cacheTimeout = 2 * time.Second
	lockRetry    = 20 * time.Millisecond
	cacheMaxSize = 64 << 20
)

// tokensBucket is the one bucket of the file.
var tokensBucket = []byte("tokens v1")

// A cacheFile is one opened bbolt file.
type cacheFile struct {
	db   *bolt.DB
	raw  *os.File // db's own file, to let go of it when db cannot be closed
	info os.FileInfo
	// left is the file as our last transaction left it.
	left os.FileInfo
}

// A DamageError says that the file does not hold what it should.
type DamageError struct {
	what string
	info os.FileInfo // of the file, if it was opened
}

func (e *DamageError) Error() string { return e.what }

// openCacheFile opens or makes the file and its bucket.
func openCacheFile(path string) (f *cacheFile, err error) {
	f = &cacheFile{}
	err = guard(func() error {
		var err error
		f.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:  cacheTimeout,
			MaxSize:  cacheMaxSize,
			OpenFile: f.openRaw,
		})
		if err != nil {
			return err
		}
		if f.hasBucket() {
			return nil // a transaction that writes takes a disk some time
		}
		return f.db.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket(tokensBucket)
			return err
		})
	})
	if err == nil {
		f.leave()
		return f, nil
	}
	f.abandon()
	return nil, f.verdict(err)
}

func (f *cacheFile) hasBucket() (has bool) {
	err := f.db.View(func(tx *bolt.Tx) error {
		has = tx.Bucket(tokensBucket) != nil
		return nil
	})
	return err == nil && has
}

// leave remembers the file as it is after a transaction of ours.
func (f *cacheFile) leave() { f.left, _ = f.raw.Stat() }

// untouched tells whether info, of the same file, is how we left it. What
// somebody else wrote bbolt would believe: a wrong length in a page has it free
// pages until no memory is left, and nothing can stop it then.
func (f *cacheFile) untouched(info os.FileInfo) bool {
	return f.left != nil && info.Size() == f.left.Size() && info.ModTime().Equal(f.left.ModTime())
}

// verdict tells what is wrong with the file, a *DamageError, from what is wrong
// with its surroundings.
func (f *cacheFile) verdict(err error) error {
	var errno syscall.Errno
	if err == nil || errors.Is(err, berrors.ErrTimeout) || errors.As(err, &errno) {
		return err
	}
	return &DamageError{err.Error(), f.info}
}

// openRaw opens the file itself and checks it: never through a symbolic link,
// never a FIFO or a device, and closed to others even if it was not before.
func (f *cacheFile) openRaw(path string, flag int, mode os.FileMode) (*os.File, error) {
	raw, err := os.OpenFile(path, flag|openFlags, mode)
	if err != nil {
		return nil, err
	}
	f.info, err = raw.Stat()
	if err == nil && !f.info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: syscall.EINVAL}
	}
	if err == nil && f.info.Mode().Perm() != mode {
		err = raw.Chmod(mode)
	}
	if err == nil {
		err = checkLocked(raw)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	f.raw = raw
	return raw, nil
}

// checkLocked checks a file's pages before bbolt maps it, holding bbolt's lock:
// another process may be writing. bbolt takes the lock again.
func checkLocked(raw *os.File) error {
	for deadline := time.Now().Add(cacheTimeout); ; time.Sleep(lockRetry) {
		err := lock(raw)
		if err == nil {
			break
		}
		if !errors.Is(err, errLockHeld) {
			return err
		}
		if time.Now().After(deadline) {
			return berrors.ErrTimeout
		}
	}
	defer unlock(raw)
	info, err := raw.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	return checkPages(raw, info.Size())
}

// update runs fn in a transaction, view in one that only reads. A
// *DamageError means that f must not be used again.
func (f *cacheFile) update(fn func(*bolt.Bucket) error) error {
	return guard(inBucket(f.db.Update, fn))
}
func (f *cacheFile) view(fn func(*bolt.Bucket) error) error { return guard(inBucket(f.db.View, fn)) }

func inBucket(transaction func(func(*bolt.Tx) error) error, fn func(*bolt.Bucket) error) func() error {
	return func() error {
		return transaction(func(tx *bolt.Tx) error {
			b := tx.Bucket(tokensBucket)
			if b == nil {
				return &DamageError{what: "its bucket is missing"}
			}
			return fn(b)
		})
	}
}

// close closes an undamaged file.
func (f *cacheFile) close() error {
	return guard(f.db.Close)
}

// abandon lets go of the file without bbolt, whose Close waits for ever for
// the transaction that was cut short. The memory map stays.
func (f *cacheFile) abandon() {
	if f.raw != nil {
		_ = f.raw.Close() // bbolt may have done it
	}
}

// guard turns the panics of a damaged file, and the faults of one that was cut
// short under its memory map, into a *DamageError.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &DamageError{what: fmt.Sprint(p)}
		}
	}()
	return fn()
}
