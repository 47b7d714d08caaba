package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tokend/providers/token"
	"tokend/store/cache"
	"tokend/store/internal/seal"
)

// What a killed process had saved is there, every start is clean, and no
// credential is ever half of one.
func TestKillAtAnyMoment(t *testing.T) {
	const env = "TOKEND_STORE_TEST_KILL"
	if dir := os.Getenv(env); dir != "" {
		saveForEver(t, dir)
		return
	}
	dir := t.TempDir()
	must(t, NewKeyFile(filepath.Join(dir, "kek")))
	for round := range 20 {
		cmd := child(t, env, dir)
		out := val(cmd.StdoutPipe())
		must(t, cmd.Start())
		// The moment of the kill differs from round to round.
		lines := bufio.NewScanner(out)
		saved := -1
		for lines.Scan() {
			text, ok := strings.CutPrefix(lines.Text(), "saved ")
			if !ok {
				continue
			}
			n := val(strconv.Atoi(text))
			if saved = n; n == 3+round%7 {
				time.AfterFunc(time.Duration(round)*200*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait() // says that it was killed
		if saved < 3 {
			t.Fatalf("the child saved %d", saved)
		}

		c, creds := openBoth(t, dir)
		if said := c.Notices(); len(said) != 0 {
			t.Errorf("notices %q", said)
		}
		got := val(c.Load(t.Context(), time.Now()))
		if len(got) != 1 || len(c.Notices()) != 0 {
			t.Fatalf("%d records", len(got))
		}
		if n := numberOf(t, got[0].Token.Secret); n < saved {
			t.Errorf("token %d is there, and %d was saved", n, saved)
		}
		key := val(secretOf(t, creds, "clms", "private_key"))
		id := val(secretOf(t, creds, "clms", "client_id"))
		if a, b := numberOf(t, key), numberOf(t, id); a != b || a < saved {
			t.Errorf("key %d, id %d, and %d was stored", a, b, saved)
		}
		must(t, c.Close())
	}
	_, creds := openBoth(t, dir)
	must(t, errOf(creds.Put(t.Context(), "clms", secretsOf("k", "i"), bare)))
	if files, err := os.ReadDir(filepath.Join(dir, "sealed")); err != nil || len(files) != 2 {
		t.Errorf("%d sealed files are left of all credentials, %v", len(files), err)
	}
}

// openCache opens a cache, and reads its key.
func openCache(t *testing.T, path string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(path, func(context.Context, bool) (token.Secret, error) {
		return token.NewSecret(strings.Repeat("k", seal.KeySize)), nil
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, errOf(c.Load(t.Context(), time.Now())))
	return c
}

func testRecord(secret string) token.Record {
	return token.Record{Profile: "clms", Token: token.Token{Secret: token.NewSecret(secret), Expiry: time.Now().Add(time.Hour)}}
}

func openBoth(t *testing.T, dir string) (*cache.Cache, *Credentials) {
	t.Helper()
	kek := val(readKey(filepath.Join(dir, "kek"), 0o077))
	sealed := openSealed(t, filepath.Join(dir, "sealed"), kek)
	return openCache(t, filepath.Join(dir, "cache.db")), NewCredentials(filepath.Join(dir, "credentials"), sealed)
}

// saveForEver saves and stores ever higher numbers, and says which are done.
func saveForEver(t *testing.T, dir string) {
	c, creds := openBoth(t, dir)
	for n := range 10_000 {
		text := fmt.Sprint("number ", n)
		must(t, c.Write([]token.Record{testRecord(text)}, nil))
		must(t, errOf(creds.Put(t.Context(), "clms", secretsOf(text, text), bare)))
		fmt.Println("saved", n)
	}
}

func numberOf(t *testing.T, s token.Secret) int {
	t.Helper()
	n := val(strconv.Atoi(strings.TrimPrefix(s.Reveal(), "number ")))
	return n
}

func TestNothingIsOpenToOthersWhateverTheUmask(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	state, choice := filepath.Join(dir, "state"), sealedChoice(t)
	i := val(Setup(t.Context(), state, choice, token.Secret{}))
	ks := val(i.Open(state))
	creds := NewCredentials(filepath.Join(state, "credentials"), ks)
	must(t, errOf(creds.Put(t.Context(), "clms", secretsOf("k", "i"), bare)))
	c := openCache(t, filepath.Join(state, "cache.db"))
	must(t, c.Write([]token.Record{testRecord("a")}, nil))
	must(t, os.Truncate(filepath.Join(state, "cache.db"), 0))
	must(t, c.Write([]token.Record{testRecord("a")}, nil)) // with a file put aside
	wantModes(t, dir)
	wantModes(t, choice.KeyFile)

	must(t, c.Close())
	must(t, os.Chmod(filepath.Join(state, "cache.db"), 0o666))
	openCache(t, filepath.Join(state, "cache.db"))
	wantModes(t, dir)
}
