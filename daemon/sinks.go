package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokend/providers/token"
	"tokend/providers/token/format"
)

// A Sink is a file that tokend keeps a profile's token in, for programs that
// read files and ask nobody. The file is replaced as a whole, and is gone
// rather than stale: a reader never sees a token with less life than MinTTL.
type Sink struct {
	// Path is absolute. The directory must exist.
	Path string `toml:"path"`
	// Format is one of format.Names; "token" is the bare token without a
	// newline.
	Format string `toml:"format"`
	// MinTTL is the least remaining life that a reader can use.
	MinTTL Duration `toml:"min_ttl"`
	// Mode, Owner and Group are the file's. Owner and group are names or
	// numbers; empty leaves them as they come.
	Mode  FileMode `toml:"mode"`
	Owner string   `toml:"owner"`
	Group string   `toml:"group"`
	// RemoveAtStop takes the file away when tokend stops.
	RemoveAtStop bool `toml:"remove_at_stop"`
}

// A FileMode is written in octal digits, in quotes: "0640".
type FileMode struct{ fs.FileMode }

// UnmarshalText takes three or four octal digits. A token is for nobody who is
// not named, so the last one is 0, or 4 where all may read it.
func (m *FileMode) UnmarshalText(b []byte) error {
	bits, err := strconv.ParseUint(string(b), 8, 12)
	if err != nil || len(b) < 3 || bits > 0o777 || bits&0o400 == 0 || bits&0o133 != 0 {
		return fmt.Errorf(`%q is no mode for a file to read, such as "0600" or "0640"`, b)
	}
	m.FileMode = fs.FileMode(bits)
	return nil
}

const (
	// sinkLife is MinTTL where the profile does not say.
	sinkLife = 5 * time.Minute
	// sinkAhead is how long before a file must go its successor is obtained.
	sinkAhead = time.Minute
	// sinkAgain is how soon a file that could not be written is tried again.
	sinkAgain = 30 * time.Second
)

// check fills in what s does not say and tells what is wrong with it.
func (s *Sink) check() error {
	if s.Format == "" {
		s.Format = format.Names[0]
	}
	if s.MinTTL.Duration == 0 {
		s.MinTTL.Duration = sinkLife
	}
	if s.Mode.FileMode == 0 {
		s.Mode.FileMode = 0o600
	}
	var text string
	switch {
	case s.Path == "":
		text = "path is missing"
	case !filepath.IsAbs(s.Path) || filepath.Clean(s.Path) != s.Path || strings.ContainsFunc(s.Path, func(r rune) bool { return r < ' ' }):
		text = fmt.Sprintf("path: %q is no absolute path in its plain form", s.Path)
	case format.Named(s.Format) == nil:
		text = fmt.Sprintf("format: %q is none of %s", s.Format, strings.Join(format.Names[:], ", "))
	default:
		return checkOwner(s)
	}
	return errors.New(text)
}

func checkSinks(sinks []Sink) error {
	for i := range sinks {
		s := &sinks[i]
		err := s.check()
		if slices.ContainsFunc(sinks[:i], func(o Sink) bool { return o.Path == s.Path }) {
			err = fmt.Errorf("path: two sinks write %s", s.Path)
		}
		if err != nil {
			return &token.Error{Code: token.ErrInvalid, Field: "sink", Message: "sink: " + err.Error()}
		}
	}
	return nil
}

// lead is how long before its expiry the profile's token must have a
// successor because of the sinks.
func (p *profile) lead() (lead time.Duration) {
	for _, s := range p.sinks {
		lead = max(lead, s.MinTTL.Duration+sinkAhead)
	}
	return lead
}

// A sinkFile is what keepSinks knows of one sink's file.
type sinkFile struct {
	sink    Sink
	profile string
	// written is the token in the file, the zero Secret if there is no file,
	// shape how it is written beside what the sink says.
	written token.Secret
	shape   string
	// until is when the file must be gone.
	until time.Time
	err   error
	// own: tokend has made the file. What else is at a sink's path is not
	// touched.
	own bool
}

// keepSinks is the one goroutine that touches the sinks' files. When ctx ends
// it removes those that are to go then.
func (d *Daemon) keepSinks(ctx context.Context) {
	files := d.readSinkList()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(d.updateSinks(files))
		select {
		case <-ctx.Done():
			for path, f := range files {
				if f.sink.RemoveAtStop {
					d.removeSink(files, path)
				}
			}
			d.writeSinkList(files)
			return
		case <-d.sinking:
		case <-timer.C:
		}
	}
}

