package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/keyringtest"
)

// A moving is an installation whose secrets move.
type moving struct {
	t     *testing.T
	state string
	keys  map[string]Choice // the choices there are, by name
}

// newMoving sets up an installation with the first choice: a profile with two
// secrets and a pending credential, one whose file name is not its name, and a
// cache key.
func newMoving(t *testing.T, first string) *moving {
	t.Helper()
	m := &moving{t: t, state: filepath.Join(t.TempDir(), "state"), keys: map[string]Choice{
		"os": {Keystore: KeystoreOS}, "sealed": sealedChoice(t), "resealed": sealedChoice(t),
	}}
	Must(t, ErrOf(Setup(t.Context(), m.state, m.keys[first], token.Secret{})))
	v, creds := m.open()
	for profile, secrets := range movingSecrets() {
		Must(t, ErrOf(creds.Put(t.Context(), profile, secrets, bare)))
	}
	Must(t, ErrOf(creds.PutPending(t.Context(), "rock", secretsOf("pending key", "pending id"), bare)))
	Must(t, v.Set(t.Context(), v.KeystoreConfig().cacheKeyAccount(), token.NewSecret(movingCacheKey)))
	return m
}

func migrate(t *testing.T, v *Vault, creds *Credentials, choice Choice) error {
	_, err := v.Migrate(t.Context(), creds, choice)
	return err
}

const movingCacheKey = "0123456789abcdef0123456789abcdef"

func movingSecrets() map[string]map[string]token.Secret {
	return map[string]map[string]token.Secret{
		"rock":                        secretsOf("canary key \x00\xff", "canary id"),
		strings.Repeat("LongName", 8): secretsOf("another key", strings.Repeat("x", 5000)),
	}
}

func (m *moving) open() (*Vault, *Credentials) {
	m.t.Helper()
	v := Val(OpenVault(m.state, Val(ReadKeystoreConfig(m.state))))
	return v, NewCredentials(filepath.Join(m.state, "credentials"), v)
}

// wantAllThere checks that the current keystore is whole.
func (m *moving) wantAllThere() {
	m.t.Helper()
	v, creds := m.open()
	for profile, secrets := range movingSecrets() {
		wantWhole(m.t, creds, profile, secrets)
	}
	_, pending, err := creds.Kept("rock")
	Must(m.t, err)
	if s, err := creds.Secret(m.t.Context(), pending, "private_key"); err != nil || s.Reveal() != "pending key" {
		m.t.Errorf("the pending key: %v", err)
	}
	if key, err := v.CacheKey(m.t.Context(), false); err != nil || key.Reveal() != movingCacheKey {
		m.t.Errorf("the cache's key: %v", err)
	}
}

// wantNothingElse checks that every secret is only in the current keystore.
func (m *moving) wantNothingElse() {
	m.t.Helper()
	v, creds := m.open()
	accounts := append(Val(creds.accounts(m.t.Context())), v.KeystoreConfig().cacheKeyAccount())
	if len(accounts) != 7 {
		m.t.Fatalf("%d accounts: %q", len(accounts), accounts)
	}
	in := v.KeystoreConfig()
	if in.Leftover != nil {
		m.t.Errorf("the record still has leftovers: %+v", in.Leftover)
	}
	for _, account := range accounts {
		_, err := keyring.Get(KeyringService, account)
		if current := in.Keystore == KeystoreOS; (err == nil) != current {
			m.t.Errorf("%s in the OS keyring: %v", account, err)
		}
	}
	for _, dir := range []string{"", otherSealedDir} {
		files, _ := os.ReadDir(KeystoreConfig{Dir: dir}.sealedDir(m.state))
		want := 0
		if in.Keystore == KeystoreSealed && in.Dir == dir {
			want = len(accounts)
		}
		if len(files) != want {
			m.t.Errorf("%d sealed files in directory %q, want %d", len(files), dir, want)
		}
	}
	WantModes(m.t, m.state)
	NoCanary(m.t, m.state, "canary key", "canary id", movingCacheKey)
}

var movings = []struct{ from, to string }{
	{"os", "sealed"}, {"sealed", "os"}, {"sealed", "resealed"},
}

