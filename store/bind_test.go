package store

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// alter changes the record of a profile as another program would.
func alter(t *testing.T, c *Credentials, profile string, change func(text string) string) {
	t.Helper()
	text := string(Val(os.ReadFile(c.path(profile))))
	changed := change(text)
	if changed == text {
		t.Fatalf("the record is as it was:\n%s", text)
	}
	Must(t, os.WriteFile(c.path(profile), []byte(changed), 0o600))
}

// Case 74. A record that was altered while tokend did not run is refused, however
// it was done, and so is one of an older form. The way out is another Put.
func TestAlteredRecordOfACredentialIsRefused(t *testing.T) {
	settings := map[string]any{"client_id": "c", "base_url": "https://issuer.example", "scopes": []string{"a"}, "leeway": 3}
	digest := regexp.MustCompile("-[0-9a-f]{32}'")
	unbound := func(text string) string { return digest.ReplaceAllString(text, "'") }
	evil := func(text string) string { return strings.Replace(text, "issuer.example", "evil.example", 1) }
	for name, change := range map[string]func(string) string{
		"a setting more":     func(text string) string { return text + "authority = 'https://evil.example'\n" },
		"another setting":    evil,
		"a setting less":     func(text string) string { return strings.Replace(text, "leeway = 3\n", "", 1) },
		"a field less":       func(text string) string { return strings.Replace(text, "'client_id', ", "", 1) },
		"an expiry":          func(text string) string { return "expires = 2036-01-01T00:00:00Z\n" + text },
		"without its digest": unbound,
		"both":               func(text string) string { return evil(unbound(text)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			c := NewCredentials(filepath.Join(t.TempDir(), "credentials"), m)
			Must(t, ErrOf(c.Bind(t.Context())))
			Must(t, ErrOf(c.Put(t.Context(), "p", secretsOf("k", "i"), token.Credential{Settings: settings})))
			wantWhole(t, c, "p", secretsOf("k", "i"))
			alter(t, c, "p", change)
			_, err := c.Current("p")
			WantCode(t, err, token.ErrKeystore, "tokenctl rotate p")
			wantTopic(t, err, token.ErrKeystore, "credential-altered")
			Must(t, os.Remove(filepath.Join(c.dir, boundNote))) // as before an upgrade
			Must(t, ErrOf(c.Bind(t.Context())))
			WantCode(t, ErrOf(c.Current("p")), token.ErrKeystore)
			Must(t, ErrOf(c.Put(t.Context(), "p", secretsOf("k2", "i2"), bare)))
			wantWhole(t, c, "p", secretsOf("k2", "i2"))
			alter(t, c, "p", func(text string) string { return text + "[settings]\nbase_url = 'https://evil.example'\n" })
			Must(t, c.Delete(t.Context(), "p"))
		})
	}
}

// Case 74. A digest that someone computes again names accounts that the keystore lacks;
// and no sealed secret opens under another account.
func TestRecordWithAForgedDigestHasNoSecret(t *testing.T) {
	dir := t.TempDir()
	s := openSealed(filepath.Join(dir, "sealed"), seal.NewKey())
	c := NewCredentials(filepath.Join(dir, "credentials"), s)
	cred := Val(c.Put(t.Context(), "p", secretsOf("k", "i"), bare))
	rec := Val(c.read("p"))
	rec.ID = rec.ID[:17]
	rec.Settings = map[string]any{"base_url": "https://evil.example"}
	rec.stored = Val(bound(rec.stored))
	Must(t, c.write(rec))
	forged := Val(c.Current("p"))
	WantCode(t, ErrOf(c.Secret(t.Context(), forged, "private_key")), token.ErrNotFound)
	Must(t, os.Rename(s.path(cred.Account("private_key")), s.path(forged.Account("private_key"))))
	WantCode(t, ErrOf(c.Secret(t.Context(), forged, "private_key")), token.ErrKeystore)
}