// updateSinks makes the files what they should be now, and says when to look
// again.
func (d *Daemon) updateSinks(files map[string]*sinkFile) time.Duration {
	now := d.wall()
	cacheIn := d.cacheIsIn()
	wanted := d.wantedSinks(now)
	for path := range files {
		if wanted[path] == nil && d.removeSink(files, path) {
			d.writeSinkList(files)
		}
	}
	sleep := longestSleep
	for path, w := range wanted {
		f := files[path]
		switch {
		case f == nil:
			f = &sinkFile{}
			files[path] = f
		case f.sink != w.sink || f.shape != w.shape():
			f.written = token.Secret{}
		}
		f.sink, f.profile, f.shape = w.sink, w.profile, w.shape()
		var err error
		switch {
		case w.err == nil && !w.grant.Secret.IsZero() && (!f.written.Equal(w.grant.Secret) || f.err != nil):
			if err = f.claim(); err != nil {
				break
			}
			// The list first: what is written is never forgotten.
			f.until = w.grant.Expiry.Add(-w.sink.MinTTL.Duration)
			d.writeSinkList(files)
			if err = writeSink(w.sink, w.grant, w.hosts, now); err == nil {
				d.noteSink(f, w.grant.Secret, nil)
			}
		case w.err != nil:
			err = w.err
		case w.grant.Secret.IsZero() && !cacheIn && now.Before(f.until):
			// The last run's file, and its token is not known yet: the keyring
			// may be locked.
		case w.grant.Secret.IsZero():
			if err = f.remove(); err == nil {
				d.noteSink(f, token.Secret{}, nil)
			}
		}
		if err != nil {
			_ = f.remove()
			d.noteSink(f, token.Secret{}, err)
			sleep = min(sleep, sinkAgain)
		}
		if now.Before(f.until) {
			sleep = min(sleep, f.until.Sub(now))
		}
	}
	return max(0, sleep)
}

// A wantedSink is what a sink's file should be.
type wantedSink struct {
	sink    Sink
	profile string
	// grant is what it should hold, the zero Grant for no file.
	grant token.Grant
	hosts []string
	err   error
}

func (w *wantedSink) shape() string {
	return fmt.Sprintf("%s %q %q", w.profile, w.grant.Present, w.hosts)
}

// wantedSinks says what each file should be at now.
func (d *Daemon) wantedSinks(now time.Time) map[string]*wantedSink {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]*wantedSink{}
	for _, p := range d.profiles {
		for _, sink := range p.sinks {
			if other := all[sink.Path]; other != nil {
				first, second := min(other.profile, p.name), max(other.profile, p.name)
				other.err = fmt.Errorf("profiles %s and %s both write it", first, second)
				continue
			}
			w := &wantedSink{sink: sink, profile: p.name, hosts: p.hosts}
			all[sink.Path] = w
			s := p.slotFor(token.Target{})
			switch {
			case s == nil || s.tok.Secret.IsZero() || s.tok.State(now) == token.Expired:
			case s.tok.Life() <= sink.MinTTL.Duration:
				w.err = fmt.Errorf("the issuer's tokens live %v, not longer than min_ttl", s.tok.Life().Round(time.Second))
			case now.Before(s.tok.Expiry.Add(-sink.MinTTL.Duration)):
				w.grant = token.Grant{Token: s.tok, Profile: p.name, Present: p.present}
			}
		}
	}
	return all
}

