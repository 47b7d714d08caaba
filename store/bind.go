package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"tokend/providers/token"
)

// boundNote is the file that says that all records are bound to their secrets.
// Until it exists, Kept also returns the credentials of an older tokend.
const boundNote = "bound"

func (c *Credentials) allBound() bool {
	_, err := os.Lstat(filepath.Join(c.dir, boundNote))
	return !errors.Is(err, fs.ErrNotExist)
}

// errLost means that a record has a secret that is lost or damaged.
var errLost = errors.New("a secret is lost")

// Bind binds the records of an older tokend to their secrets, once, and returns
// their profiles: it moves each secret to the account that stands for its record
// as it is now. It fails if the keystore cannot be used now; call it again then.
// A record whose secrets are lost or damaged stays as it is, and Kept refuses it.
func (c *Credentials) Bind(ctx context.Context) (profiles []string, err error) {
	if c.allBound() {
		return nil, nil
	}
	records, _ := c.records(nil) // one that cannot be read is refused anyway
	if err := c.keys.State(ctx); err != nil && len(records) > 0 {
		return nil, err
	}
	for _, rec := range records {
		switch _, err := c.change(ctx, rec.Profile, c.bind(ctx)); {
		case errors.Is(err, errLost):
		case err != nil:
			return profiles, err
		case slices.ContainsFunc(rec.kept(), (*stored).isOld):
			profiles = append(profiles, rec.Profile)
		}
	}
	if err := ensureDir(c.dir); err != nil {
		return profiles, err
	}
	return profiles, replaceFile(filepath.Join(c.dir, boundNote), []byte("docs/security.md explains what the records here are bound to.\n"))
}

// bind returns the change that binds the credentials of a record. One that was bound,
// and altered, stays refused.
func (c *Credentials) bind(ctx context.Context) func(record) (record, map[string]token.Secret, error) {
	return func(rec record) (next record, secrets map[string]token.Secret, err error) {
		next = rec
		if rec.Pending != nil {
			next.Pending = new(*rec.Pending)
		}
		isOld := false
		for _, s := range next.kept() {
			if !s.isOld() {
				continue
			}
			isOld = true
			if *s, err = bound(*s); err != nil {
				return next, nil, err
			}
		}
		if isOld {
			secrets, err = c.secrets(ctx, rec, next)
		}
		if err != nil && c.keys.State(ctx) == nil {
			err = errLost
		}
		return next, secrets, err
	}
}
