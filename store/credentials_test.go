package store

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// bare is a credential of which nothing else is known.
var bare token.Credential

func secretsOf(key, id string) map[string]token.Secret {
	return map[string]token.Secret{"private_key": token.NewSecret(key), "client_id": token.NewSecret(id)}
}

// wantWhole checks that the current credential is one of the sets, as a whole.
func wantWhole(t *testing.T, c *Credentials, profile string, sets ...map[string]token.Secret) {
	t.Helper()
	key, err := secretOf(t, c, profile, "private_key")
	id, idErr := secretOf(t, c, profile, "client_id")
	err = errors.Join(err, idErr)
	if err != nil || !slices.ContainsFunc(sets, func(set map[string]token.Secret) bool {
		return key.Equal(set["private_key"]) && id.Equal(set["client_id"])
	}) {
		t.Errorf("the credential is a mixture: %v", err)
	}
}

// wantOnly checks that the keystore holds the current credential and no more.
func wantOnly(t *testing.T, m *memory, c *Credentials, profile string) {
	t.Helper()
	cred, err := c.Current(profile)
	if err != nil && !errors.Is(err, token.ErrNotFound) {
		t.Error(err)
	}
	have := slices.Sorted(maps.Keys(m.values))
	var want []string
	for _, field := range cred.Fields {
		want = append(want, cred.Account(field))
	}
	if !slices.Equal(have, want) {
		t.Errorf("the keystore holds %q, current is %q", have, want)
	}
}

func TestCredentialIsKeptReplacedAndDeleted(t *testing.T) {
	m := newMemory()
	c := NewCredentials(filepath.Join(t.TempDir(), "credentials"), m)
	WantCode(t, ErrOf(c.Current("clms")), token.ErrNotFound)

	about := token.Credential{Expires: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), Settings: map[string]any{"client_id": "c1"}}
	first := Val(c.Put(t.Context(), "clms", secretsOf("k1", "i1"), about))
	if !regexp.MustCompile("^clms/client_id/[0-9]{8}-[0-9a-f]{8}-[0-9a-f]{32}$").MatchString(first.Account("client_id")) {
		t.Errorf("account %q", first.Account("client_id"))
	}
	if current := Val(c.Current("clms")); !reflect.DeepEqual(current, first) || !current.Expires.Equal(about.Expires) || current.Settings["client_id"] != "c1" {
		t.Errorf("current %+v, stored %+v", current, first)
	}
	wantWhole(t, c, "clms", secretsOf("k1", "i1"))
	WantCode(t, ErrOf(secretOf(t, c, "clms", "password")), token.ErrNotFound)

	second := Val(c.Put(t.Context(), "clms", map[string]token.Secret{"client_secret": token.NewSecret("s")}, bare))
	if current := Val(c.Current("clms")); current.ID != second.ID || !current.Expires.IsZero() || len(current.Settings) != 0 {
		t.Errorf("current %+v", current)
	}
	wantOnly(t, m, c, "clms")

	for range 2 {
		Must(t, c.Delete(t.Context(), "clms"))
		wantOnly(t, m, c, "clms")
	}
	WantCode(t, ErrOf(secretOf(t, c, "clms", "client_secret")), token.ErrNotFound)
}

// Whatever call to the keystore is the last one before it fails or the process
// dies: the credential is the old or the new one, and no litter outlives the
// next Put or Delete.
func TestCredentialIsWholeWhereverAPutEnds(t *testing.T) {
	before, after := secretsOf("k1", "i1"), secretsOf("k2", "i2")
	for _, dies := range []bool{false, true} {
		for calls, done := 0, false; !done; calls++ {
			m, dir := newMemory(), t.TempDir()
			Must(t, ErrOf(NewCredentials(dir, m).Put(t.Context(), "clms", before, bare)))

			m.err, m.after, m.dies = token.ErrLocked, calls, dies
			c := NewCredentials(dir, m)
			var cred token.Credential
			var err error
			untilDeath(func() { cred, err = c.Put(t.Context(), "clms", after, bare) })
			done = m.after > 0
			m.err = nil

			c = NewCredentials(dir, m)
			switch {
			case dies:
				wantWhole(t, c, "clms", before, after)
			case err != nil:
				wantWhole(t, c, "clms", before)
			default:
				wantWhole(t, c, "clms", after)
				if current := Val(c.Current("clms")); current.ID != cred.ID {
					t.Errorf("%d calls: current is %q, Put said %q", calls, current.ID, cred.ID)
				}
			}
			if calls%2 == 0 {
				_, err = c.Put(t.Context(), "clms", before, bare)
			} else {
				err = c.Delete(t.Context(), "clms")
			}
			Must(t, err)
			wantOnly(t, m, c, "clms")
		}
	}
}