// SinkDirs are the directories of the files that sinks are written to, and of
// those that the last run left behind.
func (d *Daemon) SinkDirs() (dirs []string) {
	for path := range d.readSinkList() {
		dirs = append(dirs, filepath.Dir(path))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.profiles {
		for _, s := range p.sinks {
			dirs = append(dirs, filepath.Dir(s.Path))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// errOutside is why a sink cannot be written where the user may write: tokend's
// own sandbox was made without its directory, which the configuration did not
// name then or which was another one.
var errOutside = errors.New("tokend was confined to other directories when it started; restart it")

// noteSink remembers what is in a file, and logs a change for the worse once.
func (d *Daemon) noteSink(f *sinkFile, written token.Secret, err error) {
	if errors.Is(err, fs.ErrPermission) && strings.HasSuffix(d.deps.Sandbox(), ": ok") && mayWrite(filepath.Dir(f.sink.Path)) {
		err = errOutside
	}
	before := f.err
	f.written, f.err = written, err
	d.mu.Lock()
	d.sinkErrs[f.sink.Path] = err
	d.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		d.deps.Log.Warn("sink not written", "profile", f.profile, "path", f.sink.Path, "error", err.Error())
	case err == nil && before != nil:
		d.deps.Log.Info("sink works again", "profile", f.profile, "path", f.sink.Path)
	}
}

// removeSink removes a file that is a sink's no more. One that cannot be
// removed is tried again.
func (d *Daemon) removeSink(files map[string]*sinkFile, path string) (removed bool) {
	f := files[path]
	if err := f.remove(); err != nil {
		d.noteSink(f, f.written, err)
		return false
	}
	delete(files, path)
	d.mu.Lock()
	delete(d.sinkErrs, path)
	d.mu.Unlock()
	return true
}

// claim makes sure that what tokend is about to replace is its own.
func (f *sinkFile) claim() error {
	if _, err := os.Lstat(f.sink.Path); err == nil && !f.own {
		return errors.New("there is something already that tokend did not write; move it away")
	}
	f.own = true
	return nil
}

// remove removes the file, if it is there and tokend's own.
func (f *sinkFile) remove() error {
	info, err := os.Lstat(f.sink.Path)
	if !f.own || errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err == nil {
		err = os.Remove(f.sink.Path)
	}
	return err
}

// writeSink replaces a sink's file: with its owner and mode from the start,
// and whole or not at all.
func writeSink(s Sink, g token.Grant, hosts []string, now time.Time) error {
	text, err := sinkText(s, g, hosts, now)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(s.Path); err == nil && !info.Mode().IsRegular() {
		return errors.New("there is something that is no regular file")
	}
	if err := checkSinkDir(s); err != nil {
		return err
	}
	return replaceSink(s, text)
}

// sinkText is what stands in the file.
func sinkText(s Sink, g token.Grant, hosts []string, now time.Time) ([]byte, error) {
	write := format.Named(s.Format)
	switch s.Format {
	case "token":
		text, err := write(g, now)
		return bytes.TrimSuffix(text, []byte("\n")), err
	case "netrc":
		var all []byte
		for _, host := range hosts {
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

// plainPathError leaves the temporary file's name out.
func plainPathError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}

// ids are the numbers of a sink's owner and group, -1 for "as it comes".
func (s Sink) ids() (uid, gid int, err error) {
	uid, gid = -1, -1
	if s.Owner != "" {
		if uid, err = userID(s.Owner); err != nil {
			return 0, 0, err
		}
	}
	if s.Group != "" {
		gid, err = groupID(s.Group)
	}
	return uid, gid, err
}

// The list of the files that were written outlives the daemon, so that a file
// does not outlive its sink: until when it is good, in seconds since 1970, and
// its path.

func (d *Daemon) sinkList() string { return filepath.Join(d.dirs.State, "sinks") }

func (d *Daemon) readSinkList() map[string]*sinkFile {
	files := map[string]*sinkFile{}
	text, err := os.ReadFile(d.sinkList())
	if err != nil {
		return files
	}
	for line := range strings.Lines(string(text)) {
		until, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if seconds, err := strconv.ParseInt(until, 10, 64); err == nil && filepath.IsAbs(path) {
			files[path] = &sinkFile{sink: Sink{Path: path}, until: time.Unix(seconds, 0), own: true}
		}
	}
	return files
}

func (d *Daemon) writeSinkList(files map[string]*sinkFile) {
	var b strings.Builder
	for path, f := range files {
		if f.own {
			fmt.Fprintf(&b, "%d %s\n", f.until.Unix(), path)
		}
	}
	var err error
	if _, none := os.Lstat(d.sinkList()); b.Len() > 0 || none == nil {
		err = writeFile(d.sinkList(), []byte(b.String()))
	}
	if err != nil {
		d.deps.Log.Warn("the list of sinks cannot be written", "error", err.Error())
	}
}

// sink tells keepSinks to look again.
func (d *Daemon) sink() {
	select {
	case d.sinking <- struct{}{}:
	default:
	}
}
