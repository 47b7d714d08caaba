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
	"maps"
	"os"
	"path/filepath"
	"regexp"
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
	// longestSleep is how soon a file that could not be written is tried again, and
	// bounds how late a set clock is noticed.
	longestSleep = 30 * time.Second
	// readLimit bounds how long the keystore may take for a second header.
	readLimit = 5 * time.Second
	// maxLinks bounds the links in a path, as in Linux.
	maxLinks = 40
)

// A Keeper keeps the files.
type Keeper struct {
	// List is a file in which the Keeper remembers what it wrote, so that no
	// file outlives its sink: until when a file is good, in seconds since 1970,
	// its inode, and its path.
	List string
	// Tokens returns the profiles that have sinks, and their tokens as they are now:
	// the zero Token if there is none. It reports whether the tokens of the last run
	// are known: they are not while the keyring is locked.
	Tokens func() (tokens map[*profile.Profile]token.Token, loaded bool)
	Now    func() time.Time
	Log    *slog.Logger
	// Changed holds a value when Run is to look again.
	Changed chan struct{}

	errs sync.Map // by path: why a file is not written
	list string   // what List has
}

// Err returns why the file at path is not written, nil if it is.
func (k *Keeper) Err(path string) error {
	err, _ := k.errs.Load(path)
	why, _ := err.(error)
	return why
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
	// ids are the inodes of the file that tokend made, and of the one that takes its
	// place; without any it made none. It does not touch another file at a sink's path.
	ids []uint64
}

// anyInode stands for a file's inode in the list of an older tokend, and on Windows.
const anyInode = 0

// Run keeps the files until ctx ends. Then it removes those with RemoveAtStop.
func (k *Keeper) Run(ctx context.Context) {
	files := k.readList()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(k.update(files))
		select {
		case <-ctx.Done():
			for _, f := range files {
				if f.sink.RemoveAtStop {
					_ = f.remove()
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
	now, sleep := k.Now(), longestSleep
	loaded := k.want(files, now)
	for path, f := range files {
		err := k.apply(files, f, loaded, now)
		if err != nil {
			_ = f.remove()
		} else if !f.wanted {
			delete(files, path)
		}
		k.note(f, err)
		if now.Before(f.until) {
			sleep = min(sleep, f.until.Sub(now))
		}
	}
	k.writeList(files)
	return sleep
}

// want finds out what each file should be at now.
func (k *Keeper) want(files map[string]*file, now time.Time) (loaded bool) {
	tokens, loaded := k.Tokens()
	for _, f := range files {
		f.wanted, f.token, f.refused = false, token.Token{}, nil
	}
	for p, t := range tokens {
		for _, sink := range p.Sinks {
			f := files[sink.Path]
			if f == nil {
				f = &file{}
				files[sink.Path] = f
			}
			if f.wanted {
				f.refused = fmt.Errorf("profiles %s and %s both write it", min(f.profile.Name, p.Name), max(f.profile.Name, p.Name))
				continue
			}
			f.wanted, f.sink, f.profile = true, sink, p
			switch {
			case t.Secret.IsZero():
			case t.Life() <= sink.MinTTL.Duration:
				f.refused = fmt.Errorf("the issuer's tokens live %v, not longer than min_ttl", t.Life().Round(time.Second))
			case now.Before(t.Expiry.Add(-sink.MinTTL.Duration)):
				f.token = t
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
	case f.written.Equal(secret) && f.form == form:
		return nil
	}
	text, err := f.text(now)
	if err != nil {
		return err
	}
	before, until := f.ids, f.token.Expiry.Add(-f.sink.MinTTL.Duration)
	err = replace(f.sink, text, f.isOurs, func(id uint64) {
		// The list first: what is written is never forgotten.
		f.until, f.ids = until, append(before, id)
		k.writeList(files)
	})
	if err == nil {
		f.written, f.form, f.ids = secret, form, f.ids[len(before):]
	}
	return err
}

// isOurs reports whether tokend made the regular file with this inode.
func (f *file) isOurs(id uint64) bool {
	return slices.Contains(f.ids, id) || slices.Contains(f.ids, anyInode)
}

// note remembers why a file is not written, and logs a change once.
func (k *Keeper) note(f *file, err error) {
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: tokend may not write there, or was confined to other directories when it started; restart it", err)
	}
	before := k.Err(f.sink.Path)
	k.errs.Store(f.sink.Path, err)
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
	if f.ids == nil {
		return nil
	}
	err := remove(f.sink.Path, f.isOurs)
	if err == nil {
		f.ids = nil
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
	hosts := []string{""}
	if f.sink.Format == "netrc" {
		hosts = f.profile.Hosts
	}
	var all []byte
	for _, g.Host = range hosts {
		text, err := write(g, now)
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(all, text) {
			all = append(all, text...)
		}
	}
	switch {
	case all == nil:
		return nil, errors.New("netrc is for hosts, and the profile has none")
	case f.sink.Format == "token":
		all = bytes.TrimSuffix(all, []byte("\n"))
	}
	return all, nil
}

// errForeign is why a file at a sink's path stays as it is.
var errForeign = errors.New("there is a file that tokend did not write; move it away")

// listLine is a line of the list: until when a file is good, its inodes, its path.
var listLine = regexp.MustCompile(`(?m)^(\d+)((?: \d+)*) (\D.*)$`)

// readList makes the files of the list.
func (k *Keeper) readList() map[string]*file {
	files := map[string]*file{}
	text, _ := os.ReadFile(k.List) // without a list there are no files
	k.list = string(text)
	for _, line := range listLine.FindAllStringSubmatch(k.list, -1) {
		until, _ := strconv.ParseInt(line[1], 10, 64) // it is a number
		f := &file{sink: profile.Sink{Path: line[3]}, profile: &profile.Profile{}, until: time.Unix(until, 0)}
		for _, number := range strings.Fields(line[2]) {
			id, _ := strconv.ParseUint(number, 10, 64)
			f.ids = append(f.ids, id)
		}
		if f.ids == nil {
			f.ids = []uint64{anyInode}
		}
		files[f.sink.Path] = f
	}
	return files
}

func (k *Keeper) writeList(files map[string]*file) {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if f := files[path]; f.ids != nil {
			fmt.Fprint(&b, f.until.Unix())
			for _, id := range f.ids {
				fmt.Fprintf(&b, " %d", id)
			}
			fmt.Fprintf(&b, " %s\n", path)
		}
	}
	if b.String() == k.list {
		return
	}
	k.list = b.String()
	if err := profile.Write(k.List, []byte(k.list)); err != nil {
		k.Log.Warn("the list of sinks cannot be written", "error", err.Error())
	}
}

// Dirs returns the directories of the sinks' files, and of the files that the last
// run left behind, as paths without links. It leaves out those that are not there, or
// that another user's link leads to.
func (k *Keeper) Dirs() (dirs []string) {
	paths := slices.Collect(maps.Keys(k.readList()))
	tokens, _ := k.Tokens()
	for p := range tokens {
		for _, sink := range p.Sinks {
			paths = append(paths, sink.Path)
		}
	}
	for _, path := range paths {
		if dir, err := openDir(filepath.Dir(path), maxLinks); err == nil {
			dirs = append(dirs, dir.Name())
			_ = dir.Close()
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