func TestMigrate(t *testing.T) {
	for _, tt := range movings {
		t.Run(tt.from+" to "+tt.to, func(t *testing.T) {
			keyringtest.Start(t)
			m := newMoving(t, tt.from)
			v, creds := m.open()
			before := v.KeystoreConfig()
			moved := Val(v.Migrate(t.Context(), creds, m.keys[tt.to]))
			if moved != 7 {
				t.Errorf("%d secrets moved", moved)
			}
			after := v.KeystoreConfig()
			if after.Choice != m.keys[tt.to] || after.ID != before.ID {
				t.Errorf("current is %+v", after)
			}
			if v.Progress() != nil {
				t.Errorf("it still says %+v", *v.Progress())
			}
			WantCode(t, migrate(t, v, creds, m.keys[tt.to]), token.ErrExists)
			m.wantAllThere()
			m.wantNothingElse()
			// The process goes on with the new keystore, and back.
			Must(t, ErrOf(creds.Put(t.Context(), "rock", movingSecrets()["rock"], bare)))
			Must(t, ErrOf(creds.PutPending(t.Context(), "rock", secretsOf("pending key", "pending id"), bare)))
			Must(t, migrate(t, v, creds, m.keys[tt.from]))
			m.wantAllThere()
			m.wantNothingElse()
		})
	}
}

// A migration that ends before any of its steps leaves one whole keystore current,
// and the next start deletes what it left in the other.
func TestMigrateKilledAtEachStep(t *testing.T) {
	for _, tt := range movings {
		t.Run(tt.from+" to "+tt.to, func(t *testing.T) {
			keyringtest.Start(t)
			m := newMoving(t, tt.from)
			deaths := map[string]int{}
			for step, done := 1, false; !done; step++ {
				v, creds := m.open()
				left := step
				v.step = func(name string) {
					if left--; left == 0 {
						deaths[name]++
						panic(death{})
					}
				}
				untilDeath(func() { Must(t, migrate(t, v, creds, m.keys[tt.to])) })
				done = left > 0
				m.wantAllThere()
				v, creds = m.open()
				Must(t, v.Tidy(t.Context(), creds))
				m.wantAllThere()
				m.wantNothingElse()
				if v.KeystoreConfig().Choice == m.keys[tt.to] { // and back, for the next step
					Must(t, migrate(t, v, creds, m.keys[tt.from]))
				}
			}
			for name, times := range map[string]int{"announce": 1, "copy": 7, "verify": 7, "switch": 1, "delete": 7, "forget": 1} {
				if deaths[name] != times {
					t.Errorf("ended %d times at %q", deaths[name], name)
				}
			}
		})
	}
}

// What fails changes nothing.
func TestMigrateThatFailsChangesNothing(t *testing.T) {
	s := keyringtest.Start(t)
	m := newMoving(t, "sealed")
	before := Tree(t, m.state)
	v, creds := m.open()
	for choice, code := range map[Choice]token.Code{
		{Keystore: KeystoreSealed, KeyFile: "/none"}:                     token.ErrKeystore,
		{Keystore: KeystoreSealed, Credential: "none"}:                   token.ErrKeystore,
		{Keystore: "plain"}:                                              token.ErrInvalid,
		{Keystore: KeystoreSealed, KeyFile: filepath.Join(m.state, "k")}: token.ErrInvalid,
	} {
		WantCode(t, migrate(t, v, creds, choice), code)
		wantTree(t, m.state, before)
		m.wantAllThere()
	}

	// The caller leaves in the middle.
	ctx, cancel := context.WithCancel(t.Context())
	copies := 0
	v.step = func(name string) {
		if name == "copy" {
			if copies++; copies == 3 {
				cancel()
			}
		}
	}
	if _, err := v.Migrate(ctx, creds, m.keys["os"]); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left: %v", err)
	}
	v.step = func(string) {}
	m.wantAllThere()
	m.wantNothingElse()

	// The keyring is locked: at the start, and in the middle.
	s.Lock()
	WantCode(t, migrate(t, v, creds, m.keys["os"]), token.ErrLocked)
	if left := v.KeystoreConfig().Leftover; left != nil {
		t.Errorf("left over of a migration that never began: %+v", left)
	}
	m.wantAllThere()
	s.Unlock()
	v.step = func(name string) {
		if name == "verify" {
			s.Lock()
		}
	}
	WantCode(t, migrate(t, v, creds, m.keys["os"]), token.ErrLocked)
	if v.KeystoreConfig().Leftover == nil {
		t.Error("nothing is known of what could not be deleted")
	}
	m.wantAllThere()
	s.Unlock()
	v.step = func(string) {}
	Must(t, v.Tidy(t.Context(), creds))
	m.wantNothingElse()
}

