package store

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"tokend/packaging/checktest"
	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// A key comes back from its credential, with the host's key and with a TPM, over
// a restart of the machine; under another name and after damage it does not, and
// nothing is ever overwritten.
func TestCredentialFileGivesItsKeyBack(t *testing.T) {
	for _, program := range []string{"systemd-creds", "swtpm", "tpm2_pcrread"} { // systemd-creds: since systemd 250
		checktest.Need(t, program)
	}
	checktest.NeedRoot(t, "to encrypt with the host's key")
	for _, tpm := range []bool{false, true} {
		t.Run(fmt.Sprint("TPM ", tpm), func(t *testing.T) {
			dir := t.TempDir()
			boot := func() {}
			if tpm {
				boot = softTPM(t)
			}
			boot()
			c := CredentialFile{Path: filepath.Join(dir, "a.cred"), Name: "a", TPM: tpm}
			key := Val(c.Make(t.Context()))
			boot()
			again, err := c.Read(t.Context())
			if err != nil || !again.Equal(key) {
				t.Errorf("another key, %v", err)
			}
			WantModes(t, c.Path)
			NoCanary(t, dir, key.Reveal())
			WantCode(t, ErrOf(c.Make(t.Context())), token.ErrExists)
			WantCode(t, ErrOf(CredentialFile{Path: c.Path, Name: "b"}.Read(t.Context())), token.ErrKeystore)

			content := Val(os.ReadFile(c.Path))
			content[len(content)/2]++
			Must(t, os.WriteFile(c.Path, content, 0o600))
			WantCode(t, ErrOf(c.Read(t.Context())), token.ErrKeystore)
		})
	}
}

// softTPM starts a TPM 2.0 in software, which systemd-creds takes for the
// machine's. The machine boots each time boot is called.
func softTPM(t *testing.T) (boot func()) {
	t.Helper()
	dir := t.TempDir()
	port := freePort(t)
	server, control := strconv.Itoa(port), strconv.Itoa(port+1) // where its users look for it
	t.Setenv("SYSTEMD_TPM2_DEVICE", "swtpm:host=127.0.0.1,port="+server)
	var running *exec.Cmd
	stop := func() {
		if running != nil {
			_ = running.Process.Kill()
			_ = running.Wait()
		}
	}
	t.Cleanup(stop)
	return func() {
		t.Helper()
		stop()
		running = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--flags", "not-need-init,startup-clear",
			"--server", "type=tcp,port="+server, "--ctrl", "type=tcp,port="+control)
		Must(t, running.Start())
		eventually(t, func() bool {
			conn, err := net.Dial("tcp", "127.0.0.1:"+control)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
	}
}

// freePort returns the number of a port that is free, like the next one.
func freePort(t *testing.T) int {
	t.Helper()
	for {
		l := Val(net.Listen("tcp", "127.0.0.1:0"))
		port := l.Addr().(*net.TCPAddr).Port
		next, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+1))
		if Must(t, l.Close()); err == nil {
			Must(t, next.Close())
			return port
		}
	}
}
