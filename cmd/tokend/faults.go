package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"time"

	"tokend/store"
)

// faultsEvery is how often tokend looks for what is wrong around it.
var faultsEvery = 10 * time.Second // less in tests

// repeat calls do every faultsEvery until ctx ends.
func repeat(ctx context.Context, do func()) {
	for tick := time.Tick(faultsEvery); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			do()
		}
	}
}

// watchFaults logs what is wrong with tokend's surroundings, and when it is right
// again, until ctx ends.
func (w *deps) watchFaults(ctx context.Context) {
	var before []string
	look := func() {
		now := w.Faults()
		for _, text := range now {
			if !slices.Contains(before, text) {
				w.Log.Warn("needs attention", "warning", text)
			}
		}
		for _, text := range before {
			if !slices.Contains(now, text) {
				w.Log.Info("needs no attention any more", "warning", text)
			}
		}
		before = now
	}
	look()
	repeat(ctx, look)
}

// watchState returns what finds out that the state directory is another one than
// now. That one stays open, so that none can get its identity.
func watchState(dir string, now func() store.KeystoreConfig) (fault func() string) {
	open, err := os.Open(dir)
	if err != nil {
		return func() string { return "" }
	}
	return func() string {
		was, _ := open.Stat()
		is, err := os.Stat(dir)
		config, configErr := store.ReadKeystoreConfig(dir)
		if errors.Join(err, configErr) == nil && os.SameFile(is, was) && config.ID == now().ID {
			return ""
		}
		return fmt.Sprintf("the state directory %s was moved, removed or restored while tokend runs: put it back, or restart tokend", dir)
	}
}

var errSocketGone = errors.New("the socket is gone")

// watchSocket calls gone when the socket's file is removed or replaced. One that
// was not there, such as that of another mount namespace, is not watched.
func watchSocket(ctx context.Context, path string, gone context.CancelCauseFunc) {
	was, err := os.Lstat(path)
	if err != nil || runtime.GOOS == "windows" { // whose pipes are no files
		return
	}
	repeat(ctx, func() {
		if now, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(was, now) {
			gone(errSocketGone)
		}
	})
}
