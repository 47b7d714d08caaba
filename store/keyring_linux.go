package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"
	ss "github.com/zalando/go-keyring/secret_service"

	"tokend/providers/token"
)

// itemLimit: the Secret Service has none.
const itemLimit = 0

// The Secret Service's names on the session bus.
const (
	secretsName     = "org.freedesktop.secrets"
	secretInterface = "org.freedesktop.Secret." // and then its kind
	secretsPath     = dbus.ObjectPath("/org/freedesktop/secrets")
	loginCollection = secretsPath + "/collection/login"
	noObject        = dbus.ObjectPath("/")
)

// A systemRing is the Secret Service on the session bus: GNOME Keyring, KWallet or
// KeePassXC. go-keyring reads and writes there as long as nothing prompts: it waits
// for a prompt for ever, and leaves a channel behind that costs a goroutine with each
// later signal. So every call looks first. What go-keyring cannot do is done here:
// items of a database that is not in front, changes that KeePassXC makes by way of a
// prompt, and unlocking.
type systemRing struct{ service string }

func (r systemRing) get(ctx context.Context, account string) (text string, err error) {
	b, item, err := r.find(ctx, account)
	if err != nil {
		return "", err
	}
	if dir(item) == b.collection {
		return keyring.Get(r.service, account)
	}
	err = inSession(func(service *ss.SecretService, session dbus.ObjectPath) error {
		secret, err := service.GetSecret(item, session)
		if err == nil {
			text = string(secret.Value)
		}
		return err
	})
	return text, err
}

func (r systemRing) set(ctx context.Context, account, text string) error {
	b, item, err := r.find(ctx, account)
	isNew := errors.Is(err, keyring.ErrNotFound)
	switch {
	case err != nil && !isNew:
		return err
	case b.changesWithoutPrompt(item):
		return keyring.Set(r.service, account, text)
	}
	return inSession(func(_ *ss.SecretService, session dbus.ObjectPath) error {
		secret := ss.NewSecret(session, text)
		if !isNew {
			return b.call(item, "Item.SetSecret", secret).Err
		}
		return b.ask(b.collection, "Collection.CreateItem", map[string]any{
			"org.freedesktop.Secret.Item.Label":      fmt.Sprintf("Password for '%s' on '%s'", account, r.service),
			"org.freedesktop.Secret.Item.Attributes": map[string]string{"service": r.service, "username": account},
		}, secret, true)
	})
}

// remove goes on when its caller no longer waits, so that there is one prompt at a
// time.
func (r systemRing) remove(ctx context.Context, account string) error {
	b, item, err := r.find(context.WithoutCancel(ctx), account)
	switch {
	case err != nil:
		return err
	case b.changesWithoutPrompt(item):
		return keyring.Delete(r.service, account)
	}
	return b.ask(item, "Item.Delete")
}

// look checks that the collection is unlocked, and that tokend may read its items
// in it: KeePassXC asks about each program that comes to the bus.
func (r systemRing) look(ctx context.Context) error {
	b, err := openBus(ctx)
	if err != nil {
		return err
	}
	locked, err := b.lockedItems(r.service)
	if len(locked) > 0 {
		return errConfirm
	}
	return err
}

// unlock goes on as remove does.
func (r systemRing) unlock(ctx context.Context) error {
	b, err := openBus(context.WithoutCancel(ctx))
	if errors.Is(err, errLocked) {
		err = b.ask(secretsPath, "Service.Unlock", []dbus.ObjectPath{b.collection})
	}
	var items []dbus.ObjectPath
	if err == nil {
		items, err = b.lockedItems(r.service)
	}
	if err == nil {
		err = b.ask(secretsPath, "Service.Unlock", items)
	}
	if err == nil {
		err = r.look(ctx)
	}
	return err
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

// find returns the item of an account that can be read now.
func (r systemRing) find(ctx context.Context, account string) (b bus, item dbus.ObjectPath, err error) {
	b, err = openBus(ctx)
	if err != nil {
		return b, "", err
	}
	unlocked, locked, err := b.search(map[string]string{"service": r.service, "username": account})
	switch {
	case err != nil:
		return b, "", err
	case len(unlocked) > 0:
		return b, unlocked[0], nil
	case len(locked) > 0:
		return b, "", errConfirm
	}
	return b, "", keyring.ErrNotFound
}

// A bus is the session bus during one call.
type bus struct {
	ctx  context.Context
	conn *dbus.Conn // the one that go-keyring uses
	// collection is where go-keyring looks: "login" if it exists, else the default one.
	collection dbus.ObjectPath
}

var errLocked = fail(token.ErrLocked, "keyring-locked", nil, "the OS keyring is locked")

// openBus returns errLocked, and the bus, if the collection is locked.
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
	err = b.property(secretsPath, "Service.Collections").Store(&collections)
	if err == nil && !slices.Contains(collections, loginCollection) {
		err = b.call(secretsPath, "Service.ReadAlias", "default").Store(&b.collection)
	}
	if err == nil && b.collection == noObject {
		err = fail(token.ErrLocked, "keyring-new", nil, "the OS keyring has no keyring yet, or no database that is open and shared with other programs")
	}
	if err != nil {
		return b, err
	}
	locked, err := b.isLocked(b.collection)
	if locked {
		err = errLocked
	}
	return b, err
}

