package store

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"tokend/providers/token"
)

// itemLimit: the Secret Service has none.
const itemLimit = 0

// The Secret Service's names on the session bus.
const (
	secretsName      = "org.freedesktop.secrets"
	secretsPath      = dbus.ObjectPath("/org/freedesktop/secrets")
	secretsInterface = "org.freedesktop.Secret.Service"
	loginCollection  = secretsPath + "/collection/login"
	propertiesGet    = "org.freedesktop.DBus.Properties.Get"
)

// look checks that the collection that go-keyring will use is unlocked. go-keyring
// itself would show a prompt, and one that is never answered costs a goroutine
// for ever, because go-keyring leaves its channel in the connection.
func look(ctx context.Context) error {
	if err := findBus(); err != nil {
		return err
	}
	// go-keyring uses the same connection. godbus makes a new one after the bus
	// was restarted.
	conn, err := dbus.SessionBus()
	if err != nil {
		return err
	}
	collection, err := collection(ctx, conn)
	if err != nil {
		return err
	}
	if collection == "/" {
		return fail(token.ErrLocked, "keyring-new", nil, "the OS keyring has no keyring yet: one is made when it is first unlocked")
	}
	var locked bool
	err = conn.Object(secretsName, collection).
		CallWithContext(ctx, propertiesGet, 0, "org.freedesktop.Secret.Collection", "Locked").Store(&locked)
	if err != nil {
		return err
	}
	if locked {
		return fail(token.ErrLocked, "keyring-locked", nil, "the OS keyring is locked")
	}
	return nil
}

// collection returns the collection that go-keyring uses: "login" if it exists,
// else the default one; "/" if there is none.
func collection(ctx context.Context, conn *dbus.Conn) (dbus.ObjectPath, error) {
	secrets := conn.Object(secretsName, secretsPath)
	var collections []dbus.ObjectPath
	err := secrets.CallWithContext(ctx, propertiesGet, 0, secretsInterface, "Collections").Store(&collections)
	if err != nil {
		return "", err
	}
	if slices.Contains(collections, loginCollection) {
		return loginCollection, nil
	}
	var path dbus.ObjectPath
	err = secrets.CallWithContext(ctx, secretsInterface+".ReadAlias", 0, "default").Store(&path)
	return path, err
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

// explainSystem explains the errors of D-Bus and of the Secret Service. One has no
// identity but its text: go-keyring's, after a prompt that was dismissed or could
// not be shown.
func explainSystem(err error) error {
	var reply dbus.Error
	var dial *net.OpError
	errors.As(err, &reply)
	switch name, _ := strings.CutPrefix(reply.Name, "org.freedesktop."); {
	case name == "Secret.Error.IsLocked", strings.HasPrefix(err.Error(), "failed to unlock correct collection"):
		return fail(token.ErrLocked, "keyring-locked", err, "the OS keyring is locked")
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
