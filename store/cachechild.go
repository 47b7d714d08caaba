package store

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A cache file that comes from a former run is looked at by a process of its
// own before this one maps it: bbolt reads it there with all its trust in what
// it finds, and if that ends in a fault, in a loop or without memory, a process
// has ended that nobody needs.

// StatusDamaged is the exit status of a command that ran CheckCache and found
// damage; another status but 0 says that nothing was found out. A process that
// ended in a crash has found damage too.
const StatusDamaged = 65 // EX_DATAERR of sysexits.h

// statusCrashed is how the Go runtime ends a process.
const statusCrashed = 2

// checkLimit bounds the check, whose own limits should end it sooner.
const checkLimit = 5 * time.Second

// CheckCache reads all of the cache file at path as bbolt does. It may not
// return, and lets go of nothing that it finds damaged: call it in a process of
// its own, under limits of memory and time. What it finds damaged is a
// *DamageError; any other error is why it could not look.
func CheckCache(path string) error {
	f := &cacheFile{}
	err := guard(func() error {
		var err error
		f.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         time.Nanosecond, // who holds the file has checked it
			ReadOnly:        true,
			PreLoadFreelist: true,
			OpenFile:        func(path string, _ int, _ os.FileMode) (*os.File, error) { return openNoFollow(path) },
		})
		if err != nil {
			return err
		}
		if err := f.db.View(readAll); err != nil {
			return &DamageError{what: err.Error()}
		}
		return f.db.Close()
	})
	return f.verdict(err)
}

// readAll reads every page, key and value, and has bbolt compare what it knows.
// What the values mean is for others to judge: a bad one costs one record.
func readAll(tx *bolt.Tx) error {
	for err := range tx.Check() {
		return err // the check goes on in a goroutine, perhaps for ever
	}
	all := crc32.NewIEEE()
	return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			_, _ = all.Write(k) // a hash takes everything
			_, _ = all.Write(v)
			return nil
		})
	})
}

// checkInChild has the checker look at the file, if there is one with anything
// in it. A *DamageError is its verdict; without a verdict the file is opened,
// and that finds what it finds.
func (c *Cache) checkInChild() error {
	info, err := os.Lstat(c.path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 || len(c.checker) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.checker[0], append(c.checker[1:len(c.checker):len(c.checker)], c.path)...)
	cmd.Args[0] = os.Args[0] // it is this program, perhaps by another path
	cmd.Env = []string{"GOTRACEBACK=none"}
	reason, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &DamageError{what: "reading it does not end", info: info}
	case !errors.As(err, &exit):
		c.say("%s could not be checked by a process of its own: %v", c.path, plainExecError(err))
		return nil
	case exit.ExitCode() == StatusDamaged:
		return &DamageError{what: firstLine(reason), info: info}
	case !exit.Exited(), exit.ExitCode() == statusCrashed:
		return &DamageError{what: fmt.Sprintf("reading it ends in a crash (%v)", exit), info: info}
	}
	return nil
}

// plainExecError leaves the command's name out.
func plainExecError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// firstLine is what a process said, cut to what a log can hold.
func firstLine(text []byte) string {
	for i, c := range text {
		if c == '\n' || i == 200 {
			return string(text[:i])
		}
	}
	return string(text)
}
