//go:build linux

package keyringtest

import (
	"os"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// A Fake is a Secret Service that does what no real one should.
type Fake struct {
	KeePassXC bool     // each change goes by way of a prompt, in no collection "login"
	Elsewhere bool     // the items are in another open collection
	Locked    bool     // the collection is, and Unlock shows a prompt
	Prompts   bool     // each change shows a prompt; no prompt is ever answered
	Refuses   bool     // a prompt is answered with no
	Nonsense  bool     // the prompt ends at once, in nonsense
	Fails     bool     // everything is an error
	WrongType bool     // properties have a type that they should not have
	Items     []string // what there is; nil: one item

	mu   sync.Mutex
	conn *dbus.Conn
}

const (
	fakePrompt = dbus.ObjectPath("/org/freedesktop/secrets/prompt/p1")
	completed  = "org.freedesktop.Secret.Prompt.Completed"
	noObject   = dbus.ObjectPath("/")
)

// Start puts f on the session bus.
func (f *Fake) Start(t *testing.T) *Fake {
	t.Helper()
	conn, err := dbus.Connect(os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f.conn = conn
	if f.Items == nil {
		f.Items = []string{"a secret"}
	}
	for _, iface := range []string{"Service", "Item", "Session", "Prompt"} {
		if err := conn.ExportSubtree(f, "/org/freedesktop/secrets", "org.freedesktop.Secret."+iface); err != nil {
			t.Fatal(err)
		}
	}
	collection := map[string]any{"SearchItems": f.searchCollection, "CreateItem": f.createItem}
	for iface, methods := range map[string]map[string]any{"Secret.Collection": collection, "DBus.Properties": {"Get": f.property}} {
		if err := conn.ExportSubtreeMethodTable(methods, "/org/freedesktop/secrets", "org.freedesktop."+iface); err != nil {
			t.Fatal(err)
		}
	}
	if reply, err := conn.RequestName(secrets, 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return f
}

// Stop ends f, as if its process had died.
func (f *Fake) Stop() { f.conn.Close() }

func (f *Fake) err() *dbus.Error {
	if !f.Fails {
		return nil
	}
	return dbus.NewError("org.freedesktop.Secret.Error.Whatever", []any{"no"})
}

func (f *Fake) collection() dbus.ObjectPath {
	if f.KeePassXC {
		return "/org/freedesktop/secrets/collection/passwords"
	}
	return login
}

func (f *Fake) property(_, name string) (dbus.Variant, *dbus.Error) {
	switch {
	case f.WrongType:
		return dbus.MakeVariant(int64(7)), nil
	case name == "Collections":
		return dbus.MakeVariant([]dbus.ObjectPath{f.collection()}), f.err()
	}
	return dbus.MakeVariant(f.Locked), f.err()
}

func (f *Fake) ReadAlias(string) (dbus.ObjectPath, *dbus.Error) { return f.collection(), f.err() }

func (f *Fake) Unlock(objects []dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	if f.Locked {
		return []dbus.ObjectPath{}, fakePrompt, nil
	}
	return objects, noObject, f.err()
}

func (f *Fake) Prompt(string) *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.Nonsense:
		_ = f.conn.Emit(fakePrompt, completed, "nonsense")
	case !f.Prompts:
		_ = f.conn.Emit(fakePrompt, completed, f.Refuses, dbus.MakeVariant([]dbus.ObjectPath{}))
	}
	return nil
}

// Answer answers the prompt with yes, as a person does.
func (f *Fake) Answer() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Prompts = false
	_ = f.conn.Emit(fakePrompt, completed, false, dbus.MakeVariant([]dbus.ObjectPath{login}))
}

func (f *Fake) OpenSession(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	return dbus.MakeVariant(""), "/org/freedesktop/secrets/session/s1", f.err()
}

func (f *Fake) Close() *dbus.Error { return nil }

func (f *Fake) SearchItems(map[string]string) (unlocked, locked []dbus.ObjectPath, err *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.collection()
	if f.Elsewhere {
		in += "2"
	}
	for i := range f.Items {
		unlocked = append(unlocked, in+dbus.ObjectPath("/"+string(rune('a'+i))))
	}
	return unlocked, nil, f.err()
}

func (f *Fake) searchCollection(map[string]string) (items []dbus.ObjectPath, err *dbus.Error) {
	if !f.Elsewhere {
		items, _, err = f.SearchItems(nil)
	}
	return items, err
}

func (f *Fake) createItem(map[string]dbus.Variant, fakeSecret, bool) (item, prompt dbus.ObjectPath, err *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return noObject, f.change(), f.err()
}

func (f *Fake) Delete() (prompt dbus.ObjectPath, err *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.Prompts {
		f.Items = nil
	}
	return f.change(), f.err()
}

// change returns the prompt of a change.
func (f *Fake) change() dbus.ObjectPath {
	if f.KeePassXC || f.Prompts {
		return fakePrompt
	}
	return noObject
}

type fakeSecret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

func (f *Fake) SetSecret(secret fakeSecret) *dbus.Error {
	f.Items[0] = string(secret.Value)
	return f.err()
}

// GetSecret finds out by the message which item was asked.
func (f *Fake) GetSecret(msg dbus.Message, session dbus.ObjectPath) (fakeSecret, *dbus.Error) {
	path := string(msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath))
	value := f.Items[path[len(path)-1]-'a']
	return fakeSecret{session, []byte{}, []byte(value), "text/plain"}, f.err()
}