// untilDeath calls f, which may end in a death.
func untilDeath(f func()) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(death); !ok {
				panic(p)
			}
		}
	}()
	f()
}

func TestCredentialOutlivesALockedKeyring(t *testing.T) {
	for _, code := range []token.Code{token.ErrLocked, token.ErrKeystore} {
		m := newMemory()
		c := NewCredentials(t.TempDir(), m)
		Must(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k1", "i1"), bare)))
		m.err = code
		WantCode(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k2", "i2"), bare)), code)
		WantCode(t, c.Delete(t.Context(), "clms"), code)
		WantCode(t, ErrOf(secretOf(t, c, "clms", "client_id")), code)
		if _, err := c.Current("clms"); err != nil {
			t.Error(err)
		}
		m.err = nil
		wantWhole(t, c, "clms", secretsOf("k1", "i1"))
		Must(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k3", "i3"), bare)))
		wantOnly(t, m, c, "clms")
	}
}

func TestCredentialDeleteThatWasCutShortIsFinishedByTheNext(t *testing.T) {
	for calls, done := 0, false; !done; calls++ {
		m := newMemory()
		c := NewCredentials(t.TempDir(), m)
		Must(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k1", "i1"), bare)))
		m.err, m.after = token.ErrLocked, calls
		_ = c.Delete(t.Context(), "clms")
		done = m.after > 0
		m.err = nil
		Must(t, c.Delete(t.Context(), "clms"))
		wantOnly(t, m, c, "clms")
	}
}

// Put notices a keystore that keeps something else than it was given, before
// tokenctl says that you can delete the key file.
func TestCredentialThatDoesNotComeBackIsNotKept(t *testing.T) {
	m := newMemory()
	c := NewCredentials(t.TempDir(), forgetful{m})
	WantCode(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k1", "i1"), bare)), token.ErrNotFound)
	WantCode(t, ErrOf(c.Current("clms")), token.ErrNotFound)
}

type forgetful struct{ *memory }

func (f forgetful) Set(context.Context, string, token.Secret) error { return nil }

func TestCredentialReadersSeeEveryReplacementWhole(t *testing.T) {
	m := newMemory()
	c := NewCredentials(t.TempDir(), m)
	Must(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k", "i"), bare)))
	done := make(chan error)
	go func() {
		var err error
		for range 20 {
			err = errors.Join(err, ErrOf(c.Put(t.Context(), "clms", secretsOf("k", "i"), bare)))
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			Must(t, err)
			return
		default:
			if s, err := secretOf(t, c, "clms", "private_key"); err != nil || s.Reveal() != "k" {
				t.Fatal(err)
			}
		}
	}
}

func TestCredentialRecordThatIsDamagedNamesItsFile(t *testing.T) {
	dir := t.TempDir()
	m := newMemory()
	c := NewCredentials(dir, m)
	Must(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k", "i"), bare)))
	Must(t, os.WriteFile(filepath.Join(dir, "clms.toml"), []byte("id = [\n"), 0o600))
	WantCode(t, ErrOf(c.Current("clms")), token.ErrKeystore, "clms.toml")
	WantCode(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k", "i"), bare)), token.ErrKeystore)
	if len(m.values) != 2 {
		t.Error("secrets that may be current were touched")
	}
}

// A new credential may have to be registered somewhere first. The old one stays
// current until then, and nothing is left behind either way.
func TestPendingCredential(t *testing.T) {
	m := newMemory()
	c := NewCredentials(filepath.Join(t.TempDir(), "credentials"), m)
	WantCode(t, c.Promote(t.Context(), "p"), token.ErrNotFound)
	old := Val(c.Put(t.Context(), "p", secretsOf("k1", "i1"), bare))
	WantCode(t, c.Abandon(t.Context(), "p"), token.ErrNotFound)

	Must(t, ErrOf(c.PutPending(t.Context(), "p", secretsOf("k2", "i2"), bare)))
	second := Val(c.PutPending(t.Context(), "p", secretsOf("k3", "i3"), token.Credential{Settings: map[string]any{"public_key": "3"}}))
	if len(m.values) != 4 {
		t.Errorf("the keystore holds %d secrets, want those of the current and the pending credential", len(m.values))
	}
	wantWhole(t, c, "p", secretsOf("k1", "i1"))
	if current, pending, err := c.Kept("p"); err != nil || current.ID != old.ID || pending.ID != second.ID || pending.Settings["public_key"] != "3" {
		t.Errorf("current %+v, pending %+v, %v", current, pending, err)
	}
	Must(t, c.Promote(t.Context(), "p"))
	if current, pending, err := c.Kept("p"); err != nil || current.ID != second.ID || pending.ID != "" || current.Settings["public_key"] != "3" {
		t.Errorf("current %+v, pending %+v, %v", current, pending, err)
	}
	wantWhole(t, c, "p", secretsOf("k3", "i3"))
	wantOnly(t, m, c, "p")

	Must(t, ErrOf(c.PutPending(t.Context(), "p", secretsOf("k4", "i4"), bare)))
	Must(t, c.Abandon(t.Context(), "p"))
	wantWhole(t, c, "p", secretsOf("k3", "i3"))
	wantOnly(t, m, c, "p")

	Must(t, ErrOf(c.PutPending(t.Context(), "p", secretsOf("k5", "i5"), bare)))
	Must(t, c.Delete(t.Context(), "p"))
	if len(m.values) != 0 {
		t.Errorf("Delete left %d secrets", len(m.values))
	}
}

// Which credential is current is read, or is an error in a line.
func FuzzCredentialRecord(f *testing.F) {
	f.Add([]byte("profile = \"a\"\nid = \"20261123-7f3a91c2\"\nfields = [\"private_key\"]\nstored = 2026-11-23T08:00:00Z\n[settings]\nclient_id = \"x\"\n"))
	f.Add([]byte("[pending]\nid = \"b\"\n[[leftover]]\nid = \"c\"\nfields = []\n"))
	f.Add([]byte("id = 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := NewCredentials(t.TempDir(), nil)
		Must(t, os.WriteFile(c.path("a"), text, 0o600))
		current, pending, err := c.Kept("a")
		if err != nil {
			WantCode(t, err, token.ErrKeystore)
		}
		for _, got := range []token.Credential{current, pending} {
			if (err != nil || got.Profile != "a") && got.ID != "" {
				t.Fatalf("%+v", got)
			}
		}
	})
}

// Wherever a copy ends early, the credential that it was made of stays whole, and
// the next copy completes.
func TestACopyThatIsInterrupted(t *testing.T) {
	for after := range 12 {
		m := newMemory()
		c := NewCredentials(filepath.Join(t.TempDir(), "credentials"), m)
		Val(c.Put(t.Context(), "old", secretsOf("k1", "i1"), bare))
		Val(c.PutPending(t.Context(), "old", secretsOf("k2", "i2"), bare))
		m.err, m.after = errors.New("interrupted"), after
		err := c.Copy(t.Context(), "old", "new")
		m.err = nil
		wantWhole(t, c, "old", secretsOf("k1", "i1"))
		if (err != nil) != (len(c.Others([]string{"old"})) == 0) {
			t.Errorf("after %d steps: %v, and there is %q", after, err, c.Others([]string{"old"}))
		}
		Must(t, c.Copy(t.Context(), "old", "new"))
		Must(t, c.Delete(t.Context(), "old"))
		wantWhole(t, c, "new", secretsOf("k1", "i1"))
		Must(t, c.Promote(t.Context(), "new"))
		wantOnly(t, m, c, "new")
	}
}
