package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/internal/seal"
)

var testKey = token.NewSecret(strings.Repeat("k", seal.KeySize))

func openCache(t testing.TB, path string) *Cache {
	t.Helper()
	c := openLocked(t, path)
	c.box = newRecordBox(testKey)
	return c
}

// openLocked opens a cache that has not read its key.
func openLocked(t testing.TB, path string) *Cache {
	t.Helper()
	c := Val(Open(path, func(context.Context, bool) (token.Secret, error) { return testKey, nil }))
	t.Cleanup(func() { c.Close() })
	return c
}

func cachePath(t testing.TB) string { return filepath.Join(t.TempDir(), "cache.db") }

// testRecord is a record that lives for an hour.
func testRecord(profile, audience string) token.Record {
	now := time.Now().UTC().Truncate(time.Second)
	return token.Record{
		Profile:     profile,
		Target:      token.Target{Scope: "read write", Audience: audience},
		Fingerprint: "f1",
		Token: token.Token{
			Secret:  token.NewSecret("canary-token-" + profile + audience),
			Type:    "Bearer",
			Scope:   "read",
			Issued:  now,
			Expiry:  now.Add(time.Hour),
			RenewAt: now.Add(45 * time.Minute),
			Skew:    -3 * time.Second,
		},
	}
}

func save(c *Cache, records ...token.Record) error { return c.Write(records, nil) }

func manyRecords(n int) []token.Record {
	records := make([]token.Record, n)
	for i := range records {
		records[i] = testRecord(fmt.Sprintf("profile-%d", i%50), fmt.Sprint(i))
	}
	return records
}

func describe(r token.Record) string {
	return fmt.Sprint(r.Profile, r.Target, r.Fingerprint, r.Token.Secret.Reveal(), r.Token.Type, r.Token.Scope,
		r.Token.Issued.UnixNano(), r.Token.Expiry.UnixNano(), r.Token.RenewAt.UnixNano(), r.Token.Skew)
}

func wantRecords(t *testing.T, c *Cache, want ...token.Record) {
	t.Helper()
	got, wanted := describeAll(Val(c.Load(t.Context(), time.Now()))), describeAll(want)
	if !slices.Equal(got, wanted) {
		t.Errorf("loaded %d records, want %d, or others", len(got), len(want))
	}
}

func describeAll(records []token.Record) (texts []string) {
	for _, r := range records {
		texts = append(texts, describe(r))
	}
	slices.Sort(texts)
	return texts
}

// wantAmong checks that a record is among those that are loaded.
func wantAmong(t *testing.T, c *Cache, want token.Record) {
	t.Helper()
	got, err := c.Load(t.Context(), time.Now())
	if err != nil || !slices.Contains(describeAll(got), describe(want)) {
		t.Errorf("%d records and not the new one, %v", len(got), err)
	}
}

func TestCacheGivesBackWhatWasSaved(t *testing.T) {
	path := cachePath(t)
	c := openCache(t, path)
	a, b, other := testRecord("a", ""), testRecord("a", "aud"), testRecord("b", "")
	changed := a
	changed.Fingerprint = "f2"
	odd := testRecord("odd", "")
	odd.Token.Secret = token.NewSecret("\xff\x00odd")
	Must(t, save(c, a, b, other, changed, odd))
	Must(t, c.Write(nil, nil))
	renewed := a
	renewed.Token.Secret = token.NewSecret("renewed")
	Must(t, save(c, renewed))
	wantRecords(t, c, renewed, b, other, changed, odd)

	Must(t, c.Close())
	c = openCache(t, path)
	wantRecords(t, c, renewed, b, other, changed, odd)
	Must(t, c.Write([]token.Record{a}, []token.Record{odd, renewed, testRecord("none", "")}))
	wantRecords(t, c, a, b, other, changed)
	if said := c.Notices(); len(said) != 0 {
		t.Errorf("notices %q", said)
	}
}

