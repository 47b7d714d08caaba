package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"

	"tokend/providers/token"
)

// itemLimit: the Secret Service has none.
const itemLimit = 0

// The Secret Service's names on the session bus.
const (
	secretsName     = "org.freedesktop.secrets"
	secretsPath     = dbus.ObjectPath("/org/freedesktop/secrets")
	loginCollection = secretsPath + "/collection/login"
	noObject        = dbus.ObjectPath("/")
)

// A systemRing is the Secret Service on the session bus: GNOME Keyring, KWallet or
// KeePassXC. It keeps items as go-keyring does, which cannot be used here: it
// waits for a prompt for ever, and leaves a channel behind each time that every
// later signal costs another goroutine.
type systemRing struct{ service string }

func (r systemRing) get(ctx context.Context, account string) (string, error) {
	var secret dbusSecret
	err := r.with(ctx, func(b bus) error {
		item, err := b.find(r.service, account)
		if err != nil {
			return err
		}
		return b.inSession(func(session dbus.ObjectPath) error {
			return b.call(item, "Item.GetSecret", session).Store(&secret)
		})
	})
	return string(secret.Value), err
}

func (r systemRing) set(ctx context.Context, account, text string) error {
	return r.with(ctx, func(b bus) error {
		item, err := b.find(r.service, account)
		if err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return err
		}
		return b.inSession(func(session dbus.ObjectPath) error {
			secret := dbusSecret{session, []byte{}, []byte(text), "text/plain; charset=utf8"}
			if err == nil { // it may be in another collection than a new one
				return b.call(item, "Item.SetSecret", secret).Err
			}
			properties := map[string]dbus.Variant{
				"org.freedesktop.Secret.Item.Label":      dbus.MakeVariant(fmt.Sprintf("Password for '%s' on '%s'", account, r.service)),
				"org.freedesktop.Secret.Item.Attributes": dbus.MakeVariant(attributes(r.service, account)),
			}
			var item, prompt dbus.ObjectPath
			if err := b.call(b.collection, "Collection.CreateItem", properties, secret, true).Store(&item, &prompt); err != nil {
				return err
			}
			return b.answer(ctx, prompt)
		})
	})
}

// remove waits for an answer to its prompt even if its caller no longer does, so
// that there is one prompt at a time.
func (r systemRing) remove(ctx context.Context, account string) error {
	return r.with(ctx, func(b bus) error {
		item, err := b.find(r.service, account)
		if err != nil {
			return err
		}
		var prompt dbus.ObjectPath
		if err := b.call(item, "Item.Delete").Store(&prompt); err != nil {
			return err
		}
		return b.answer(context.WithoutCancel(ctx), prompt)
	})
}

// look checks that the collection is unlocked, and that tokend may read its items
// in it: KeePassXC asks about each program that comes to the bus.
func (r systemRing) look(ctx context.Context) error {
	return r.with(ctx, func(b bus) error {
		locked, err := b.lockedItems(r.service)
		if len(locked) > 0 {
			return errConfirm
		}
		return err
	})
}

// unlock waits for the answers to its prompts as remove does.
func (r systemRing) unlock(ctx context.Context) error {
	b, err := openBus(ctx)
	if err != nil {
		return err
	}
	locked, err := b.isLocked(b.collection)
	if err == nil && locked {
		err = b.unlock(b.collection)
	}
	if err != nil {
		return err
	}
	if items, err := b.lockedItems(r.service); err != nil || len(items) == 0 {
		return err
	} else if err := b.unlock(items...); err != nil {
		return err
	}
	return r.look(ctx)
}

// asks reports whether another program would be asked about what this one keeps,
// as the next connection of this one is, too.
func (r systemRing) asks(ctx context.Context) bool {
	conn, err := dbus.ConnectSessionBus(dbus.WithContext(ctx))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	locked, _ := bus{ctx, conn, noObject}.lockedItems(r.service)
	return len(locked) > 0
}

