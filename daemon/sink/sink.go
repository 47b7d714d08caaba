// Package sink keeps profiles' tokens in files, for programs that read files. A
// file is replaced as a whole, and is gone rather than stale: a reader never sees
// a token with less life than the sink's MinTTL.
package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

const (
	// retryAfter is how soon a file that could not be written is tried again.
	retryAfter = 30 * time.Second
	// longestSleep bounds how late a set clock is noticed.
	longestSleep = 30 * time.Second
	// readLimit bounds how long the keystore may take for a second header.
	readLimit = 5 * time.Second
)

// A Source is a profile that has sinks, and its token as it is now: the zero
// Token if there is none.
type Source struct {
	Profile *profile.Profile
	Token   token.Token
}

// A Keeper keeps the files.
type Keeper struct {
	// List is a file in which the Keeper remembers what it wrote, so that no
	// file outlives its sink: until when a file is good, in seconds since 1970,
	// its inode, and its path.
	List string
	// Sources returns the profiles that have sinks. It reports whether the tokens of
	// the last run are known: they are not while the keyring is locked.
	Sources func() (sources []Source, loaded bool)
	Now     func() time.Time
	Log     *slog.Logger
	// Changed holds a value when Run is to look again.
	Changed chan struct{}

	errs atomic.Pointer[map[string]error] // by path: why a file is not written
}

// Err returns why the file at path is not written, nil if it is.
func (k *Keeper) Err(path string) error {
	if errs := k.errs.Load(); errs != nil {
		return (*errs)[path]
	}
	return nil
}

// Update has Run look again.
func (k *Keeper) Update() {
	select {
	case k.Changed <- struct{}{}:
	default:
	}
}

// A file is a sink's file: what it should be, and what it is.
type file struct {
	sink    profile.Sink
	profile *profile.Profile
	wanted  bool        // it still is a sink of the profile
	token   token.Token // for the file; the zero Token for no file
	refused error       // why there can be no file

	// written is the token in the file, the zero Secret if there is no file, form
	// how it is written.
	written token.Secret
	form    string
	// until is when the file must be gone.
	until time.Time
	err   error
	// own: tokend made the file. It does not touch another file at a sink's path. ids
	// are the file's inode, and that of the one that takes its place.
	own bool
	ids []uint64
}

// Run keeps the files until ctx ends. Then it removes those with RemoveAtStop.
func (k *Keeper) Run(ctx context.Context) {
	files := k.readList()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(k.update(files))
		select {
		case <-ctx.Done():
			for path, f := range files {
				if f.sink.RemoveAtStop && f.remove() == nil {
					delete(files, path)
				}
			}
			k.writeList(files)
			return
		case <-k.Changed:
		case <-timer.C:
		}
	}
}

// update makes the files what they should be now, and returns when to look again.
func (k *Keeper) update(files map[string]*file) time.Duration {
	now := k.Now()
	loaded := k.want(files, now)
	sleep, errs := longestSleep, map[string]error{}
	for path, f := range files {
		own := f.own
		err := k.apply(files, f, loaded, now)
		if err == nil && !f.wanted {
			delete(files, path)
			k.writeList(files)
			continue
		}
		if err != nil {
			_ = f.remove()
			sleep = min(sleep, retryAfter)
		}
		if own && !f.own {
			k.writeList(files)
		}
		k.note(f, err)
		errs[path] = f.err
		if now.Before(f.until) {
			sleep = min(sleep, f.until.Sub(now))
		}
	}
	k.errs.Store(&errs)
	return max(0, sleep)
}

// want finds out what each file should be at now.
func (k *Keeper) want(files map[string]*file, now time.Time) (loaded bool) {
	sources, loaded := k.Sources()
	for _, f := range files {
		f.wanted, f.token, f.refused = false, token.Token{}, nil
	}
	for _, s := range sources {
		for _, sink := range s.Profile.Sinks {
			f := files[sink.Path]
			if f == nil {
				f = &file{}
				files[sink.Path] = f
			}
			if f.wanted {
				first, second := min(f.profile.Name, s.Profile.Name), max(f.profile.Name, s.Profile.Name)
				f.refused = fmt.Errorf("profiles %s and %s both write it", first, second)
				continue
			}
			f.wanted, f.sink, f.profile = true, sink, s.Profile
			switch {
			case s.Token.Secret.IsZero():
			case s.Token.Life() <= sink.MinTTL.Duration:
				f.refused = fmt.Errorf("the issuer's tokens live %v, not longer than min_ttl", s.Token.Life().Round(time.Second))
			case now.Before(s.Token.Expiry.Add(-sink.MinTTL.Duration)):
				f.token = s.Token
			}
		}
	}
	return loaded
}