func TestCacheDropsWhatExpired(t *testing.T) {
	c := openCache(t, cachePath(t))
	short, long := testRecord("short", ""), testRecord("long", "")
	long.Token.Expiry = long.Token.Expiry.Add(time.Hour)
	Must(t, save(c, short, long))
	got, err := c.Load(t.Context(), short.Token.Expiry)
	if err != nil || len(got) != 1 || got[0].Profile != "long" {
		t.Errorf("%d records, %v", len(got), err)
	}
	wantRecords(t, c, long) // it is gone from the file too
}

func TestCacheIsLockedUntilItHasItsKey(t *testing.T) {
	path := cachePath(t)
	Must(t, openCache(t, path).Close())
	c := openLocked(t, path)
	refuse := error(token.ErrLocked)
	c.key = func(context.Context, bool) (token.Secret, error) { return testKey, refuse }
	WantCode(t, ErrOf(c.Load(t.Context(), time.Now())), token.ErrLocked)
	WantCode(t, save(c, testRecord("a", "")), token.ErrLocked)
	refuse = nil
	wantRecords(t, c)
	Must(t, save(c, testRecord("a", "")))
	Must(t, c.Close())
	Must(t, c.Close())
	WantCode(t, save(c, testRecord("a", "")), token.ErrInternal)
}

func TestCacheUnderAnotherKeyIsEmptyAndSaysSo(t *testing.T) {
	path := cachePath(t)
	c := openCache(t, path)
	Must(t, save(c, testRecord("a", "")))
	Must(t, c.Close())
	c = openLocked(t, path)
	c.key = func(context.Context, bool) (token.Secret, error) { return seal.NewKey(), nil }
	wantRecords(t, c)
	if said := c.Notices(); len(said) != 1 || !strings.Contains(said[0], "1 cached") {
		t.Errorf("notices %q", said)
	}
	Must(t, c.file.do(false, func(b *bolt.Bucket) error {
		if n := b.Stats().KeyN; n != 0 {
			t.Errorf("%d entries in the file", n)
		}
		return nil
	}))
}

// Case 40. What was changed behind our back costs the record it was done to.
func TestCacheRejectsWhatWasTamperedWith(t *testing.T) {
	tests := map[string]func(v1, v2 []byte) (w1, w2 []byte){
		"values swapped":          func(v1, v2 []byte) (_, _ []byte) { return v2, v1 },
		"value under another key": func(v1, _ []byte) (_, _ []byte) { return nil, v1 },
		"bytes flipped": func(v1, v2 []byte) (_, _ []byte) {
			v1[len(v1)-1] ^= 1
			v2[expirySize] ^= 1
			return v1, v2
		},
		"expiry put off": func(v1, v2 []byte) (_, _ []byte) {
			v1[4]++
			v2[0]++
			return v1, v2
		},
		"cut short": func(v1, v2 []byte) (_, _ []byte) { return v1[:len(v1)-1], v2[:3] },
		"emptied":   func(_, _ []byte) (_, _ []byte) { return nil, nil },
	}
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			c := openCache(t, cachePath(t))
			r1, r2, good := testRecord("a", ""), testRecord("b", ""), testRecord("good", "")
			Must(t, save(c, r1, r2, good))
			Must(t, c.file.do(true, func(b *bolt.Bucket) error {
				k1, k2 := c.box.key(r1), c.box.key(r2)
				w1, w2 := tamper(bytes.Clone(b.Get(k1)), bytes.Clone(b.Get(k2)))
				return errors.Join(b.Put(k1, w1), b.Put(k2, w2))
			}))
			wantRecords(t, c, good)
			Must(t, save(c, r1))
			wantRecords(t, c, good, r1)
		})
	}
}

