package store

import (
	"testing"

	. "tokend/providers/fixturetest"
	"tokend/providers/token"
	"tokend/store/keyringtest"
)

// With the settings that KeePassXC comes with, setup asks nothing, and another
// program is asked about once.
func TestKeePassXCKeepsSecrets(t *testing.T) {
	xc := keyringtest.StartKeePassXC(t, true)
	dir := t.TempDir()
	i := Val(Setup(t.Context(), dir, Choice{Keystore: KeystoreOS}, token.Secret{}))
	k := Val(i.Open(dir)).(*Keyring)
	values := map[string]string{"placeholders": `{TITLE} {"private_key": "-----BEGIN"} {REF:P@T:x}`}
	for _, name := range []string{"text", "trailing newline", "carriage return", "not UTF-8", "64 KiB"} {
		values[name] = awkwardValues()[name]
	}
	for name, value := range values {
		Must(t, k.Set(t.Context(), name, token.NewSecret(value)))
	}
	Must(t, k.State(t.Context()))
	if !k.Asks(t.Context()) {
		t.Error("another program would not be asked about")
	}

	xc.Restart() // which has read its file again, and forgotten us
	wantTopic(t, k.State(t.Context()), token.ErrLocked, "keyring-confirm")
	WantCode(t, ErrOf(k.Get(t.Context(), "text")), token.ErrLocked, "a person must allow")
	WantCode(t, k.Set(t.Context(), "text", token.NewSecret("y")), token.ErrLocked)
	patient := NewPatientKeyring("tokend")
	answered := make(chan error)
	go func() { answered <- patient.Unlock(t.Context()) }()
	xc.Answer("Access Request", "Return")
	Must(t, <-answered)
	Must(t, k.State(t.Context()))
	for name, value := range values {
		wantSecret(t, k, name, value)
	}

	// One password, and no second question.
	xc.LockDatabase()
	wantAll(t, k, token.ErrLocked)
	wantTopic(t, k.State(t.Context()), token.ErrLocked, "keyring-locked")
	go func() { answered <- patient.Unlock(t.Context()) }()
	xc.AnswerPassword()
	Must(t, <-answered)
	wantSecret(t, k, "text", values["text"])
}

// Without a recycle bin KeePassXC asks before it deletes. Setup deletes nothing, and
// reading goes on meanwhile.
func TestKeePassXCAsksBeforeItDeletes(t *testing.T) {
	xc := keyringtest.StartKeePassXC(t, false)
	dir := t.TempDir()
	i := Val(Setup(t.Context(), dir, Choice{Keystore: KeystoreOS}, token.Secret{}))
	k := Val(i.Open(dir)).(*Keyring)
	c := NewCredentials(dir+"/credentials", k)
	old := Val(c.Put(t.Context(), "clms", secretsOf("k1", "i1"), bare))
	Must(t, ErrOf(c.Put(t.Context(), "clms", secretsOf("k2", "i2"), bare))) // leaves the old one for later
	wantWhole(t, c, "clms", secretsOf("k2", "i2"))
	Must(t, k.State(t.Context()))
	wantSecret(t, k, old.Account("private_key"), "k1")

	WantCode(t, k.Delete(t.Context(), old.Account("private_key")), token.ErrLocked, "waits for its prompt")
	xc.Answer("Delete entry", "Escape")
	eventually(t, func() bool { return topicOf(k.Delete(t.Context(), old.Account("private_key"))) == "keyring-prompt" })
	xc.Answer("Delete entry", "Tab", "Return")
	eventually(t, func() bool { return k.Delete(t.Context(), old.Account("private_key")) == nil })
	WantCode(t, ErrOf(k.Get(t.Context(), old.Account("private_key"))), token.ErrNotFound)
}
