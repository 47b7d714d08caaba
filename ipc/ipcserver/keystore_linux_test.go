package ipcserver

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"tokend/providers/token"
)

func (b *memory) Keystore(context.Context) (token.KeystoreStatus, error) {
	return token.KeystoreStatus{
		KeystoreChoice: token.KeystoreChoice{Keystore: "sealed", KeyFile: "/etc/tokend/key"}, State: "ok", KeyID: "ab12", Since: noon,
		Leftovers: 3, Moving: &token.KeystoreMove{Doing: "copying", Done: 1, Total: 2},
	}, b.fail
}

func (b *memory) Doctor(context.Context) (token.Report, error) {
	return token.Report{Version: "1", Proxy: "http://p:1", Checks: []token.Check{{Name: "x", Result: "warn", Text: "y", Advice: "z"}}}, b.fail
}

func (b *memory) Unlock(context.Context) error { return b.fail }

func (b *memory) Migrate(_ context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	return token.Migrated{Keystore: token.KeystoreStatus{KeystoreChoice: to, Since: noon}, Moved: 7, NewKey: true}, b.fail
}

func TestKeystoreCrossesTheSocket(t *testing.T) {
	b := newMemory()
	c := start(t, b, Options{}).client
	want, _ := b.Keystore(t.Context())
	if got, err := c.Keystore(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Keystore: %+v, %v", got, err)
	}
	found, _ := b.Doctor(t.Context())
	if got, err := c.Doctor(t.Context()); err != nil || !reflect.DeepEqual(got, found) {
		t.Errorf("Doctor: %+v, %v", got, err)
	}
	to := token.KeystoreChoice{Keystore: "sealed", KeyFile: "/k", Credential: "c", GroupRead: true}
	moved, _ := b.Migrate(t.Context(), to)
	if got, err := c.Migrate(t.Context(), to); err != nil || !reflect.DeepEqual(got, moved) {
		t.Errorf("Migrate: %+v, %v", got, err)
	}
	if err := c.Unlock(t.Context()); err != nil {
		t.Errorf("Unlock: %v", err)
	}
	b.fail = &token.Error{Code: token.ErrLocked, Message: "locked", Topic: "keyring-prompt"}
	var e *token.Error
	if err := c.Unlock(t.Context()); !errors.As(err, &e) || e.Code != token.ErrLocked || e.Topic != "keyring-prompt" {
		t.Errorf("Unlock: %#v", err)
	}
}
