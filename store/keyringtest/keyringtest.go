//go:build linux

// Package keyringtest starts a private D-Bus session bus for a test, with a real
// gnome-keyring on it, in a home directory of its own.
package keyringtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"tokend/packaging/checktest"
)

const (
	secrets  = "org.freedesktop.secrets"
	password = "apassword"
	login    = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	// defaultCollection is KeePassXC's database in front.
	defaultCollection = dbus.ObjectPath("/org/freedesktop/secrets/aliases/default")
)

// A Session is a private session bus. Its address and directories are in the
// environment of the test process, and so in that of its children, until the
// test ends.
type Session struct {
	// Address is the bus's D-Bus address.
	Address string
	// Env is what the session added to the environment, for a child that is
	// given an environment of its own.
	Env []string

	t      testing.TB
	dir    string
	config string
	bus    *exec.Cmd
}

// Start starts a bus with an unlocked gnome-keyring. A machine without the
// programs skips the test, or fails it where CI is set.
func Start(t testing.TB) *Session {
	t.Helper()
	s := StartBus(t, "/usr/share/dbus-1/services")
	s.startKeyring()
	// A call before that would make the bus start another one, locked.
	s.waitFor("the keyring", isThere)
	s.waitFor("the keyring to be unlocked", func(c *dbus.Conn) bool {
		locked, err := isLocked(c, login)
		return err == nil && !locked
	})
	return s
}

// StartBus starts an empty bus, which starts the services that serviceDirs
// describe when they are called.
func StartBus(t testing.TB, serviceDirs ...string) *Session {
	t.Helper()
	checktest.Need(t, "dbus-daemon")
	checktest.Need(t, "gnome-keyring-daemon")
	// A socket's path has to be short: t.TempDir has the test's name in it.
	dir, err := os.MkdirTemp("", "keyringtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Session{t: t, dir: dir, config: filepath.Join(dir, "bus.conf"), Address: "unix:path=" + filepath.Join(dir, "run", "bus")}
	for _, d := range []string{"run", "data"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.setenv("HOME", dir)
	s.setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	s.setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "run"))
	s.setenv("DBUS_SESSION_BUS_ADDRESS", s.Address)
	for _, name := range []string{"DISPLAY", "WAYLAND_DISPLAY", "GNOME_KEYRING_CONTROL"} {
		s.setenv(name, "")
	}
	if err := os.WriteFile(s.config, []byte(busConfig(s.Address, serviceDirs)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.RestartBus()
	t.Cleanup(s.stop)
	return s
}

// NoBus takes every way to a session bus out of the environment.
func NoBus(t testing.TB) {
	t.Helper()
	for _, name := range []string{"DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY"} {
		t.Setenv(name, "")
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
}

// Lock locks the keyring.
func (s *Session) Lock() {
	s.t.Helper()
	s.with(func(c *dbus.Conn) error {
		return c.Object(secrets, "/org/freedesktop/secrets").
			Call("org.freedesktop.Secret.Service.Lock", 0, []dbus.ObjectPath{login}).Err
	})
}

// Unlock unlocks the keyring, as its prompt does once it has the password.
func (s *Session) Unlock() {
	s.t.Helper()
	s.with(func(c *dbus.Conn) error {
		service := c.Object(secrets, "/org/freedesktop/secrets")
		var none dbus.Variant
		var session dbus.ObjectPath
		err := service.Call("org.freedesktop.Secret.Service.OpenSession", 0, "plain", dbus.MakeVariant("")).Store(&none, &session)
		if err != nil {
			return err
		}
		master := struct {
			Session     dbus.ObjectPath
			Parameters  []byte
			Value       []byte
			ContentType string
		}{session, nil, []byte(password), "text/plain"}
		return service.Call("org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface.UnlockWithMasterPassword", 0, login, master).Err
	})
}

// KillKeyring kills gnome-keyring. The bus starts another one, locked, when it
// is called.
func (s *Session) KillKeyring() {
	s.t.Helper()
	s.with(func(c *dbus.Conn) error {
		var pid uint32
		if err := c.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, secrets).Store(&pid); err != nil {
			return err
		}
		p, err := os.FindProcess(int(pid))
		if err != nil {
			return err
		}
		return p.Kill()
	})
	s.waitFor("the keyring's end", func(c *dbus.Conn) bool { return !isThere(c) })
}

// KillBus kills the bus, and with it everything on it.
func (s *Session) KillBus() {
	s.t.Helper()
	if err := s.bus.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.bus.Wait() // says that it was killed
}

// RestartBus starts the bus, again at the same address.
func (s *Session) RestartBus() {
	s.t.Helper()
	s.bus = exec.Command("dbus-daemon", "--config-file="+s.config, "--nofork", "--nopidfile", "--print-address=1")
	out, err := s.bus.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.bus.Start(); err != nil {
		s.t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		s.t.Fatalf("dbus-daemon: %v", err)
	}
}

// stop ends the bus, and waits until the connection that the process shares
// has noticed: the next test must not be given it.
func (s *Session) stop() {
	conn, err := dbus.SessionBus()
	_ = s.bus.Process.Kill() // it may be dead already
	_ = s.bus.Wait()
	if err == nil {
		<-conn.Context().Done()
	}
}

// startKeyring starts gnome-keyring and passes it its password. It ends with
// its bus, or with the test if it never came to be on it.
func (s *Session) startKeyring() {
	s.t.Helper()
	cmd := exec.Command("gnome-keyring-daemon", "--unlock", "--components=secrets", "--foreground")
	cmd.Stdin = strings.NewReader(password)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// with runs f on a connection of its own.
func (s *Session) with(f func(*dbus.Conn) error) {
	s.t.Helper()
	c, err := dbus.Connect(s.Address)
	if err == nil {
		defer c.Close()
		err = f(c)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *Session) waitFor(what string, there func(*dbus.Conn) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s.with(func(c *dbus.Conn) error {
		for !there(c) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("waited in vain for %s", what)
			case <-time.After(5 * time.Millisecond):
			}
		}
		return nil
	})
}

func (s *Session) setenv(name, value string) {
	s.t.Setenv(name, value)
	s.Env = append(s.Env, name+"="+value)
}

// isThere reports whether there is a keyring on the bus, without starting one.
func isThere(c *dbus.Conn) bool {
	var there bool
	err := c.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, secrets).Store(&there)
	return err == nil && there
}

func isLocked(c *dbus.Conn, collection dbus.ObjectPath) (bool, error) {
	v, err := c.Object(secrets, collection).GetProperty("org.freedesktop.Secret.Collection.Locked")
	if err != nil {
		return false, err
	}
	locked, ok := v.Value().(bool)
	if !ok {
		return false, fmt.Errorf("the property Locked is %v", v)
	}
	return locked, nil
}

func busConfig(address string, serviceDirs []string) string {
	var dirs strings.Builder
	for _, d := range serviceDirs {
		fmt.Fprintf(&dirs, "<servicedir>%s</servicedir>", d)
	}
	return `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
<type>session</type><listen>` + address + `</listen><auth>EXTERNAL</auth>` + dirs.String() + `
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy>
</busconfig>
`
}
