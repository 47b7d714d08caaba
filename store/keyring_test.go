package store

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// ownProcess runs the test in a process of its own, for what go-keyring's mock
// changes cannot be changed back. It is true in that process.
func ownProcess(t *testing.T) bool {
	t.Helper()
	const name = "TOKEND_STORE_TEST_CHILD"
	if os.Getenv(name) == t.Name() {
		return true
	}
	if out, err := child(t, name, t.Name()).CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// mockKeyring is a keyring whose items hold limit bytes, in memory.
func mockKeyring(limit int) *Keyring {
	k := NewKeyring("tokend")
	k.limit = limit
	k.look = func(context.Context) error { return nil }
	return k
}

// Case 11 of the threat model.
func TestKeyringErrorsHaveNames(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	tests := []struct {
		err  error
		code token.Code
		says string
	}{
		{keyring.ErrSetDataTooBig, token.ErrKeystore, "longer than the OS keyring takes"},
		{keyring.ErrUnsupportedPlatform, token.ErrKeystore, "no OS keyring"},
		{keyring.ErrNotFound, token.ErrNotFound, "not in the OS keyring"},
		{errors.New("something else"), token.ErrKeystore, "something else"},
	}
	for _, tt := range tests {
		keyring.MockInitWithError(tt.err)
		k := mockKeyring(0)
		_, err := k.Get(t.Context(), "a")
		wantCode(t, err, tt.code)
		if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %q", tt.err, err)
		}
		if errors.Is(tt.err, keyring.ErrNotFound) {
			continue
		}
		wantCode(t, k.Set(t.Context(), "a", token.NewSecret("x")), tt.code)
		wantCode(t, k.Delete(t.Context(), "a"), tt.code)
	}
}

// Case 11 of the threat model.
func TestKeyringFailureLeavesNothingOnDisk(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	keyring.MockInitWithError(keyring.ErrSetDataTooBig)
	dir := t.TempDir()
	c := NewCredentials(dir, mockKeyring(0))
	wantCode(t, errOf(c.Put(t.Context(), "clms", secretsOf("canary-1", "canary-2"), bare)), token.ErrKeystore)
	wantCode(t, errOf(c.Current("clms")), token.ErrNotFound)
	noCanary(t, dir, "canary-1", "canary-2")
}

// Case 10 of the threat model.
func TestKeyringSplitsWhatIsTooLong(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	keyring.MockInit()
	for _, limit := range []int{0, 100, 2400, 2560} {
		k := mockKeyring(limit)
		for name, value := range awkwardValues() {
			t.Run(name, func(t *testing.T) { keepsExactly(t, k, value) })
		}
	}
}

// countdown is a context that ends after some looks at it, which is after as
// many steps.
type countdown struct {
	context.Context
	left *int
}

func (c countdown) Err() error {
	if *c.left == 0 {
		return context.Canceled
	}
	*c.left--
	return nil
}

// A Set or Delete that ends after any number of its steps leaves the old
// secret or the new one, and nothing that the next Delete does not find.
func TestKeyringInterruptedSetLeavesAWholeSecret(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	short, long, longer := "short", strings.Repeat("long", 100), strings.Repeat("longer", 200)
	values := []string{short, long, longer}
	k := mockKeyring(200)
	for _, before := range values {
		for _, after := range values {
			interruptEverywhere(t, k, before, after)
		}
	}
}

func interruptEverywhere(t *testing.T, k *Keyring, before, after string) {
	for steps, done := 0, false; !done; steps++ {
		keyring.MockInit()
		must(t, k.Set(t.Context(), "a", token.NewSecret(before)))
		left := steps
		err := items{k, countdown{t.Context(), &left}}.replace("a", token.NewSecret(after))
		done = left > 0
		got, getErr := k.Get(t.Context(), "a")
		if v := got.Reveal(); getErr != nil || v != before && v != after || err == nil && v != after {
			t.Fatalf("%d steps from %d to %d bytes: %d bytes, %v", steps, len(before), len(after), len(v), getErr)
		}
		if steps%2 == 0 { // and from there on, another Set
			must(t, k.Set(t.Context(), "a", token.NewSecret(before)))
			wantSecret(t, k, "a", before)
		}
		// An interrupted Delete is finished by the next one.
		left = steps
		_ = items{k, countdown{t.Context(), &left}}.remove("a")
		must(t, k.Delete(t.Context(), "a"))
		wantNoItems(t)
	}
}

// wantNoItems checks that the mock is empty: it has no list, but every item
// that a test could have left is known.
func wantNoItems(t *testing.T) {
	t.Helper()
	names := []string{"a"}
	for n := 1; n < 20; n++ {
		names = append(names, partName("a", "a", n), partName("a", "b", n))
	}
	for _, name := range names {
		if _, err := keyring.Get("tokend", name); !errors.Is(err, keyring.ErrNotFound) {
			t.Fatalf("%q is left behind", name)
		}
	}
}

func TestKeyringTellsPartsThatDoNotFit(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	keyring.MockInit()
	k := mockKeyring(100)
	must(t, k.Set(t.Context(), "a", token.NewSecret(strings.Repeat("x", 300))))
	must(t, keyring.Set("tokend", partName("a", "a", 2), "something else"))
	wantCode(t, errOf(k.Get(t.Context(), "a")), token.ErrKeystore)
	must(t, keyring.Delete("tokend", partName("a", "a", 2)))
	wantCode(t, errOf(k.Get(t.Context(), "a")), token.ErrKeystore)
}

func TestKeystoresRefuseWhatNothingCanKeep(t *testing.T) {
	sealed := val(OpenSealed(t.TempDir(), seal.NewKey()))
	for _, ks := range []Keystore{mockKeyring(0), sealed} {
		wantCode(t, ks.Set(t.Context(), "", token.NewSecret("x")), token.ErrInvalid)
		wantCode(t, ks.Set(t.Context(), "a", token.Secret{}), token.ErrInvalid)
		wantCode(t, ks.Set(t.Context(), "a", token.NewSecret(strings.Repeat("x", maxSecret+1))), token.ErrInvalid)
	}
}

func FuzzItemText(f *testing.F) {
	f.Add("text")
	f.Add("tokend:base64:eA==")
	f.Add(index{"a", 2, sum("x")}.String())
	f.Fuzz(func(t *testing.T, text string) {
		if x, ok := parseIndex(text); ok && x.String() != text {
			t.Errorf("index %q became %q", text, x)
		}
		if value, err := decodeText(text); err == nil && !strings.HasPrefix(text, mark) && value != text {
			t.Errorf("text %q became %q", text, value)
		}
		if value, err := decodeText(encodeText(text)); err != nil || value != text {
			t.Errorf("%q came back as %q, %v", text, value, err)
		}
	})
}