// with runs op if the collection is unlocked.
func (r systemRing) with(ctx context.Context, op func(bus) error) error {
	b, err := openBus(ctx)
	if err != nil {
		return err
	}
	locked, err := b.isLocked(b.collection)
	if err == nil && locked {
		err = errLocked
	}
	if err != nil {
		return err
	}
	return op(b)
}

var errLocked = fail(token.ErrLocked, "keyring-locked", nil, "the OS keyring is locked")

// A dbusSecret is a secret as it crosses the bus.
type dbusSecret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

func attributes(service, account string) map[string]string {
	return map[string]string{"service": service, "username": account}
}

// A bus is the session bus during one call.
type bus struct {
	ctx  context.Context
	conn *dbus.Conn
	// collection is where new items go: "login" if it exists, else the default one.
	collection dbus.ObjectPath
}

func openBus(ctx context.Context) (bus, error) {
	if err := findBus(); err != nil {
		return bus{}, err
	}
	// godbus makes a new connection after the bus was restarted.
	conn, err := dbus.SessionBus()
	if err != nil {
		return bus{}, err
	}
	b := bus{ctx, conn, loginCollection}
	var collections []dbus.ObjectPath
	if err := b.property(secretsPath, "Service", "Collections").Store(&collections); err != nil || slices.Contains(collections, loginCollection) {
		return b, err
	}
	err = b.call(secretsPath, "Service.ReadAlias", "default").Store(&b.collection)
	if err == nil && b.collection == noObject {
		err = fail(token.ErrLocked, "keyring-new", nil, "the OS keyring has no keyring yet, or no database that is open and shared with other programs")
	}
	return b, err
}

func (b bus) call(path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	return b.conn.Object(secretsName, path).CallWithContext(b.ctx, "org.freedesktop.Secret."+method, 0, args...)
}

func (b bus) property(path dbus.ObjectPath, kind, name string) *dbus.Call {
	return b.conn.Object(secretsName, path).
		CallWithContext(b.ctx, "org.freedesktop.DBus.Properties.Get", 0, "org.freedesktop.Secret."+kind, name)
}

func (b bus) isLocked(collection dbus.ObjectPath) (locked bool, err error) {
	err = b.property(collection, "Collection", "Locked").Store(&locked)
	return locked, err
}

// search finds items. The collection must be unlocked: for one that is locked
// KeePassXC shows a prompt.
func (b bus) search(attributes map[string]string) (unlocked, locked []dbus.ObjectPath, err error) {
	err = b.call(secretsPath, "Service.SearchItems", attributes).Store(&unlocked, &locked)
	return unlocked, locked, err
}

// find returns the item of an account that can be read now.
func (b bus) find(service, account string) (dbus.ObjectPath, error) {
	unlocked, locked, err := b.search(attributes(service, account))
	switch {
	case err != nil:
		return "", err
	case len(unlocked) > 0:
		return unlocked[0], nil
	case len(locked) > 0:
		return "", errConfirm
	}
	return "", keyring.ErrNotFound
}

// lockedItems returns the items of a service in unlocked collections that need a
// person's consent.
func (b bus) lockedItems(service string) (items []dbus.ObjectPath, err error) {
	_, locked, err := b.search(map[string]string{"service": service})
	for _, item := range locked {
		if shut, err := b.isLocked(dbus.ObjectPath(filepath.Dir(string(item)))); err == nil && !shut {
			items = append(items, item)
		}
	}
	return items, err
}

func (b bus) unlock(objects ...dbus.ObjectPath) error {
	var unlocked []dbus.ObjectPath
	var prompt dbus.ObjectPath
	if err := b.call(secretsPath, "Service.Unlock", objects).Store(&unlocked, &prompt); err != nil {
		return err
	}
	return b.answer(context.WithoutCancel(b.ctx), prompt)
}

