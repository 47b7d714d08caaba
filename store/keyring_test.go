package store

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// A memoryRing holds texts in memory, or fails.
type memoryRing struct {
	ring
	texts map[string]string
	err   error
}

func (r memoryRing) get(ctx context.Context, account string) (string, error) {
	if err := cmp.Or(r.err, ctx.Err()); err != nil {
		return "", err
	}
	text, ok := r.texts[account]
	if !ok {
		return "", keyring.ErrNotFound
	}
	return text, nil
}

func (r memoryRing) set(_ context.Context, account, text string) error {
	if r.err == nil {
		r.texts[account] = text
	}
	return r.err
}

func (r memoryRing) remove(ctx context.Context, account string) error {
	_, err := r.get(ctx, account)
	if err == nil {
		delete(r.texts, account)
	}
	return err
}

func (r memoryRing) look(context.Context) error { return nil }

// memoryKeyring is a keyring whose items hold limit bytes, in memory. With err it
// always fails.
func memoryKeyring(limit int, err error) *Keyring {
	k := NewKeyring("tokend")
	k.ring, k.limit = memoryRing{texts: map[string]string{}, err: err}, limit
	return k
}

// Case 11 of the threat model.
func TestKeyringErrorsHaveNames(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code token.Code
		says string
	}{
		{keyring.ErrSetDataTooBig, token.ErrKeystore, "longer than the OS keyring accepts"},
		{keyring.ErrUnsupportedPlatform, token.ErrKeystore, "no OS keyring"},
		{keyring.ErrNotFound, token.ErrNotFound, "not in the OS keyring"},
		{errors.New("something else"), token.ErrKeystore, "something else"},
	} {
		k := memoryKeyring(0, tt.err)
		WantCode(t, ErrOf(k.Get(t.Context(), "a")), tt.code, tt.says)
		if tt.code == token.ErrKeystore {
			wantAll(t, k, tt.code)
		}
	}
}

// Case 11 of the threat model.
func TestKeyringFailureLeavesNothingOnDisk(t *testing.T) {
	dir := t.TempDir()
	c := NewCredentials(dir, memoryKeyring(0, keyring.ErrSetDataTooBig))
	WantCode(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("canary-1", "canary-2"), bare)), token.ErrKeystore)
	WantCode(t, ErrOf(c.Current("clms")), token.ErrNotFound)
	NoCanary(t, dir, "canary-1", "canary-2")
}

// Case 10 of the threat model.
func TestKeyringSplitsWhatIsTooLong(t *testing.T) {
	for _, limit := range []int{0, 100, 2400, 2560} {
		k := memoryKeyring(limit, nil)
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
	short, long, longer := "short", strings.Repeat("long", 100), strings.Repeat("longer", 200)
	values := []string{short, long, longer}
	for _, before := range values {
		for _, after := range values {
			interruptEverywhere(t, before, after)
		}
	}
}

func interruptEverywhere(t *testing.T, before, after string) {
	for steps, done := 0, false; !done; steps++ {
		k := memoryKeyring(200, nil)
		Must(t, k.Set(t.Context(), "a", token.NewSecret(before)))
		left := steps
		err := items{k, countdown{t.Context(), &left}}.replace("a", token.NewSecret(after))
		done = left > 0
		got, getErr := k.Get(t.Context(), "a")
		if v := got.Reveal(); getErr != nil || v != before && v != after || err == nil && v != after {
			t.Fatalf("%d steps from %d to %d bytes: %d bytes, %v", steps, len(before), len(after), len(v), getErr)
		}
		if steps%2 == 0 { // and from there on, another Set
			Must(t, k.Set(t.Context(), "a", token.NewSecret(before)))
			wantSecret(t, k, "a", before)
		}
		// An interrupted Delete is finished by the next one.
		left = steps
		_ = items{k, countdown{t.Context(), &left}}.remove("a")
		Must(t, k.Delete(t.Context(), "a"))
		if left := k.ring.(memoryRing).texts; len(left) != 0 {
			t.Fatalf("left behind: %q", left)
		}
	}
}

func TestKeyringTellsPartsThatDoNotFit(t *testing.T) {
	k := memoryKeyring(100, nil)
	Must(t, k.Set(t.Context(), "a", token.NewSecret(strings.Repeat("x", 300))))
	Must(t, k.ring.set(t.Context(), partName("a", "a", 2), "something else"))
	WantCode(t, ErrOf(k.Get(t.Context(), "a")), token.ErrKeystore)
	Must(t, k.ring.remove(t.Context(), partName("a", "a", 2)))
	WantCode(t, ErrOf(k.Get(t.Context(), "a")), token.ErrKeystore)
}

func TestKeystoresRefuseWhatNothingCanKeep(t *testing.T) {
	sealed := Val(OpenSealed(t.TempDir(), seal.NewKey()))
	for _, ks := range []Keystore{memoryKeyring(0, nil), sealed} {
		WantCode(t, ks.Set(t.Context(), "a", token.Secret{}), token.ErrInvalid)
		WantCode(t, ks.Set(t.Context(), "a", token.NewSecret(strings.Repeat("x", maxSecret+1))), token.ErrInvalid)
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
