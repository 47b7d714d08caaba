package store

import (
	"os"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// fakeSecrets is a Secret Service that does what no real one should.
type fakeSecrets struct {
	locked    bool     // the collection is
	prompts   bool     // Unlock shows a prompt, which is never answered
	nonsense  bool     // the prompt ends at once, in nonsense
	fails     bool     // everything is an error
	wrongType bool     // properties have a type that they should not have
	items     []string // what there is; nil: one item

	mu   sync.Mutex
	conn *dbus.Conn
}

const (
	fakePrompt = dbus.ObjectPath("/org/freedesktop/secrets/prompt/p1")
	fakeItem   = "/org/freedesktop/secrets/collection/login/"
)

// startFake puts f on the session bus.
func startFake(t *testing.T, f *fakeSecrets) *fakeSecrets {
	t.Helper()
	conn, err := dbus.Connect(os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f.conn = conn
	if f.items == nil {
		f.items = []string{"a secret"}
	}
	for _, iface := range []string{
		"org.freedesktop.Secret.Service", "org.freedesktop.Secret.Collection", "org.freedesktop.Secret.Item",
		"org.freedesktop.Secret.Session", "org.freedesktop.Secret.Prompt", "org.freedesktop.DBus.Properties",
	} {
		if err := conn.ExportSubtree(f, "/org/freedesktop/secrets", iface); err != nil {
			t.Fatal(err)
		}
	}
	if reply, err := conn.RequestName(secretsName, 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return f
}

func (f *fakeSecrets) err() *dbus.Error {
	if !f.fails {
		return nil
	}
	return dbus.NewError("org.freedesktop.Secret.Error.Whatever", []any{"no"})
}

func (f *fakeSecrets) Get(_, property string) (dbus.Variant, *dbus.Error) {
	switch {
	case f.wrongType:
		return dbus.MakeVariant(int64(7)), nil
	case property == "Collections":
		return dbus.MakeVariant([]dbus.ObjectPath{loginCollection}), f.err()
	}
	return dbus.MakeVariant(f.locked), f.err()
}

func (f *fakeSecrets) Unlock(objects []dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.prompts {
		return []dbus.ObjectPath{}, fakePrompt, nil
	}
	return objects, "/", f.err()
}

func (f *fakeSecrets) Prompt(string) *dbus.Error {
	if f.nonsense {
		_ = f.conn.Emit(fakePrompt, "org.freedesktop.Secret.Prompt.Completed", "nonsense")
	}
	return nil
}

// answer unlocks, as a person does at the prompt.
func (f *fakeSecrets) answer() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prompts = false
	_ = f.conn.Emit(fakePrompt, "org.freedesktop.Secret.Prompt.Completed", false, dbus.MakeVariant([]dbus.ObjectPath{loginCollection}))
}

func (f *fakeSecrets) OpenSession(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	return dbus.MakeVariant(""), "/org/freedesktop/secrets/session/s1", f.err()
}

func (f *fakeSecrets) Close() *dbus.Error { return nil }

func (f *fakeSecrets) SearchItems(map[string]string) ([]dbus.ObjectPath, *dbus.Error) {
	paths := []dbus.ObjectPath{}
	for i := range f.items {
		paths = append(paths, dbus.ObjectPath(fakeItem+string(rune('a'+i))))
	}
	return paths, f.err()
}

type fakeSecret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

// GetSecret finds out by the message which item was asked.
func (f *fakeSecrets) GetSecret(msg dbus.Message, session dbus.ObjectPath) (fakeSecret, *dbus.Error) {
	path := string(msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath))
	value := f.items[path[len(path)-1]-'a']
	return fakeSecret{session, []byte{}, []byte(value), "text/plain"}, f.err()
}