func (b bus) inSession(op func(session dbus.ObjectPath) error) error {
	var output dbus.Variant
	var session dbus.ObjectPath
	if err := b.call(secretsPath, "Service.OpenSession", "plain", dbus.MakeVariant("")).Store(&output, &session); err != nil {
		return err
	}
	defer b.call(session, "Session.Close")
	return op(session)
}

// answer shows a prompt, if there is one, and waits for its end, or for that of wait
// or of the keyring's service.
func (b bus) answer(wait context.Context, prompt dbus.ObjectPath) error {
	if prompt == noObject {
		return nil
	}
	signals := make(chan *dbus.Signal, 8)
	b.conn.Signal(signals)
	defer b.conn.RemoveSignal(signals)
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchObjectPath(prompt), dbus.WithMatchMember("Completed")},
		{dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, secretsName)},
	} {
		if err := b.conn.AddMatchSignalContext(b.ctx, match...); err != nil {
			return err
		}
		defer func() { _ = b.conn.RemoveMatchSignal(match...) }()
	}
	if err := b.call(prompt, "Prompt.Prompt", "").Err; err != nil {
		return err
	}
	for {
		select {
		case <-wait.Done():
			return context.Cause(wait)
		case signal, open := <-signals:
			if !open {
				return dbus.ErrClosed
			}
			dismissed := true
			switch {
			case strings.HasSuffix(signal.Name, ".NameOwnerChanged") && slices.Contains(signal.Body, any(secretsName)):
				return fail(token.ErrKeystore, "keyring-ended", nil, "the keyring service ended before it answered")
			case signal.Path != prompt:
				continue
			case len(signal.Body) == 0 || dbus.Store(signal.Body[:1], &dismissed) != nil:
				return errors.New("a prompt that ended in nonsense")
			case dismissed:
				return errRefused
			}
			return nil
		}
	}
}

// findBus passes the address of the D-Bus session bus, on which the OS keyring is,
// to godbus through the environment: without an address godbus would start a bus of
// its own, a process that never ends.
func findBus() error {
	addr := os.Getenv("DBUS_SESSION_BUS_ADDRESS")
	if addr != "" && !strings.HasPrefix(addr, "autolaunch:") {
		return nil
	}
	for _, dir := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/run/user/" + strconv.Itoa(os.Getuid())} {
		socket := filepath.Join(dir, "bus")
		if info, err := os.Stat(socket); dir != "" && err == nil && info.Mode().Type() == os.ModeSocket {
			return os.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+dbus.EscapeBusAddressValue(socket))
		}
	}
	return fail(token.ErrKeystore, "no-session-bus", nil, "no D-Bus session bus, so no OS keyring: DBUS_SESSION_BUS_ADDRESS is not set and $XDG_RUNTIME_DIR/bus does not exist")
}

// explainSystem explains the errors of D-Bus and of the Secret Service.
func explainSystem(err error) error {
	var reply dbus.Error
	var dial *net.OpError
	errors.As(err, &reply)
	switch name, _ := strings.CutPrefix(reply.Name, "org.freedesktop."); {
	case name == "Secret.Error.IsLocked":
		return errLocked
	case name == "DBus.Error.ServiceUnknown", name == "DBus.Error.NameHasNoOwner", strings.HasPrefix(name, "DBus.Error.Spawn."):
		return fail(token.ErrKeystore, "no-keyring-service", err, "no keyring service (%s) on the D-Bus session bus", secretsName)
	case name == "DBus.Error.NoReply", name == "DBus.Error.Disconnected":
		return fail(token.ErrKeystore, "keyring-ended", err, "the keyring service ended before it answered")
	case reply.Name != "":
		return fail(token.ErrKeystore, "keyring-error", err, "the keyring service says %s: %v", reply.Name, err)
	case errors.As(err, &dial), errors.Is(err, dbus.ErrClosed), errors.Is(err, io.EOF):
		return fail(token.ErrKeystore, "no-session-bus", err, "the D-Bus session bus cannot be reached: %v", err)
	}
	return nil
}
