//go:build linux

package keyringtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"tokend/packaging/checktest"
)

// A KeePassXC is a real KeePassXC on a private session bus and a screen of its
// own, with the settings that it comes with but for two: its Secret Service is on, and
// it writes at its end alone. While 2.7.4 writes, or reads its own write again, it
// crashes now and then if an entry changes. One database is open and shared.
type KeePassXC struct {
	*Session
	database string
	stop     func() // ends it
}

// StartKeePassXC starts one. Without a recycle bin it asks before it deletes.
func StartKeePassXC(t testing.TB, recycleBin bool) *KeePassXC {
	t.Helper()
	for _, program := range []string{"keepassxc", "keepassxc-cli", "Xvfb", "xdotool"} {
		checktest.Need(t, program)
	}
	k := &KeePassXC{Session: StartBus(t)}
	k.database = filepath.Join(k.dir, "Passwords.kdbx")
	k.setenv("XDG_CONFIG_HOME", filepath.Join(k.dir, "config"))
	k.setenv("XDG_CACHE_HOME", filepath.Join(k.dir, "cache"))
	k.write("config/keepassxc/keepassxc.ini", "[FdoSecrets]\nEnabled=true\n[General]\nUpdateCheckMessageShown=true\nAutoReloadOnChange=false\nAutoSaveAfterEveryChange=false\n")
	k.write("import.xml", fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<KeePassFile><Meta><RecycleBinEnabled>%t</RecycleBinEnabled><CustomData><Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key>
<Value>{00112233-4455-6677-8899-aabbccddeeff}</Value></Item></CustomData></Meta>
<Root><Group><UUID>ABEiM0RVZneImaq7zN3u/w==</UUID><Name>Root</Name></Group></Root></KeePassFile>`, recycleBin))
	cli := exec.Command("keepassxc-cli", "import", "-p", filepath.Join(k.dir, "import.xml"), k.database)
	cli.Stdin = strings.NewReader(password + "\n" + password + "\n")
	if out, err := cli.CombinedOutput(); err != nil {
		t.Fatalf("keepassxc-cli: %v: %s", err, out)
	}
	k.startScreen()
	k.start()
	return k
}

// startScreen starts an X server on a free display.
func (k *KeePassXC) startScreen() {
	k.t.Helper()
	number, answer, err := os.Pipe()
	if err != nil {
		k.t.Fatal(err)
	}
	screen := exec.Command(checktest.Need(k.t, "Xvfb"), "-displayfd", "3", "-screen", "0", "1200x900x24", "-nolisten", "tcp")
	screen.ExtraFiles = []*os.File{answer}
	k.run(screen)
	answer.Close()
	display, err := bufio.NewReader(number).ReadString('\n')
	if err != nil {
		k.t.Fatalf("Xvfb: %v", err)
	}
	k.setenv("DISPLAY", ":"+strings.TrimSpace(display))
}

func (k *KeePassXC) start() {
	k.t.Helper()
	cmd := exec.Command("keepassxc", "--pw-stdin", k.database)
	cmd.Stdin = strings.NewReader(password + "\n")
	cmd.Env = append(os.Environ(), "TMPDIR="+k.dir) // another KeePassXC of this user has its lock there
	k.stop = k.run(cmd)
	k.waitFor("KeePassXC and its database", func(c *dbus.Conn) bool {
		locked, err := isLocked(c, defaultCollection)
		return err == nil && !locked
	})
}

// run starts a program that ends with the test, or by what run returns.
func (k *KeePassXC) run(cmd *exec.Cmd) (stop func()) {
	k.t.Helper()
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
	}
	k.t.Cleanup(stop)
	return stop
}

// Answer waits for a window by its title, and presses keys in it, by xdotool's names.
func (k *KeePassXC) Answer(window string, keys ...string) {
	k.t.Helper()
	k.xdotool("search", "--sync", "--onlyvisible", "--name", window, "sleep", "0.5", "windowfocus", "--sync")
	k.xdotool(append([]string{"key", "--delay", "50"}, keys...)...)
}

// AnswerPassword types the database's password into the window that asks for it.
func (k *KeePassXC) AnswerPassword() {
	k.t.Helper()
	k.Answer("Unlock Database", append(strings.Split(password, ""), "Return")...)
}

// LockDatabase locks the database.
func (k *KeePassXC) LockDatabase() {
	k.t.Helper()
	k.with(func(c *dbus.Conn) error {
		var locked []dbus.ObjectPath
		var prompt dbus.ObjectPath
		err := c.Object(secrets, "/org/freedesktop/secrets").
			Call("org.freedesktop.Secret.Service.Lock", 0, []dbus.ObjectPath{defaultCollection}).Store(&locked, &prompt)
		if err != nil {
			return err
		}
		return c.Object(secrets, prompt).Call("org.freedesktop.Secret.Prompt.Prompt", 0, "").Err
	})
	k.waitFor("the database to be locked", func(c *dbus.Conn) bool {
		locked, err := isLocked(c, defaultCollection)
		return err == nil && locked
	})
}

// Restart ends KeePassXC, which then writes its database, and starts it again.
func (k *KeePassXC) Restart() {
	k.t.Helper()
	k.stop()
	k.start()
}

// Windows returns the titles of the windows on the screen.
func (k *KeePassXC) Windows() string {
	out, _ := exec.Command("xdotool", "search", "--onlyvisible", "--name", ".", "getwindowname", "%@").Output()
	return string(out)
}

func (k *KeePassXC) xdotool(args ...string) {
	k.t.Helper()
	if out, err := exec.Command("timeout", append([]string{"20", "xdotool"}, args...)...).CombinedOutput(); err != nil {
		k.t.Errorf("xdotool %q: %v: %s; windows: %q", args, err, out, k.Windows())
	}
}

func (k *KeePassXC) write(name, text string) {
	k.t.Helper()
	path := filepath.Join(k.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}
