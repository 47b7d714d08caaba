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
	"sync"
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
	// and its path.
	List string
	// Sources returns the profiles that have sinks. It reports whether the tokens of
	// the last run are known: they are not while the keyring is locked.
	Sources func() (sources []Source, loaded bool)
	// Confined reports whether tokend can write in some directories only.
	Confined func() bool
	Now      func() time.Time
	Log      *slog.Logger
	// Changed holds a value when Run is to look again.
	Changed chan struct{}

	mu   sync.Mutex
	errs map[string]error // by path: why a file is not written
}

// Err returns why the file at path is not written, nil if it is.
func (k *Keeper) Err(path string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.errs[path]
}

// Update has Run look again.
func (k *Keeper) Update() {
	select {
	case k.Changed <- struct{}{}:
	default:
	}
}

// A file is what Run knows of one sink's file.
type file struct {
	sink    profile.Sink
	profile string
	// written is the token in the file, the zero Secret if there is no file,
	// form how it is written.
	written token.Secret
	form    string
	// until is when the file must be gone.
	until time.Time
	err   error
	// own: tokend made the file. It does not touch another file at a sink's path.
	own bool
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
				if f.sink.RemoveAtStop {
					k.remove(files, path)
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
	wanted, loaded := k.wanted(now)
	for path := range files {
		if wanted[path] == nil && k.remove(files, path) {
			k.writeList(files)
		}
	}
	sleep := longestSleep
	for path, w := range wanted {
		f := files[path]
		switch {
		case f == nil:
			f = &file{}
			files[path] = f
		case f.form != w.form():
			f.written = token.Secret{}
		}
		f.sink, f.profile, f.form = w.sink, w.profile.Name, w.form()
		if err := k.apply(files, f, w, loaded, now); err != nil {
			_ = f.remove()
			k.note(f, token.Secret{}, err)
			sleep = min(sleep, retryAfter)
		}
		if now.Before(f.until) {
			sleep = min(sleep, f.until.Sub(now))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.errs = map[string]error{}
	for path, f := range files {
		k.errs[path] = f.err
	}
	return max(0, sleep)
}

// apply makes f what it should be.
func (k *Keeper) apply(files map[string]*file, f *file, w *wantedFile, loaded bool, now time.Time) error {
	secret := w.token.Secret
	switch {
	case w.err != nil:
		return w.err
	case !secret.IsZero() && f.written.Equal(secret) && f.err == nil:
	case !secret.IsZero():
		if _, err := os.Lstat(f.sink.Path); err == nil && !f.own {
			return errors.New("there is something already that tokend did not write; move it away")
		}
		f.own = true
		// The list first: what is written is never forgotten.
		f.until = w.token.Expiry.Add(-w.sink.MinTTL.Duration)
		k.writeList(files)
		if err := w.write(now); err != nil {
			return err
		}
		k.note(f, secret, nil)
	case !loaded && now.Before(f.until):
		// The last run's file, and its token is not known yet.
	default:
		if err := f.remove(); err != nil {
			return err
		}
		k.note(f, token.Secret{}, nil)
	}
	return nil
}

// A wantedFile is what a sink's file should be.
type wantedFile struct {
	sink    profile.Sink
	profile *profile.Profile
	token   token.Token // the zero Token for no file
	err     error
}

// form identifies how the token is written, and for whom.
func (w *wantedFile) form() string {
	return fmt.Sprintf("%s %q %q %+v", w.profile.Name, w.profile.Present, w.profile.Hosts, w.sink)
}

// wanted returns what each file should be at now.
func (k *Keeper) wanted(now time.Time) (all map[string]*wantedFile, loaded bool) {
	sources, loaded := k.Sources()
	all = map[string]*wantedFile{}
	for _, s := range sources {
		for _, sink := range s.Profile.Sinks {
			if other := all[sink.Path]; other != nil {
				first, second := min(other.profile.Name, s.Profile.Name), max(other.profile.Name, s.Profile.Name)
				other.err = fmt.Errorf("profiles %s and %s both write it", first, second)
				continue
			}
			w := &wantedFile{sink: sink, profile: s.Profile}
			all[sink.Path] = w
			switch {
			case s.Token.Secret.IsZero():
			case s.Token.Life() <= sink.MinTTL.Duration:
				w.err = fmt.Errorf("the issuer's tokens live %v, not longer than min_ttl", s.Token.Life().Round(time.Second))
			case now.Before(s.Token.Expiry.Add(-sink.MinTTL.Duration)):
				w.token = s.Token
			}
		}
	}
	return all, loaded
}

// note remembers what is in a file, and logs a change once.
func (k *Keeper) note(f *file, written token.Secret, err error) {
	if errors.Is(err, fs.ErrPermission) && k.Confined() {
		err = fmt.Errorf("%w: tokend may not write there, or was confined to other directories when it started; restart it", err)
	}
	before := f.err
	f.written, f.err = written, err
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		k.Log.Warn("sink not written", "profile", f.profile, "path", f.sink.Path, "error", err.Error())
	case err == nil && before != nil:
		k.Log.Info("sink works again", "profile", f.profile, "path", f.sink.Path)
	}
}

// remove removes a file that no longer is a sink's. One that cannot be removed is
// tried again.
func (k *Keeper) remove(files map[string]*file, path string) (removed bool) {
	f := files[path]
	if err := f.remove(); err != nil {
		k.note(f, f.written, err)
		return false
	}
	delete(files, path)
	return true
}

// remove removes the file, if it exists and is tokend's own.
func (f *file) remove() error {
	info, err := os.Lstat(f.sink.Path)
	if !f.own || errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err == nil {
		err = os.Remove(f.sink.Path)
	}
	return err
}

// write replaces the file: with its owner and mode from the start, and whole or
// not at all.
func (w *wantedFile) write(now time.Time) error {
	text, err := w.text(now)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(w.sink.Path); err == nil && !info.Mode().IsRegular() {
		return errors.New("there is something that is no regular file")
	}
	if err := checkDir(w.sink); err != nil {
		return err
	}
	return replace(w.sink, text)
}

// text returns the file's content.
func (w *wantedFile) text(now time.Time) ([]byte, error) {
	write := format.Named(w.sink.Format)
	g := token.Grant{Token: w.token, Profile: w.profile.Name, Present: w.profile.Present}
	switch w.sink.Format {
	case "token":
		text, err := write(g, now)
		return bytes.TrimSuffix(text, []byte("\n")), err
	case "netrc":
		var all []byte
		for _, host := range w.profile.Hosts {
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

// withoutPath leaves the temporary file's name out of an error.
func withoutPath(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

func (k *Keeper) readList() map[string]*file {
	files := map[string]*file{}
	text, _ := os.ReadFile(k.List) // without a list there are no files
	for line := range strings.Lines(string(text)) {
		until, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if seconds, err := strconv.ParseInt(until, 10, 64); err == nil && filepath.IsAbs(path) {
			files[path] = &file{sink: profile.Sink{Path: path}, until: time.Unix(seconds, 0), own: true}
		}
	}
	return files
}

func (k *Keeper) writeList(files map[string]*file) {
	var b strings.Builder
	for path, f := range files {
		if f.own {
			fmt.Fprintf(&b, "%d %s\n", f.until.Unix(), path)
		}
	}
	var err error
	if _, none := os.Lstat(k.List); b.Len() > 0 || none == nil {
		err = profile.Write(k.List, []byte(b.String()))
	}
	if err != nil {
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