// Migrate notices a target that returns something else before it switches or
// deletes anything.
func TestMigrateFindsOutWhatWasNotKept(t *testing.T) {
	keyringtest.Start(t)
	m := newMoving(t, "sealed")
	v, creds := m.open()
	v.step = func(name string) {
		if name == "verify" {
			Must(t, keyring.Set(KeyringService, v.KeystoreConfig().cacheKeyAccount(), "something else"))
		}
	}
	WantCode(t, migrate(t, v, creds, m.keys["os"]), token.ErrKeystore)
	m.wantAllThere()
	m.wantNothingElse()
}

// The same key in another place moves no secret.
func TestMigrateToTheSameKeyElsewhere(t *testing.T) {
	m := newMoving(t, "sealed")
	other := filepath.Join(t.TempDir(), "moved")
	content := Val(os.ReadFile(m.keys["sealed"].KeyFile))
	Must(t, os.WriteFile(other, content, 0o400))
	v, creds := m.open()
	Must(t, migrate(t, v, creds, Choice{Keystore: KeystoreSealed, KeyFile: other}))
	Must(t, os.Remove(m.keys["sealed"].KeyFile))
	m.wantAllThere()
}

// Secrets can be read before, during and after the switch.
func TestSecretsAreReadableWhileTheyMove(t *testing.T) {
	keyringtest.Start(t)
	m := newMoving(t, "sealed")
	v, creds := m.open()
	v.step = func(string) {
		for profile, secrets := range movingSecrets() {
			wantWhole(t, creds, profile, secrets)
		}
	}
	for _, to := range []string{"resealed", "os", "sealed"} {
		Must(t, migrate(t, v, creds, m.keys[to]))
	}
}

// emptied is a keystore whose secrets move away while it is read.
type emptied struct {
	*memory
	move func()
}

func (e emptied) Get(ctx context.Context, account string) (token.Secret, error) {
	e.move()
	return e.memory.Get(ctx, account)
}

func TestASecretThatMovesAwayUnderTheReadingIsReadAgain(t *testing.T) {
	next := newMemory()
	Must(t, next.Set(t.Context(), "a", token.NewSecret("x")))
	v := &Vault{}
	v.active.Store(&active{keys: emptied{newMemory(), func() { v.active.Store(&active{keys: next}) }}})
	wantSecret(t, v, "a", "x")
	WantCode(t, ErrOf(v.Get(t.Context(), "b")), token.ErrNotFound)
}

func TestUnlockIsForTheOSKeyring(t *testing.T) {
	keyringtest.Start(t)
	m := newMoving(t, "sealed")
	v, creds := m.open()
	WantCode(t, v.Unlock(t.Context()), token.ErrInvalid)
	Must(t, migrate(t, v, creds, m.keys["os"]))
	Must(t, v.Unlock(t.Context()))
}

// A record of many secrets that move can be read again.
func TestInstallRecordHoldsManyLeftovers(t *testing.T) {
	state, many := t.TempDir(), slices.Repeat([]string{"a-profile-with-a-long-name-12345/private_key/20261126-0123abcd"}, 20_000)
	i := KeystoreConfig{ID: "x", Choice: Choice{Keystore: KeystoreOS}, Leftover: &Leftover{Keystore: KeystoreSealed, Accounts: many}}
	Must(t, i.record(state))
	if there, err := ReadKeystoreConfig(state); err != nil || len(there.Leftover.Accounts) != len(many) {
		t.Error(err)
	}
}

// While the record cannot be written, it is unknown which keystore the next start
// will use. So Migrate deletes no copy.
func TestMigrateDeletesNothingWhileTheRecordCannotBeWritten(t *testing.T) {
	m := newMoving(t, "sealed")
	v, creds := m.open()
	record, away := configPath(m.state), filepath.Join(t.TempDir(), "install.toml")
	v.step = func(name string) {
		if name == "switch" {
			Must(t, os.Rename(record, away))
			Must(t, os.MkdirAll(filepath.Join(record, "in the way"), 0o700))
		}
	}
	WantCode(t, migrate(t, v, creds, m.keys["resealed"]), token.ErrKeystore)
	for _, dir := range []string{"", otherSealedDir} {
		if files := listSealed(KeystoreConfig{Dir: dir}.sealedDir(m.state)); len(files) != 7 {
			t.Errorf("%d secrets in directory %q", len(files), dir)
		}
	}
	Must(t, os.RemoveAll(record))
	Must(t, os.Rename(away, record))
	m.wantAllThere()
	v.step = func(string) {}
	Must(t, v.Tidy(t.Context(), creds))
	m.wantAllThere()
}
