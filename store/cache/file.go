package cache

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
	maxSize   = 64 << 20
	lockRetry = 20 * time.Millisecond
)

// tokensBucket is the one bucket of the file.
var tokensBucket = []byte("tokens v1")

// A file is one opened bbolt file.
type file struct {
	db   *bolt.DB
	raw  *os.File    // db's own file, to let go of it when db cannot be closed
	info os.FileInfo // as our last transaction left it; nil before it is opened
}

// A damageError says what is wrong with the content of a file.
type damageError struct {
	what string
	info os.FileInfo // of the file, if it was opened
}

func (e *damageError) Error() string { return e.what }

// openFile opens or makes the file.
func openFile(path string) (*file, error) {
	f := new(file)
	err := f.guard(func() (err error) {
		f.db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait, MaxSize: maxSize, OpenFile: f.openRaw})
		return err
	})
	var errno syscall.Errno
	switch {
	case err == nil:
		f.leave()
		return f, nil
	case !errors.Is(err, berrors.ErrTimeout) && !errors.As(err, &errno): // a fault of the file, not around it
		err = &damageError{err.Error(), f.info}
	}
	f.abandon()
	return nil, err
}

// openRaw opens the file itself and checks its pages. It follows no symbolic
// link, opens no FIFO or device, and closes the file to others.
func (f *file) openRaw(path string, flag int, mode os.FileMode) (*os.File, error) {
	var err error
	if f.raw, err = os.OpenFile(path, flag|openFlags, mode); err != nil {
		return nil, err
	}
	f.info, err = f.raw.Stat()
	if err == nil && !f.info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: syscall.EINVAL}
	}
	if err == nil && f.info.Mode().Perm() != mode {
		err = f.raw.Chmod(mode)
	}
	if err == nil {
		err = checkLocked(f.raw)
	}
	return f.raw, err
}

// checkLocked checks a file's pages before bbolt maps it, holding bbolt's lock:
// another process may be writing. bbolt takes the lock again.
func checkLocked(raw *os.File) error {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockRetry) {
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
	if info.Size() > maxSize {
		return fmt.Errorf("%d bytes, more than tokend ever writes", info.Size())
	}
	pages := make([]byte, info.Size())
	if _, err := raw.ReadAt(pages, 0); err != nil {
		return err
	}
	checkPages(pages)
	return nil
}

// leave remembers the file as it is after a transaction of ours.
func (f *file) leave() {
	if info, err := f.raw.Stat(); err == nil {
		f.info = info
	}
}

// unchanged reports whether info describes this file as we left it. bbolt
// believes whatever another program wrote: a wrong length in a page makes it
// free pages until no memory is left.
func (f *file) unchanged(info os.FileInfo) bool {
	return os.SameFile(info, f.info) && info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime())
}

// do runs fn in a transaction, which may write or only read. It reads nothing from
// a file that was never written. After a *damageError f must not be used again.
func (f *file) do(write bool, fn func(*bolt.Bucket) error) error {
	run := f.db.View
	if write {
		run = f.db.Update
	}
	return f.guard(func() error {
		return run(func(tx *bolt.Tx) (err error) {
			b := tx.Bucket(tokensBucket)
			if b == nil && write {
				b, err = tx.CreateBucket(tokensBucket)
			}
			if b == nil {
				return err
			}
			return fn(b)
		})
	})
}

// close closes an undamaged file.
func (f *file) close() error { return f.guard(f.db.Close) }

// abandon lets go of the file without bbolt, whose Close waits for ever for a
// transaction that was cut short. The memory map stays.
func (f *file) abandon() {
	if f.raw != nil {
		_ = f.raw.Close() // bbolt may have done it
	}
}

// guard turns the panics of a damaged file, and the faults of one that was cut
// short under its memory map, into a *damageError.
func (f *file) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &damageError{fmt.Sprint(p), f.info}
		}
	}()
	return fn()
}
