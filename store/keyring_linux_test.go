package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"tokend/packaging/checktest"
	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/keyringtest"
)

// Cases 1 and 10 of the threat model.
func TestKeyringKeepsExactBytes(t *testing.T) {
	keyringtest.Start(t)
	k := NewKeyring("tokend")
	k.calls, k.asks = newGate(time.Minute, errLate), newGate(time.Minute, errAsks) // a busy machine takes long for many parts
	for _, k.limit = range []int{0, 2560} {
		for name, value := range awkwardValues() {
			t.Run(name, func(t *testing.T) { keepsExactly(t, k, value) })
		}
	}
}

// A person who opens the keyring's own tool finds readable names and, for what
// is text, the text.
func TestKeyringItemsAreReadable(t *testing.T) {
	keyringtest.Start(t)
	const account = "azure/client_secret/20261123-7f3a91c2"
	Must(t, NewKeyring("tokend").Set(t.Context(), account, token.NewSecret("p~8Q secret")))
	if got, err := keyring.Get("tokend", account); err != nil || got != "p~8Q secret" {
		t.Errorf("the item holds %q, %v", got, err)
	}
}

// Case 2 of the threat model.
func TestKeyringReportsLockedWithoutAPrompt(t *testing.T) {
	s := keyringtest.Start(t)
	k := NewKeyring("tokend")
	Must(t, k.Set(t.Context(), "a", token.NewSecret("x")))
	s.Lock()
	began := time.Now()
	wantAll(t, k, token.ErrLocked)
	if got := State(t.Context(), k); got != "locked" {
		t.Errorf("state %q while locked", got)
	}
	if took := time.Since(began); took > callLimit {
		t.Errorf("a locked keyring took %v to say so", took)
	}
	s.Unlock()
	wantSecret(t, k, "a", "x")
	if got := State(t.Context(), k); got != "ok" {
		t.Errorf("state %q once unlocked", got)
	}
}

// Without a display the prompt cannot be shown, which is the same as locked.
func TestKeyringUnlockWithoutDisplayStaysLocked(t *testing.T) {
	s := keyringtest.Start(t)
	k := NewKeyring("tokend")
	s.Lock()
	WantCode(t, k.Unlock(t.Context()), token.ErrLocked)
	s.Unlock()
	Must(t, k.Unlock(t.Context()))
}

func TestKeyringThatIsNotThere(t *testing.T) {
	t.Run("no collection", func(t *testing.T) {
		keyringtest.StartBus(t, "/usr/share/dbus-1/services")
		wantAll(t, NewKeyring("tokend"), token.ErrLocked)
	})
	t.Run("no service", func(t *testing.T) {
		keyringtest.StartBus(t)
		wantAll(t, NewKeyring("tokend"), token.ErrKeystore)
		WantCode(t, NewKeyring("tokend").State(t.Context()), token.ErrKeystore, "no keyring service")
	})
	t.Run("no bus", func(t *testing.T) {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none"))
		wantAll(t, NewKeyring("tokend"), token.ErrKeystore)
	})
}

// Case 3 of the threat model: godbus would start a bus through dbus-launch; this one tells if it does.
func TestKeyringNeverStartsABus(t *testing.T) {
	if _, err := os.Stat(fmt.Sprintf("/run/user/%d/bus", os.Getuid())); err == nil {
		checktest.Unable(t, "this user has a session bus at the place where one is looked for")
	}
	for _, address := range []string{"", "autolaunch:", "autolaunch:scope=user"} {
		t.Run(address, func(t *testing.T) {
			keyringtest.NoBus(t)
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
			bin := t.TempDir()
			started := filepath.Join(bin, "started")
			Must(t, os.WriteFile(filepath.Join(bin, "dbus-launch"), []byte("#!/bin/sh\n: > "+started+"\n"), 0o700))
			t.Setenv("PATH", bin)

			k := NewKeyring("tokend")
			wantAll(t, k, token.ErrKeystore)
			WantCode(t, k.State(t.Context()), token.ErrKeystore)
			WantCode(t, k.Unlock(t.Context()), token.ErrKeystore)
			if _, err := os.Stat(started); err == nil {
				t.Error("dbus-launch was run")
			}
		})
	}
}

