package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"tokend/providers/token"
)

// boundNote is the file that says that all records are bound to their secrets.
// Until it exists, Kept also returns the credentials of an older tokend.
const boundNote = "bound"

func (c *Credentials) allBound() bool {
	_, err := os.Lstat(filepath.Join(c.dir, boundNote))
	return !errors.Is(err, fs.ErrNotExist)
}

// Bind binds the records of an older tokend to their secrets, once, and returns
// their profiles: it moves each secret to the account that stands for its record
// as it is now. It fails if the keystore cannot be used now; call it again then.
// A record whose secrets are lost or damaged stays as it is, and Kept refuses it.
func (c *Credentials) Bind(ctx context.Context) (profiles []string, err error) {
	if c.allBound() {
		return nil, nil
	}
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.leave()
	records, _ := c.records(nil) // one that cannot be read is refused anyway
	if err := c.keys.State(ctx); err != nil && len(records) > 0 {
		return nil, err
	}
	for _, rec := range records {
		moved, err := c.bind(ctx, rec)
		if err != nil {
			return profiles, err
		}
		if moved {
			profiles = append(profiles, rec.Profile)
		}
	}
	if err := ensureDir(c.dir); err != nil {
		return profiles, err
	}
	return profiles, replaceFile(filepath.Join(c.dir, boundNote), []byte("docs/security.md explains what the records here are bound to.\n"))
}

// bind binds the credentials of one record, and reports whether there were any
// that could be bound.
func (c *Credentials) bind(ctx context.Context, rec record) (moved bool, err error) {
	if err := c.clear(ctx, &rec); err != nil { // what an earlier bind left, for one
		return false, err
	}
	next := rec
	if rec.Pending != nil {
		next.Pending = new(*rec.Pending)
	}
	accounts := map[string]token.Secret{}
	var added []stored
	for _, s := range next.kept() {
		if !s.isOld() { // one that was bound and altered stays refused
			continue
		}
		old := s.credential(rec.Profile)
		if *s, err = bound(*s); err != nil {
			return false, err
		}
		added = append(added, *s)
		for _, field := range old.Fields {
			account := s.credential(rec.Profile).Account(field)
			accounts[account], err = c.keys.Get(ctx, old.Account(field))
			if err != nil && c.keys.State(ctx) == nil {
				return false, nil // lost or damaged
			}
			if err != nil {
				return false, err
			}
		}
	}
	if added == nil {
		return false, nil
	}
	if err := c.keep(ctx, rec, accounts, added...); err != nil {
		return false, err
	}
	return true, c.replace(ctx, rec, next)
}
