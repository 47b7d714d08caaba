package store

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// wantAll checks that nothing works, for the same reason.
func wantAll(t *testing.T, ks Keystore, code token.Code) {
	t.Helper()
	WantCode(t, ErrOf(ks.Get(t.Context(), "a")), code)
	WantCode(t, ks.Set(t.Context(), "a", token.NewSecret("y")), code)
	WantCode(t, ks.Delete(t.Context(), "a"), code)
}

func wantSecret(t testing.TB, ks Keystore, account, want string) {
	t.Helper()
	got, err := ks.Get(t.Context(), account)
	if err != nil || got.Reveal() != want {
		t.Errorf("%s: got %d bytes, %v; want %d bytes", account, len(got.Reveal()), err, len(want))
	}
}

// keepsExactly checks a whole life of one secret.
func keepsExactly(t *testing.T, ks Keystore, value string) {
	t.Helper()
	const account = "clms/private_key/20261123-7f3a91c2"
	Must(t, ks.Set(t.Context(), account, token.NewSecret("the one before")))
	Must(t, ks.Set(t.Context(), account, token.NewSecret(value)))
	wantSecret(t, ks, account, value)
	Must(t, ks.Delete(t.Context(), account))
	WantCode(t, ErrOf(ks.Get(t.Context(), account)), token.ErrNotFound)
	Must(t, ks.Delete(t.Context(), account)) // again
}

func awkwardValues() map[string]string {
	return map[string]string{
		"32 bytes":             strings.Repeat("\xff\x00", 16),
		"text":                 "p~8Q 'quoted' \"doubly\" $HOME \\ ü",
		"trailing newline":     "text\n",
		"carriage return":      "a\r\nb",
		"NUL":                  "a\x00b\x00",
		"not UTF-8":            "\xc3\x28\x80",
		"our own mark":         "tokend:base64:eA==",
		"our own index":        index{"a", 2, sum("x")}.String(),
		"RSA-4096 DER, 2375 B": strings.Repeat("\x30\x82\x09", 791) + "\x01\x02",
		"RSA-4096 PEM, 3272 B": strings.Repeat("MIIJ", 818),
		"RSA-8192 DER, 4677 B": strings.Repeat("\x30\x82\x12", 1559),
		"letters over a cut":   strings.Repeat("ü", 2000),
		"64 KiB":               strings.Repeat("0123456789abcdef", 4<<10),
	}
}

// memory is a keystore that fails when the test wants it, after some calls, or
// whose process then "dies".
type memory struct {
	mu     sync.Mutex
	values map[string]string
	err    error // what every call returns
	after  int   // calls that still work before err counts
	dies   bool
}

type death struct{}

func newMemory() *memory { return &memory{values: map[string]string{}} }

// do is a call.
func (m *memory) do(op func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.err != nil && m.after == 0 && m.dies:
		panic(death{})
	case m.err != nil && m.after == 0:
		return m.err
	case m.err != nil:
		m.after--
	}
	op()
	return nil
}

func (m *memory) Get(_ context.Context, account string) (token.Secret, error) {
	var v string
	var ok bool
	err := m.do(func() { v, ok = m.values[account] })
	if err == nil && !ok {
		err = token.ErrNotFound
	}
	return token.NewSecret(v), err
}

func (m *memory) Set(_ context.Context, account string, s token.Secret) error {
	return m.do(func() { m.values[account] = s.Reveal() })
}

func (m *memory) Delete(_ context.Context, account string) error {
	return m.do(func() { delete(m.values, account) })
}

func (m *memory) State(context.Context) error { return m.do(func() {}) }

// wantTree checks that nothing under dir has changed.
func wantTree(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	if !maps.Equal(before, Tree(t, dir)) {
		t.Error("something changed")
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// secretOf reads a secret of a profile's current credential.
func secretOf(t *testing.T, c *Credentials, profile, field string) (token.Secret, error) {
	t.Helper()
	cred, err := c.Current(profile)
	if err != nil {
		return token.Secret{}, err
	}
	return c.Secret(t.Context(), cred, field)
}