// putOld keeps a credential as an older tokend did.
func putOld(t *testing.T, c *Credentials, m *memory, profile, key string, pending bool) {
	t.Helper()
	rec := record{Profile: profile, stored: stored{ID: "20261123-7f3a91c2", Fields: []string{"client_id", "private_key"}, Settings: map[string]any{"client_id": "c"}}}
	m.values[profile+"/client_id/"+rec.ID], m.values[profile+"/private_key/"+rec.ID] = "i", key
	if pending {
		rec.Pending = &stored{ID: "20261124-00000000", Fields: []string{"private_key"}}
		m.values[profile+"/private_key/20261124-00000000"] = "pending"
	}
	Must(t, c.write(rec))
}

// Case 74. The records of an older tokend work until they are bound, which waits
// for the keystore and is done once. Nothing holds it back for ever.
func TestRecordsOfAnOlderTokendAreBoundOnce(t *testing.T) {
	m := newMemory()
	c := NewCredentials(filepath.Join(t.TempDir(), "credentials"), m)
	putOld(t, c, m, "a", "ka", true)
	putOld(t, c, m, "Lost.1", "kl", false)
	delete(m.values, "Lost.1/private_key/20261123-7f3a91c2")
	Must(t, os.WriteFile(c.path("damaged"), []byte("id = ["), 0o600))
	old := Val(os.ReadFile(c.path("a")))
	wantWhole(t, c, "a", secretsOf("ka", "i"))
	m.err = token.ErrLocked
	WantCode(t, ErrOf(c.Bind(t.Context())), token.ErrLocked)
	m.err = nil
	before := Val(c.Current("a"))
	if got, err := c.Bind(t.Context()); err != nil || !slices.Equal(got, []string{"a"}) {
		t.Errorf("bound %q, %v", got, err)
	}
	if got, err := c.Bind(t.Context()); err != nil || got != nil {
		t.Errorf("bound %q again, %v", got, err)
	}
	wantWhole(t, c, "a", secretsOf("ka", "i"))
	if s, err := c.Secret(t.Context(), before, "private_key"); err != nil || s.Reveal() != "ka" {
		t.Errorf("for who read the record before: %v", err)
	}
	Must(t, c.Promote(t.Context(), "a"))
	if s, err := secretOf(t, c, "a", "private_key"); err != nil || s.Reveal() != "pending" {
		t.Errorf("the pending key: %v", err)
	}
	if len(m.values) != 2 { // the promoted key, and what is there of the lost credential
		t.Errorf("%d secrets are left: %q", len(m.values), m.values)
	}
	WantCode(t, ErrOf(c.Current("Lost.1")), token.ErrKeystore, "tokenctl rotate Lost.1")
	Must(t, os.WriteFile(c.path("a"), old, 0o600))
	WantCode(t, ErrOf(c.Current("a")), token.ErrKeystore, "tokenctl rotate a")
}

// A process may die at any call to the keystore while it binds.
func TestBindingThatWasCutShortIsFinishedByTheNext(t *testing.T) {
	for calls, done := 0, false; !done; calls++ {
		m := newMemory()
		c := NewCredentials(filepath.Join(t.TempDir(), "credentials"), m)
		putOld(t, c, m, "a", "ka", false)
		putOld(t, c, m, "b", "kb", false)
		m.err, m.after, m.dies = errors.New("died"), calls, true
		untilDeath(func() { _, _ = c.Bind(t.Context()) })
		done = m.after > 0
		m.err = nil
		c = NewCredentials(c.dir, m)
		wantWhole(t, c, "a", secretsOf("ka", "i"))
		Must(t, ErrOf(c.Bind(t.Context())))
		wantWhole(t, c, "a", secretsOf("ka", "i"))
		wantWhole(t, c, "b", secretsOf("kb", "i"))
		if rec := Val(c.read("a")); len(m.values) != 4 || !rec.isBound() {
			t.Errorf("%d calls: %q", calls, m.values)
		}
	}
}
