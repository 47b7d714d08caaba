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

// watchFaults logs what is wrong with tokend's surroundings, and when it is right
// again, until ctx ends. settle is called each time.
func (w *deps) watchFaults(ctx context.Context, settle func()) {
	tick := time.NewTicker(faultsEvery)
	defer tick.Stop()
	for before := []string(nil); ; {
		settle()
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
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// findFaults returns what each of the given finds wrong.
func findFaults(all ...func() string) func() []string {
	return func() (texts []string) {
		for _, find := range all {
			if text := find(); text != "" {
				texts = append(texts, text)
			}
		}
		return texts
	}
}

// watchState finds out that the state directory is another one than at the start.
// The one of the start stays open, so that none can get its identity.
func watchState(dir string, now func() store.KeystoreConfig) (fault func() string, closer func() error) {
	open, err := os.Open(dir)
	if err != nil {
		return func() string { return "" }, func() error { return nil }
	}
	was, _ := open.Stat()
	return func() string {
		info, err := os.Stat(dir)
		var config store.KeystoreConfig
		if err == nil && os.SameFile(info, was) {
			config, err = store.ReadKeystoreConfig(dir)
		}
		if err == nil && config.ID == now().ID {
			return ""
		}
		return fmt.Sprintf("the state directory %s was moved, removed or restored while tokend runs: put it back, or restart tokend", dir)
	}, open.Close
}

var errSocketGone = errors.New("the socket is gone")

// watchSocket calls gone when the socket's file is removed or replaced. One that
// was not there, such as that of another mount namespace, is not watched.
func watchSocket(ctx context.Context, path string, gone context.CancelCauseFunc) {
	was, err := os.Lstat(path)
	if err != nil || runtime.GOOS == "windows" { // whose pipes are no files
		return
	}
	tick := time.NewTicker(faultsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(was, now) {
			gone(errSocketGone)
			return
		}
	}
}