// Case 40, an old file in the place of the newer one.
func TestCacheBringsNothingExpiredBackFromAnOldFile(t *testing.T) {
	path := cachePath(t)
	c := openCache(t, path)
	rec := testRecord("a", "")
	Must(t, save(c, rec))
	Must(t, c.Close())
	Must(t, os.WriteFile(path, Val(os.ReadFile(path)), 0o600))
	if got, err := openCache(t, path).Load(t.Context(), rec.Token.Expiry); err != nil || len(got) != 0 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// An older copy of the file brings back nothing that was dropped since, as a whole
// or entry by entry. Without the keystore the drop is repeated until there is a
// new key.
func TestCacheBringsNothingDroppedBackFromAnOldFile(t *testing.T) {
	path, key, refuse := cachePath(t), testKey, error(nil)
	source := func(_ context.Context, renew bool) (token.Secret, error) {
		if renew && refuse == nil {
			key = seal.NewKey()
		}
		return key, refuse
	}
	c := Val(Open(path, source))
	wantRecords(t, c)
	dropped, kept := testRecord("dropped", ""), testRecord("kept", "")
	Must(t, save(c, dropped, kept))
	old := Val(os.ReadFile(path))
	k, v := c.box.seal(dropped)
	refuse = token.ErrLocked
	WantCode(t, c.Write(nil, []token.Record{dropped}), token.ErrLocked)
	refuse = nil
	wantRecords(t, c, kept)
	Must(t, c.Write(nil, []token.Record{dropped}))
	wantRecords(t, c, kept)
	Must(t, c.file.do(true, func(b *bolt.Bucket) error { return b.Put(k, v) }))
	wantRecords(t, c, kept)
	Must(t, c.Close())

	c = Val(Open(path, source))
	wantRecords(t, c, kept)
	Must(t, c.Close())
	Must(t, os.WriteFile(path, old, 0o600))
	c = Val(Open(path, source))
	defer c.Close()
	wantRecords(t, c)
}

func TestCacheShowsNoNamesAndNoTokens(t *testing.T) {
	path := cachePath(t)
	c := openCache(t, path)
	rec := testRecord("canary-profile", "canary-audience")
	rec.Target.Scope, rec.Fingerprint = "canary-scope", "canary-fingerprint"
	Must(t, save(c, rec))
	Must(t, c.Close())
	NoCanary(t, filepath.Dir(path), "canary", "Bearer", testKey.Reveal())
}

// Case 42.
func TestCacheHeldByAnotherFailsInTime(t *testing.T) {
	t.Parallel()
	path := cachePath(t)
	openCache(t, path)
	began := time.Now()
	WantCode(t, ErrOf(Open(path, nil)), token.ErrExists)
	if took := time.Since(began); took < lockWait || took > 2*lockWait {
		t.Errorf("it took %v", took)
	}
}

func TestCacheOpensNothingButARegularFile(t *testing.T) {
	dir := t.TempDir()
	Must(t, os.WriteFile(filepath.Join(dir, "real"), nil, 0o600))
	Must(t, os.Symlink("real", filepath.Join(dir, "link")))
	Must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	for _, name := range []string{"link", "dir", "none/cache.db"} {
		c := openCache(t, filepath.Join(dir, name))
		if err := save(c, testRecord("a", "")); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*corrupt*")); err != nil || len(left) != 0 {
		t.Errorf("put aside: %q, %v", left, err)
	}
}

// goodCache returns the bytes of a file with records in it.
func goodCache(t *testing.T) []byte {
	t.Helper()
	path := cachePath(t)
	c := openCache(t, path)
	Must(t, c.Write(manyRecords(60), nil))
	Must(t, c.Close())
	b := Val(os.ReadFile(path))
	return b
}

// startsWith checks that a daemon starts with this file, whatever is in it,
// and that no damaged file is thrown away.
func startsWith(t *testing.T, content []byte) {
	t.Helper()
	path := cachePath(t)
	Must(t, os.WriteFile(path, content, 0o600))
	began := time.Now()
	c := openCache(t, path)
	_, err := c.Load(t.Context(), time.Now())
	rec := testRecord("new", "")
	if err = errors.Join(err, save(c, rec)); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	wantAmong(t, c, rec)
	_, aside := os.Stat(path + corruptSuffix)
	said := strings.Join(c.Notices(), "\n")
	if strings.Contains(said, "damaged") != (aside == nil) {
		t.Errorf("put aside: %v, said %q", aside, said)
	}
	Must(t, c.Close())
}

// Case 36, the files that are no caches.
func TestCacheStartsWithAnyFile(t *testing.T) {
	good := goodCache(t)
	random := make([]byte, 64<<10)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(random)
	files := map[string][]byte{
		"good": good, "empty": {}, "one byte": {0}, "zeros": make([]byte, 32<<10), "random": random,
		"text": []byte(strings.Repeat("not a database\n", 4000)), "short text": []byte("no\n"),
	}
	for i := range 8 {
		n := len(good) * (i + 1) / 9
		files[fmt.Sprintf("truncated to %d", n)] = good[:n]
		b := bytes.Clone(good)
		clear(b[i*4096 : min(len(b), (i+1)*4096)])
		files[fmt.Sprintf("page %d zeroed", i)] = b
	}
	for _, size := range []uint32{0, 3, 512, 1 << 13, 1 << 16, 1 << 31} {
		resize := func(pages ...int) []byte {
			return remeta(good, func(page int, meta []byte) {
				if slices.Contains(pages, page) {
					binary.NativeEndian.PutUint32(meta[8:], size)
				}
			})
		}
		files[fmt.Sprintf("page size %d", size)] = resize(0, 1)
		files[fmt.Sprintf("second page size %d", size)] = resize(1)
		files[fmt.Sprintf("only page size %d", size)] = append(make([]byte, 4096), resize(1)[4096:]...)
	}
	for name, content := range files {
		t.Run(name, func(t *testing.T) { startsWith(t, content) })
	}
}

// Case 36, 300 times. Damage of a page's first bytes, where its lengths and links are, and of a
// page that was written to the wrong place, is what bbolt does not survive.
func TestCacheStartsWithRandomDamage(t *testing.T) {
	const pageSize = 4096
	good := goodCache(t)
	rng := rand.New(rand.NewPCG(1, 2))
	anyPage := func(b []byte) []byte {
		at := rng.IntN(len(b)/pageSize) * pageSize
		return b[at : at+pageSize]
	}
	scribble := func(b []byte, n int) {
		at := rng.IntN(len(b))
		for i := at; i < min(len(b), at+1+rng.IntN(n)); i++ {
			b[i] = byte(rng.Uint32())
		}
	}
	for i := range times(300) {
		b := bytes.Clone(good)
		switch i % 3 {
		case 0:
			scribble(b, 64)
		case 1:
			scribble(anyPage(b)[:80], 8)
		case 2:
			copy(anyPage(b), anyPage(good))
		}
		startsWith(t, b)
	}
}

// remeta changes both meta pages of a good file, which then have the right
// checksums.
func remeta(good []byte, change func(page int, meta []byte)) []byte {
	b := bytes.Clone(good)
	for page := range 2 {
		meta := b[page*os.Getpagesize()+pageHeader:][:metaSize]
		change(page, meta)
		h := fnv.New64a()
		h.Write(meta[:metaSize-8])
		binary.NativeEndian.PutUint64(meta[metaSize-8:], h.Sum64())
	}
	return b
}

// bbolt would die of this file in a goroutine of its own, where nothing in the
// process can catch it: it has no freelist, so bbolt walks its tree at once, and
// that tree is damaged.
func TestCacheThatKillsItsReaderIsPutAside(t *testing.T) {
	path := cachePath(t)
	Must(t, os.WriteFile(path, remeta(goodCache(t), func(_ int, meta []byte) {
		binary.NativeEndian.PutUint64(meta[32:], ^uint64(0))
	}), 0o600))
	c := openCache(t, path)
	Must(t, save(c, testRecord("a", "")))
	if said := strings.Join(c.Notices(), "\n"); !strings.Contains(said, "was damaged (page 18446744073709551615 of ") {
		t.Errorf("notices %q", said)
	}
}

func TestCacheKeepsTheNewestDamagedFile(t *testing.T) {
	path := cachePath(t)
	for i := range 3 {
		Must(t, os.WriteFile(path, fmt.Appendf(nil, "garbage %d", i), 0o600))
		Must(t, openCache(t, path).Close())
	}
	if b, err := os.ReadFile(path + corruptSuffix); err != nil || string(b) != "garbage 2" {
		t.Errorf("%q, %v", b, err)
	}
}

// overwriteAPage writes garbage over a part of a page, its header at least.
func overwriteAPage(rng *rand.Rand, path string) error {
	const pageSize = 4096
	garbage := make([]byte, 16+rng.IntN(pageSize-16))
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	f := Val(os.OpenFile(path, os.O_WRONLY, 0))
	_, err := f.WriteAt(garbage, pageSize*rng.Int64N(Val(f.Stat()).Size()/pageSize))
	return errors.Join(err, f.Close())
}

// times is how often a test repeats what chance decides.
func times(n int) int {
	if os.Getenv("TOKEND_TEST_LONG") != "" {
		return 3000
	}
	return n
}

// Case 37.
func TestCacheOutlivesWhatIsDoneToItsFile(t *testing.T) {
	harm := map[string]func(path string) error{
		"truncated to 0":     func(path string) error { return os.Truncate(path, 0) },
		"truncated to 1":     func(path string) error { return os.Truncate(path, 1) },
		"truncated to 4096":  func(path string) error { return os.Truncate(path, 4096) },
		"truncated to 8192":  func(path string) error { return os.Truncate(path, 8192) },
		"truncated to 20000": func(path string) error { return os.Truncate(path, 20000) },
		"a terabyte long":    func(path string) error { return os.Truncate(path, 1<<40) },
		"deleted":            os.Remove,
		"mode 000":           func(path string) error { return os.Chmod(path, 0) },
		"replaced by garbage": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("garbage"), 0o600), os.Rename(path+".new", path))
		},
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range times(60) {
		harm[fmt.Sprint("page overwritten ", i)] = func(path string) error { return overwriteAPage(rng, path) }
	}
	for name, do := range harm {
		t.Run(name, func(t *testing.T) {
			path := cachePath(t)
			c := openCache(t, path)
			Must(t, c.Write(manyRecords(60), nil))
			Must(t, do(path))
			rec := testRecord("new", "")
			Must(t, save(c, rec))
			Must(t, save(c, rec))
			if _, err := c.Load(t.Context(), time.Now()); err != nil {
				t.Error(err)
			}
			Must(t, save(c, rec)) // Load may have been the one to notice
			if said := c.Notices(); len(said) > 2 || len(said) == 0 && strings.HasPrefix(name, "page") {
				t.Errorf("notices %q", said)
			}
			Must(t, c.Close())
			Must(t, os.Chmod(path, 0o600))
			wantAmong(t, openCache(t, path), rec)
		})
	}
}

