package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// testChecker is this test's own binary as a checker of cache files.
var testChecker = []string{os.Args[0], "-test.run=^TestCheckerProcess$"}

// TestCheckerProcess is that checker.
func TestCheckerProcess(t *testing.T) {
	path := flag.Arg(0)
	if path == "" {
		return
	}
	err := CheckCache(path)
	if damage := (*DamageError)(nil); errors.As(err, &damage) {
		fmt.Println(err)
		os.Exit(StatusDamaged)
	}
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func wantAside(t *testing.T, path string, n int) {
	t.Helper()
	aside, err := filepath.Glob(path + corruptSuffix + "*")
	must(t, err)
	if len(aside) != n {
		t.Errorf("%d files were put aside, want %d: %q", len(aside), n, aside)
	}
}

func TestCacheIsCheckedBeforeItIsOpened(t *testing.T) {
	path := cachePath(t)
	rec := testRecord("a", "")
	for range 2 { // the second time there is something to check
		c, err := OpenCache(path, testChecker...)
		must(t, err)
		must(t, c.Unseal(testKey))
		must(t, c.Save(rec))
		wantRecords(t, c, rec)
		if said := c.Notices(); len(said) != 0 {
			t.Errorf("notices %q", said)
		}
		must(t, c.Close())
	}
	wantAside(t, path, 0)
}

// deadly is a cache file at which bbolt dies in a goroutine of its own, where
// nothing in the process can catch it: a file without a freelist, whose tree is
// walked at once, and in which that tree is damaged.
func deadly(t *testing.T) []byte {
	t.Helper()
	b := goodCache(t)
	pageSize := os.Getpagesize()
	var root uint64
	for i := range 2 {
		meta := b[i*pageSize+pageHeader:][:metaSize]
		root = u64(meta, 16)
		binary.NativeEndian.PutUint64(meta[32:], ^uint64(0))
		h := fnv.New64a()
		h.Write(meta[:metaSize-8])
		binary.NativeEndian.PutUint64(meta[metaSize-8:], h.Sum64())
		clear(b[int(root)*pageSize+8:][:pageHeader-8])
	}
	return b
}

func TestCacheThatKillsItsReaderIsPutAside(t *testing.T) {
	path := cachePath(t)
	must(t, os.WriteFile(path, deadly(t), 0o600))
	c, err := OpenCache(path, testChecker...)
	must(t, err)
	defer c.Close()
	must(t, c.Unseal(testKey))
	must(t, c.Save(testRecord("a", "")))
	// The check can find the damage too, and end before bbolt's goroutine dies.
	if said := strings.Join(c.Notices(), "\n"); !strings.Contains(said, "was damaged") {
		t.Errorf("notices %q", said)
	}
	wantAside(t, path, 1)
}

func TestCacheCheckVerdicts(t *testing.T) {
	tests := []struct {
		name    string
		checker []string
		aside   int
		notice  string
	}{
		{"damage", []string{"sh", "-c", "echo page 7; exit 65"}, 1, "(page 7)"},
		{"killed", []string{"sh", "-c", "kill -9 $$"}, 1, "killed"},
		{"runtime fault", []string{"sh", "-c", "exit 2"}, 1, "crash"},
		{"no verdict", []string{"false"}, 0, ""},
		{"no checker", []string{"/nonexistent"}, 0, "could not be checked by a process of its own: no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := cachePath(t)
			must(t, os.WriteFile(path, goodCache(t), 0o600))
			c, err := OpenCache(path, tt.checker...)
			must(t, err)
			defer c.Close()
			said := strings.Join(c.Notices(), "\n")
			if !strings.Contains(said, tt.notice) || tt.notice == "" && said != "" {
				t.Errorf("notices %q, want %q", said, tt.notice)
			}
			wantAside(t, path, tt.aside)
		})
	}
}

// A record that somebody cut short is not the file's damage.
func TestCheckerLeavesRecordsToTheirReader(t *testing.T) {
	path := cachePath(t)
	c := openCache(t, path)
	bad, good := testRecord("bad", ""), testRecord("good", "")
	must(t, c.Save(bad, good))
	must(t, c.file.update(func(b *bolt.Bucket) error { return b.Put(c.box.key(bad), []byte("x")) }))
	must(t, c.Close())
	c, err := OpenCache(path, testChecker...)
	must(t, err)
	defer c.Close()
	must(t, c.Unseal(testKey))
	wantRecords(t, c, good)
	wantAside(t, path, 0)
}

// Damage that the checker alone sees is enough, and what the walk alone sees
// too.
func TestCheckerStartsWithRandomDamage(t *testing.T) {
	good := goodCache(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		b := bytes.Clone(good)
		at := rng.IntN(len(b)/4096) * 4096
		for range 4 {
			b[at+rng.IntN(80)] = byte(rng.Uint32())
		}
		path := cachePath(t)
		must(t, os.WriteFile(path, b, 0o600))
		c, err := OpenCache(path, testChecker...)
		must(t, err)
		must(t, c.Unseal(testKey))
		must(t, c.Save(testRecord("new", "")))
		must(t, c.Close())
	}
}

func TestCacheKeepsTheNewestDamagedFilesAlone(t *testing.T) {
	path := cachePath(t)
	for i := range 5 {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "garbage %d", i), 0o600))
		must(t, openCache(t, path).Close())
	}
	aside, err := filepath.Glob(path + corruptSuffix + "*")
	must(t, err)
	if len(aside) != keptAside {
		t.Fatalf("kept %q", aside)
	}
	for i, name := range aside {
		if b, err := os.ReadFile(name); err != nil || string(b) != fmt.Sprintf("garbage %d", i+2) {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
}
