package daemon

import (
	"bytes"
	"context"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"tokend/providers/token"
)

// There may be thousands of profiles, and who asks for one waits for no other.
// New reads the files of profiles.d and opens only those that it must know; Run
// opens the rest, and then has the cache read. A profile that somebody asks for
// by its name meanwhile is opened at once, and its tokens are fetched from the
// cache before the others'. What is about all profiles, and what changes any,
// waits until all are open.

// A shelved is a file of profiles.d that a start has read. It is opened once, by
// whoever comes first.
type shelved struct {
	profileFile
	opening sync.Once
	// recalled: the cache has been asked for its tokens. It belongs to the
	// cache's goroutine.
	recalled bool
}

// startGarbage is how much garbage there may be at a start, in percent of what
// is in use: each profile leaves three times as much as stays of it. At a start
// there is memory for that, and it is given back when the cache is in.
const startGarbage = 200

// load reads the configuration when the daemon is made.
func (d *Daemon) load() error {
	defer debug.SetGCPercent(debug.SetGCPercent(startGarbage))
	config, err := ReadConfig(d.dirs)
	if err != nil {
		return err
	}
	kinds, err := d.configure(config)
	if err != nil {
		return err
	}
	bad := map[string]string{}
	files, err := d.dirs.profileFiles()
	if err != nil {
		bad[""] = err.Error()
	}
	d.adopt(config, kinds, nil, bad)
	d.shelve(files)
	return nil
}

// shelve keeps the files for later, but for those that may have sinks: where
// these are must be known before anything is served.
func (d *Daemon) shelve(files []profileFile) {
	d.shelf = make(map[string]*shelved, len(files))
	all := make([]shelved, len(files))
	var now []*shelved
	for i, file := range files {
		f := &all[i]
		f.profileFile = file
		d.shelf[f.name()] = f
		if mayHaveSinks(f.text) {
			now = append(now, f)
		}
	}
	d.openEach(context.Background(), now)
}

// mayHaveSinks tells whether a profile's text may set the key "sink", which can
// also be written with escapes.
func mayHaveSinks(text []byte) bool {
	return bytes.Contains(text, []byte("sink")) || bytes.IndexByte(text, '\\') >= 0
}

// OpenAll opens the profiles that are not open yet, and returns when all are, or
// ctx has ended. It is called once: by Run, or by who looks at a daemon and does
// not run it.
func (d *Daemon) OpenAll(ctx context.Context) {
	d.mu.Lock()
	files := slices.Collect(maps.Values(d.shelf))
	d.mu.Unlock()
	before := debug.SetGCPercent(startGarbage)
	d.openEach(ctx, files)
	debug.SetGCPercent(before)
	if ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	profiles, bad := len(d.profiles), slices.Sorted(maps.Values(d.bad))
	d.mu.Unlock()
	for _, b := range bad {
		d.deps.Log.Warn("a profile cannot be read", "error", b)
	}
	d.deps.Log.Info("configuration read", "profiles", profiles, "bad_files", len(bad))
	close(d.known)
}

// openEach opens files until ctx ends.
func (d *Daemon) openEach(ctx context.Context, files []*shelved) {
	inParallel(len(files), 1, func(i int) {
		if ctx.Err() == nil {
			d.open(files[i])
			runtime.Gosched() // to those who ask meanwhile
		}
	})
}

// open puts the profile of f in force, or notes why it cannot be.
func (d *Daemon) open(f *shelved) {
	f.opening.Do(func() {
		p, err := d.openFile(d.kinds, d.config, f.profileFile) // neither changes before all are open
		f.text = nil
		d.mu.Lock()
		defer d.mu.Unlock()
		if err != nil {
			d.bad[f.name()] = err.Error()
			return
		}
		d.install(p)
	})
}

// openNamed opens the named profile, if it is not open yet, and gives its place
// on the shelf, nil if it has none any more, or never had.
func (d *Daemon) openNamed(name string) *shelved {
	d.mu.Lock()
	f := d.shelf[name]
	d.mu.Unlock()
	if f != nil {
		d.open(f)
	}
	return f
}

// recall sees to it that the named profile is open and its tokens are here, and
// without a name those of all.
func (d *Daemon) recall(ctx context.Context, name string) error {
	select {
	case <-d.loaded:
		return nil
	default:
	}
	if name == "" {
		return d.await(ctx, d.loaded)
	}
	f := d.openNamed(name)
	if f == nil {
		return nil
	}
	reading := context.WithoutCancel(ctx) // others may want the same
	err := d.askCache(ctx, func() error {
		d.recallOne(reading, f)
		return nil
	})
	if ctx.Err() != nil {
		return stillReading(ctx)
	}
	return err
}

// whole waits until all profiles are open.
func (d *Daemon) whole(ctx context.Context) error { return d.await(ctx, d.known) }

// await waits for a step of the start.
func (d *Daemon) await(ctx context.Context, step <-chan struct{}) error {
	select {
	case <-step:
		return nil
	default:
	}
	select {
	case <-step:
		return nil
	case <-d.ending:
		return errStopping
	case <-ctx.Done():
		return stillReading(ctx)
	}
}

func stillReading(ctx context.Context) error {
	return &token.Error{Code: token.ErrUnavailable, Message: "tokend is still reading its profiles", Cause: context.Cause(ctx)}
}

// inParallel calls do with each number below n, so many for each processor at a
// time.
func inParallel(n, each int, do func(i int)) {
	var workers sync.WaitGroup
	next := atomic.Int64{}
	for range min(n, each*runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; int(i) < n; i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	workers.Wait()
}