// A start that finds damage must not put aside the fresh file of another start.
func TestCachePutsAsideOnlyTheFileThatWasDamaged(t *testing.T) {
	path := cachePath(t)
	Must(t, os.WriteFile(path, []byte("garbage"), 0o600))
	damaged := Val(os.Stat(path))
	Must(t, os.Rename(path, path+corruptSuffix))
	Must(t, os.WriteFile(path, []byte("fresh"), 0o600))
	c := &Cache{path: path}
	Must(t, c.quarantine(&damageError{"garbage", damaged}))
	if b, err := os.ReadFile(path); err != nil || string(b) != "fresh" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	c := openCache(t, cachePath(t))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				rec := testRecord(fmt.Sprint("p", i), fmt.Sprint(j))
				err := errors.Join(save(c, rec), ErrOf(c.Load(t.Context(), time.Now())))
				if j%2 == 0 {
					err = errors.Join(err, c.Write(nil, []token.Record{rec}))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := c.Load(t.Context(), time.Now()); err != nil || len(got) != 40 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func FuzzCacheRecord(f *testing.F) {
	box := newRecordBox(testKey)
	rec := testRecord("a", "b")
	// The same in each of the processes that share a corpus.
	rec.Token.Issued, rec.Token.Expiry, rec.Token.RenewAt = time.Unix(1e9, 0).UTC(), time.Unix(2e9, 0).UTC(), time.Unix(15e8, 0).UTC()
	key, value := box.seal(rec)
	f.Add(key, value)
	f.Add([]byte{}, []byte{})
	f.Add(key, value[:expirySize])
	f.Fuzz(func(t *testing.T, k, v []byte) {
		if got, err := box.open(k, v); err == nil && describe(got) != describe(rec) {
			t.Error("a made-up record opened")
		}
	})
}

func FuzzPlainRecord(f *testing.F) {
	f.Add(plainRecord(testRecord("a", "b")))
	f.Add(plainRecord(token.Record{}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}) // a length of 2^64-1
	f.Fuzz(func(t *testing.T, plain []byte) {
		rec, err := parseRecord(plain)
		if err != nil {
			return
		}
		again, err := parseRecord(plainRecord(rec))
		if err != nil || describe(again) != describe(rec) {
			t.Errorf("%v; %s became %s", err, describe(rec), describe(again))
		}
	})
}

func TestARecordIsReadWholeOrNotAtAll(t *testing.T) {
	full := testRecord("a", "b")
	full.Token.Issued = full.Token.Issued.Add(123456789 * time.Nanosecond)
	for _, rec := range []token.Record{full, {}} {
		plain := plainRecord(rec)
		got, err := parseRecord(plain)
		if err != nil || describe(got) != describe(rec) || got.Token.RenewAt.IsZero() != rec.Token.RenewAt.IsZero() {
			t.Errorf("%v; %s became %s", err, describe(rec), describe(got))
		}
		for n := range plain {
			if _, err := parseRecord(plain[:n]); err == nil {
				t.Errorf("%d of %d bytes are a record", n, len(plain))
			}
		}
		if _, err := parseRecord(append(plain, 0)); err == nil {
			t.Error("a record with something behind it")
		}
	}
}

func faultIn(pages []byte) error {
	return new(file).guard(func() error { checkPages(pages); return nil })
}

func FuzzCachePages(f *testing.F) {
	path := cachePath(f)
	c := openCache(f, path)
	Must(f, errors.Join(c.Write(manyRecords(12), nil), c.Close()))
	good := Val(os.ReadFile(path))
	Must(f, faultIn(good))
	// Damage of a page: its number and what its first bytes become.
	f.Add(uint8(0), []byte{})
	f.Add(uint8(2), bytes.Repeat([]byte{0xff}, 64))
	f.Add(uint8(3), make([]byte, 64))
	f.Fuzz(func(t *testing.T, page uint8, with []byte) {
		b := bytes.Clone(good)
		copy(b[min(int(page)*os.Getpagesize(), len(b)):], with)
		if faultIn(b) != nil {
			return
		}
		startsWith(t, b)
	})
}

func benchmarkRecords(n int) []token.Record {
	records := manyRecords(n)
	for i := range records {
		records[i].Token.Secret = token.NewSecret(strings.Repeat("t", 2000))
	}
	return records
}

func BenchmarkSave(b *testing.B) {
	c, records := openCache(b, cachePath(b)), benchmarkRecords(1)
	for b.Loop() {
		Must(b, c.Write(records, nil))
	}
}

func BenchmarkLoad(b *testing.B) {
	c := openCache(b, cachePath(b))
	Must(b, c.Write(benchmarkRecords(10_000), nil))
	for b.Loop() {
		if got, err := c.Load(b.Context(), time.Now()); err != nil || len(got) != 10_000 {
			b.Fatal(len(got), err)
		}
	}
}

// What sealing and opening cost of that: the rest is the disk's.
func BenchmarkSeal(b *testing.B) {
	box, record := newRecordBox(testKey), benchmarkRecords(1)[0]
	for b.Loop() {
		if _, err := box.open(box.seal(record)); err != nil {
			b.Fatal(err)
		}
	}
}