func TestKeyringFindsTheBusInTheRuntimeDirectory(t *testing.T) {
	keyringtest.Start(t)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	Must(t, NewKeyring("tokend").State(t.Context()))
}

// Case 6 of the threat model.
func TestKeyringSurvivesTheBusBeingRestarted(t *testing.T) {
	s := keyringtest.Start(t)
	k := NewKeyring("tokend")
	Must(t, k.Set(t.Context(), "a", token.NewSecret("x")))
	s.KillBus()
	wantAll(t, k, token.ErrKeystore)
	s.RestartBus()
	wantAll(t, k, token.ErrLocked) // the bus starts a keyring, which is locked
	s.Unlock()
	wantSecret(t, k, "a", "x")
}

// Case 7 of the threat model.
func TestKeyringSurvivesTheServiceBeingKilled(t *testing.T) {
	s := keyringtest.Start(t)
	k := NewKeyring("tokend")
	Must(t, k.Set(t.Context(), "a", token.NewSecret("x")))
	s.KillKeyring()
	if got := State(t.Context(), k); got != "locked" {
		t.Errorf("state %q of a keyring that was started again", got)
	}
	s.Unlock()
	wantSecret(t, k, "a", "x")
}

// impatience is how long an impatient keyring waits.
const impatience = time.Second

func impatientKeyring() *Keyring {
	k := NewKeyring("tokend")
	k.calls, k.asks = newGate(impatience, errLate), newGate(impatience, errAsks)
	return k
}

// Case 4 of the threat model. While a prompt is open, one that go-keyring met too, what
// needs no person goes on.
func TestKeyringPromptThatNeverEndsCostsOneGoroutine(t *testing.T) {
	for _, fake := range []*keyringtest.Fake{{Prompts: true}, {Prompts: true, KeePassXC: true}} {
		t.Run(fmt.Sprint("KeePassXC ", fake.KeePassXC), func(t *testing.T) { promptNeverEnds(t, fake) })
	}
}

func promptNeverEnds(t *testing.T, fake *keyringtest.Fake) {
	keyringtest.StartBus(t)
	fake.Start(t)
	k := impatientKeyring()

	began := time.Now()
	WantCode(t, k.Delete(t.Context(), "a"), token.ErrLocked)
	if took := time.Since(began); took < impatience || took > callLimit {
		t.Errorf("the first call took %v", took)
	}
	baseline := runtime.NumGoroutine()
	began = time.Now()
	for range 100 {
		WantCode(t, k.Delete(t.Context(), "a"), token.ErrLocked)
		WantCode(t, k.Unlock(t.Context()), token.ErrLocked)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("calls behind a hanging one took %v", took)
	}
	if now := runtime.NumGoroutine(); now > baseline+2 {
		t.Errorf("%d goroutines, %d before", now, baseline)
	}
	wantSecret(t, k, "a", "a secret")
	Must(t, k.State(t.Context()))

	fake.Answer()
	eventually(t, func() bool { return k.Unlock(t.Context()) == nil })
}

// KeePassXC makes each item by way of a prompt, which may end without a person.
func TestKeyringPromptsLeaveNothingBehind(t *testing.T) {
	keyringtest.StartBus(t)
	(&keyringtest.Fake{KeePassXC: true, Items: []string{}}).Start(t)
	k := NewKeyring("tokend")
	Must(t, k.Set(t.Context(), "a", token.NewSecret("x")))
	baseline := runtime.NumGoroutine()
	for range 50 {
		Must(t, k.Set(t.Context(), "a", token.NewSecret("x")))
	}
	if now := runtime.NumGoroutine(); now > baseline+2 {
		t.Errorf("%d goroutines, %d before", now, baseline)
	}
}