// apply makes f what it should be.
func (k *Keeper) apply(files map[string]*file, f *file, loaded bool, now time.Time) error {
	secret := f.token.Secret
	form := fmt.Sprintf("%s %q %q %+v", f.profile.Name, f.profile.Present, f.profile.Hosts, f.sink)
	switch {
	case f.refused != nil:
		return f.refused
	case secret.IsZero() && f.wanted && !loaded && now.Before(f.until):
		return nil // the last run's file, and its token is not known yet
	case secret.IsZero():
		return f.remove()
	case f.written.Equal(secret) && f.form == form && f.err == nil:
		return nil
	}
	text, err := f.text(now)
	if err != nil {
		return err
	}
	f.written, f.form = secret, form
	before, until := f.ids, f.token.Expiry.Add(-f.sink.MinTTL.Duration)
	err = replace(f.sink, text, f.isOurs, func(id uint64) {
		// The list first: what is written is never forgotten.
		f.own, f.until, f.ids = true, until, append(before, id)
		k.writeList(files)
	})
	if err == nil {
		f.ids = f.ids[len(before):]
	}
	return err
}

// isOurs reports whether tokend made the regular file with this inode. An older
// tokend remembered only that it made the file.
func (f *file) isOurs(id uint64) bool {
	return f.own && (len(f.ids) == 0 || slices.Contains(f.ids, id))
}

// note remembers why a file is not written, and logs a change once.
func (k *Keeper) note(f *file, err error) {
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: tokend may not write there, or was confined to other directories when it started; restart it", err)
	}
	before := f.err
	f.err = err
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		k.Log.Warn("sink not written", "profile", f.profile.Name, "path", f.sink.Path, "error", err.Error())
	case err == nil && before != nil:
		k.Log.Info("sink works again", "profile", f.profile.Name, "path", f.sink.Path)
	}
}

// remove removes the file, if it exists and is tokend's own. A file that comes to its
// place from then on is not.
func (f *file) remove() error {
	f.written = token.Secret{}
	if !f.own {
		return nil
	}
	err := remove(f.sink.Path, f.isOurs)
	if err == nil {
		f.own, f.ids = false, nil
	}
	return err
}

// text returns the file's content.
func (f *file) text(now time.Time) ([]byte, error) {
	write := format.Named(f.sink.Format)
	g := token.Grant{Token: f.token, Profile: f.profile.Name, Present: f.profile.Present}
	if f.sink.Second {
		ctx, cancel := context.WithTimeout(context.Background(), readLimit)
		defer cancel()
		var err error
		if g.Second, err = f.profile.Second(ctx); err != nil {
			return nil, err
		}
	}
	switch f.sink.Format {
	case "token":
		text, err := write(g, now)
		return bytes.TrimSuffix(text, []byte("\n")), err
	case "netrc":
		var all []byte
		for _, host := range f.profile.Hosts {
			g.Host = host
			line, err := write(g, now)
			if err != nil {
				return nil, err
			}
			if !bytes.Contains(all, line) {
				all = append(all, line...)
			}
		}
		if all == nil {
			return nil, errors.New("netrc is for hosts, and the profile has none")
		}
		return all, nil
	}
	return write(g, now)
}

// errForeign is why a file at a sink's path stays as it is.
var errForeign = errors.New("there is something already that tokend did not write; move it away")

// withoutPath leaves the temporary file's name out of an error.
func withoutPath(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

func (k *Keeper) readList() map[string]*file {
	files := map[string]*file{}
	text, _ := os.ReadFile(k.List) // without a list there are no files
	for line := range strings.Lines(string(text)) {
		until, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var ids []uint64
		for !filepath.IsAbs(path) && path != "" {
			var id string
			id, path, _ = strings.Cut(path, " ")
			n, _ := strconv.ParseUint(id, 10, 64)
			ids = append(ids, n)
		}
		if seconds, err := strconv.ParseInt(until, 10, 64); err == nil && path != "" {
			files[path] = &file{sink: profile.Sink{Path: path}, profile: &profile.Profile{}, until: time.Unix(seconds, 0), own: true, ids: ids}
		}
	}
	return files
}

func (k *Keeper) writeList(files map[string]*file) {
	var b strings.Builder
	for path, f := range files {
		if f.own {
			fmt.Fprint(&b, f.until.Unix())
			for _, id := range f.ids {
				fmt.Fprintf(&b, " %d", id)
			}
			fmt.Fprintf(&b, " %s\n", path)
		}
	}
	if _, err := os.Lstat(k.List); b.Len() == 0 && err != nil {
		return
	}
	if err := profile.Write(k.List, []byte(b.String())); err != nil {
		k.Log.Warn("the list of sinks cannot be written", "error", err.Error())
	}
}

// Dirs returns the directories of the sinks' files, and of the files that the last
// run left behind.
func (k *Keeper) Dirs() (dirs []string) {
	for path := range k.readList() {
		dirs = append(dirs, filepath.Dir(path))
	}
	sources, _ := k.Sources()
	for _, s := range sources {
		for _, sink := range s.Profile.Sinks {
			dirs = append(dirs, filepath.Dir(sink.Path))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