func (b bus) call(path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	return b.conn.Object(secretsName, path).CallWithContext(b.ctx, secretInterface+method, 0, args...)
}

func (b bus) property(path dbus.ObjectPath, name string) *dbus.Call {
	kind, name, _ := strings.Cut(name, ".")
	return b.conn.Object(secretsName, path).CallWithContext(b.ctx, "org.freedesktop.DBus.Properties.Get", 0, secretInterface+kind, name)
}

func (b bus) isLocked(collection dbus.ObjectPath) (locked bool, err error) {
	err = b.property(collection, "Collection.Locked").Store(&locked)
	return locked, err
}

// changesWithoutPrompt reports whether go-keyring can make an item (""), replace or
// delete it, without a prompt. KeePassXC, which prompts, has no collection "login".
func (b bus) changesWithoutPrompt(item dbus.ObjectPath) bool {
	return b.collection == loginCollection && (item == "" || dir(item) == loginCollection)
}

// dir returns the collection of an item.
func dir(item dbus.ObjectPath) dbus.ObjectPath { return dbus.ObjectPath(path.Dir(string(item))) }

// search finds items in all collections. b's must be unlocked: for one that is locked
// KeePassXC shows a prompt.
func (b bus) search(attributes map[string]string) (unlocked, locked []dbus.ObjectPath, err error) {
	err = b.call(secretsPath, "Service.SearchItems", attributes).Store(&unlocked, &locked)
	return unlocked, locked, err
}

// lockedItems returns the items of a service in unlocked collections that need a
// person's consent.
func (b bus) lockedItems(service string) ([]dbus.ObjectPath, error) {
	_, locked, err := b.search(map[string]string{"service": service})
	return slices.DeleteFunc(locked, func(item dbus.ObjectPath) bool {
		isLocked, err := b.isLocked(dir(item))
		return err != nil || isLocked
	}), err
}

// inSession runs op in a session for the exchange of secrets.
func inSession(op func(service *ss.SecretService, session dbus.ObjectPath) error) error {
	service, err := ss.NewSecretService()
	if err != nil {
		return err
	}
	session, err := service.OpenSession()
	if err != nil {
		return err
	}
	defer service.Close(session)
	return op(service, session.Path())
}

// ask calls a method whose last result is a prompt. If there is one, ask shows it, and
// waits for its end, or for that of b's context or of the keyring's service.
func (b bus) ask(path dbus.ObjectPath, method string, args ...any) error {
	call := b.call(path, method, args...)
	if call.Err != nil {
		return call.Err
	}
	prompt := call.Body[len(call.Body)-1].(dbus.ObjectPath)
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
		case <-b.ctx.Done():
			return context.Cause(b.ctx)
		case signal, open := <-signals:
			switch {
			case !open:
				return dbus.ErrClosed
			case signal.Path == prompt:
				var dismissed bool
				err := dbus.Store(signal.Body, &dismissed, new(dbus.Variant))
				if dismissed {
					err = errRefused
				}
				return err
			case slices.Contains(signal.Body, any(secretsName)):
				return errEnded
			}
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

var errEnded = fail(token.ErrKeystore, "keyring-ended", nil, "the keyring service ended before it answered")

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
		return errEnded
	case reply.Name != "":
		return fail(token.ErrKeystore, "keyring-error", err, "the keyring service says %s: %v", reply.Name, err)
	case errors.As(err, &dial), errors.Is(err, dbus.ErrClosed), errors.Is(err, io.EOF):
		return fail(token.ErrKeystore, "no-session-bus", err, "the D-Bus session bus cannot be reached: %v", err)
	}
	return nil
}