// KeePassXC's default collection is the database in front, whichever holds our items.
func TestKeyringItemsOfAnotherDatabase(t *testing.T) {
	keyringtest.StartBus(t)
	(&keyringtest.Fake{KeePassXC: true, Elsewhere: true}).Start(t)
	k := NewKeyring("tokend")
	wantSecret(t, k, "a", "a secret")
	Must(t, k.Set(t.Context(), "a", token.NewSecret("new")))
	wantSecret(t, k, "a", "new")
	Must(t, k.Delete(t.Context(), "a"))
	WantCode(t, ErrOf(k.Get(t.Context(), "a")), token.ErrNotFound)
}

func TestKeyringWhosePersonSaysNo(t *testing.T) {
	keyringtest.StartBus(t)
	(&keyringtest.Fake{KeePassXC: true, Refuses: true}).Start(t)
	wantTopic(t, NewKeyring("tokend").Delete(t.Context(), "a"), token.ErrLocked, "keyring-refused")
}

// The keyring's service ends under an open prompt: the next call finds the next one.
func TestKeyringPromptEndsWithItsService(t *testing.T) {
	keyringtest.StartBus(t)
	fake := (&keyringtest.Fake{KeePassXC: true, Prompts: true}).Start(t)
	k := impatientKeyring()
	WantCode(t, k.Delete(t.Context(), "a"), token.ErrLocked)
	fake.Stop()
	(&keyringtest.Fake{}).Start(t)
	eventually(t, func() bool { return k.Delete(t.Context(), "a") == nil })
}

func TestKeyringWhosePromptIsOpenIsLocked(t *testing.T) {
	keyringtest.StartBus(t)
	(&keyringtest.Fake{Locked: true, Prompts: true}).Start(t)
	k := impatientKeyring()
	WantCode(t, k.Unlock(t.Context()), token.ErrLocked)
	wantAll(t, k, token.ErrLocked)
	WantCode(t, k.Unlock(t.Context()), token.ErrLocked)
}

func TestKeyringStopsWaitingWhenItsCallerDoes(t *testing.T) {
	keyringtest.StartBus(t)
	(&keyringtest.Fake{Prompts: true}).Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := NewKeyring("tokend").Delete(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Case 5 of the threat model.
func TestKeyringSurvivesNonsense(t *testing.T) {
	tests := []struct {
		name string
		fake *keyringtest.Fake
		code token.Code // empty: the secret is read
	}{
		{"an error", &keyringtest.Fake{Fails: true}, token.ErrKeystore},
		{"a wrong type", &keyringtest.Fake{WrongType: true}, token.ErrKeystore},
		{"a prompt that ends in nonsense", &keyringtest.Fake{KeePassXC: true, Nonsense: true}, token.ErrKeystore},
		{"no items", &keyringtest.Fake{Items: []string{}}, token.ErrNotFound},
		{"two items", &keyringtest.Fake{Items: []string{"first", "second"}}, ""},
		{"10 MiB", &keyringtest.Fake{Items: []string{strings.Repeat("x", 10<<20)}}, token.ErrKeystore},
		{"an unknown form", &keyringtest.Fake{Items: []string{"tokend:rot13:frperg"}}, token.ErrKeystore},
		{"broken base64", &keyringtest.Fake{Items: []string{"tokend:base64:!"}}, token.ErrKeystore},
		{"an index of itself", &keyringtest.Fake{Items: []string{index{"a", 3, sum("")}.String()}}, token.ErrKeystore},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keyringtest.StartBus(t)
			tt.fake.Start(t)
			s, err := impatientKeyring().Get(t.Context(), "a")
			if tt.fake.Nonsense {
				err = impatientKeyring().Delete(t.Context(), "a")
			}
			if tt.code != "" {
				WantCode(t, err, tt.code)
				return
			}
			if err != nil || s.Reveal() != tt.fake.Items[0] {
				t.Errorf("got %d bytes, %v", len(s.Reveal()), err)
			}
		})
	}
}
