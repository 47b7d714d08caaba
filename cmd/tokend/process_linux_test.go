package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tokend/ipc"
	"tokend/providers/providertest"
	"tokend/providers/token"
	"tokend/store/keyringtest"
)

// A home is a directory with an installation of its own, for tests that a
// script cannot tell.
type home struct {
	t       testing.TB
	dir     string
	env     []string
	issuers *providertest.Server
	daemon  *exec.Cmd
	log     logBuffer
	client  ipc.Client
}

// newHome starts issuers and has tokend trust them. env is what the programs
// see beside the directories.
func newHome(t testing.TB, env ...string) *home {
	t.Helper()
	dir, err := os.MkdirTemp("", "tokend-home-") // short enough for a socket's path
	check(t, err)
	h := &home{t: t, dir: dir, env: append(env, "PATH="+os.Getenv("PATH"), "HOME="+dir), client: ipc.Client{Socket: filepath.Join(dir, "tokend.sock")}}
	t.Cleanup(func() {
		if h.daemon != nil {
			h.kill()
		}
		if t.Failed() {
			t.Logf("tokend logged:\n%s", h.log.String())
		}
		os.RemoveAll(dir)
	})
	if h.issuers, err = providertest.Start(providertest.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.issuers.Close() })
	h.write("ca.pem", string(h.issuers.CertPEM()))
	h.write("config/config.toml", fmt.Sprintf("ca_file = %q\nproxy = \"none\"\n", filepath.Join(dir, "ca.pem")))
	return h
}

func (h *home) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	check(h.t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(h.t, os.WriteFile(path, []byte(text), 0o600))
}

// tokend is a command of this program, run as a process of its own.
func (h *home) tokend(args ...string) *exec.Cmd {
	args = append(args, "--config", filepath.Join(h.dir, "config"), "--state", filepath.Join(h.dir, "state"), "--socket", h.client.Socket)
	cmd := exec.Command("tokend", args...) // put there by testscript.Main
	cmd.Env = h.env
	return cmd
}

// tokenctl runs a command of tokenctl.
func (h *home) tokenctl(args ...string) (said string, status int) {
	h.t.Helper()
	return ends(h.t, exec.Command("tokenctl", append(args, "--socket", h.client.Socket)...))
}

func (h *home) setup(args ...string) (said string) {
	h.t.Helper()
	said, status := ends(h.t, h.tokend(append([]string{"setup"}, args...)...))
	if status != 0 {
		h.t.Fatalf("setup: %s", said)
	}
	return said
}

func (h *home) setupSealed() {
	h.t.Helper()
	h.setup("--keystore", "sealed", "--key-file", filepath.Join(h.dir, "key"))
}

func (h *home) start() {
	h.t.Helper()
	h.startAs(h.tokend("run"))
}

// startAs starts the daemon with a command of its own.
func (h *home) startAs(cmd *exec.Cmd) {
	h.t.Helper()
	h.daemon = cmd
	if cmd.Stderr == nil {
		cmd.Stderr = &h.log
	}
	check(h.t, h.daemon.Start())
	waitFor(h.t, "tokend's answer", func() bool {
		_, err := h.client.Status(context.Background())
		return err == nil
	})
}

func (h *home) kill() {
	_ = h.daemon.Process.Kill()
	_ = h.daemon.Wait()
	h.daemon = nil
}

// interrupt stops the daemon as a service manager would; that is to succeed.
func (h *home) interrupt() {
	h.t.Helper()
	_ = h.daemon.Process.Signal(os.Interrupt)
	if err := h.daemon.Wait(); err != nil {
		h.t.Errorf("stopped: %v", err)
	}
	h.daemon = nil
}

// clms makes a service key and the addition of a profile with it.
func (h *home) clms(name string, bits int) token.CreateProfile {
	h.t.Helper()
	key, err := h.issuers.CLMS().NewServiceKey(bits)
	check(h.t, err)
	return token.CreateProfile{Name: name, Provider: "clms", Secrets: secrets("service_key", string(key))}
}

func (h *home) add(a token.CreateProfile) {
	h.t.Helper()
	if _, err := h.client.Add(h.t.Context(), a); err != nil {
		h.t.Fatal(err)
	}
}

// get gets a token and proves that it is good.
func (h *home) get(name string, q token.Query) string {
	h.t.Helper()
	tok, err := h.client.Get(h.t.Context(), name, q)
	check(h.t, err)
	return tok.Secret.Reveal()
}

// A stop leaves the issuer a few seconds to answer those who wait.
func TestAStopLetsAnAttemptEnd(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.setupSealed()
	h.start()
	profile := h.clms("clms", 2048)
	profile.NoCheck = true
	h.add(profile)
	asked, answer := make(chan struct{}), make(chan struct{})
	h.issuers.CLMS().Fail(func(http.ResponseWriter, *http.Request) {
		h.issuers.CLMS().Heal()
		close(asked)
		<-answer
		panic(http.ErrAbortHandler)
	})
	got := make(chan error, 1)
	go func() {
		_, err := h.client.Get(context.Background(), "clms", token.Query{})
		got <- err
	}()
	<-asked
	check(t, h.daemon.Process.Signal(os.Interrupt))
	waitFor(t, "the stop", func() bool { _, err := os.Stat(h.client.Socket); return err != nil })
	close(answer)
	if err := <-got; !errors.Is(err, token.ErrUnavailable) || strings.Contains(err.Error(), "stopping") {
		t.Errorf("who waited for the issuer: %v", err)
	}
	h.interrupt()
}

// Case 39 of the threat model: kill -9 at any moment, and no key is lost, and
// the tokens are there or obtained again.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds := 25
	if os.Getenv("TOKEND_TEST_LONG") != "" {
		rounds = 200
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	h := newHome(t)
	h.setupSealed()
	h.start()
	h.add(h.clms("clms", 2048))
	id, secret := h.issuers.Aspose().NewClient()
	aspose := token.CreateProfile{Name: "aspose", Provider: "aspose", Secrets: secrets("client_secret", secret),
		Settings: map[string]any{"client_id": id, "base_url": h.issuers.Aspose().BaseURL()}}
	h.add(aspose)
	rotation := token.CreateProfile{Name: "aspose", Secrets: aspose.Secrets}

	for range rounds {
		var load sync.WaitGroup
		for _, act := range []func() error{
			func() error {
				_, err := h.client.Get(context.Background(), "clms", token.Query{Fresh: true})
				return err
			},
			func() error { _, err := h.client.Rotate(context.Background(), rotation); return err },
			func() error { return h.client.Invalidate(context.Background(), "aspose", token.Secret{}) },
		} {
			load.Go(func() {
				for !errors.Is(act(), token.ErrNoDaemon) {
				}
			})
		}
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		h.kill()
		load.Wait()
		h.start()
		for _, name := range []string{"clms", "aspose"} {
			h.get(name, token.Query{})
		}
	}
	if strings.Contains(h.log.String(), "was damaged") {
		t.Error("a kill damaged the cache")
	}
	// Nothing is left over of all the rotations but the current credential.
	if _, err := h.client.Rotate(t.Context(), rotation); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(h.dir, "state", "sealed", "aspose*"))
	if err != nil || len(kept) != 1 {
		t.Errorf("%d files of the profile's secrets: %q", len(kept), kept)
	}
}

// Secrets move between real keystores under a daemon that serves, and the
// daemon that starts afterwards finds them where they are.
func TestSecretsMoveUnderARunningDaemon(t *testing.T) {
	session := keyringtest.Start(t)
	h := newHome(t, session.Env...)
	h.setup("--keystore", "os")
	h.start()
	h.add(h.clms("clms", 2048))
	h.get("clms", token.Query{})
	inKeyring := func() bool {
		items, _ := exec.Command("secret-tool", "search", "--all", "service", "tokend").CombinedOutput()
		return strings.Contains(string(items), "clms/private_key/") || strings.Contains(string(items), "cache-key/")
	}
	if !inKeyring() {
		t.Error("the keyring has no items")
	}
	inFiles := func() bool {
		files, _ := filepath.Glob(filepath.Join(h.dir, "state", "sealed*", "*"))
		return len(files) > 0
	}
	for _, step := range []struct {
		args    []string
		keyring bool
		says    string
	}{
		{[]string{"--to", "sealed"}, false, "A new key is in " + filepath.Join(h.dir, "config", "tokend.key")},
		{[]string{"--to", "sealed", "--key-file", filepath.Join(h.dir, "config", "other.key")}, false, "Only old backups need the key in"},
		{[]string{"--to", "os"}, true, "to os"},
	} {
		moving, moved := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		asking.Go(func() {
			for moving.Err() == nil {
				if _, err := h.client.Get(context.Background(), "clms", token.Query{Fresh: true}); err != nil {
					t.Errorf("while secrets move: %v", err)
				}
			}
		})
		out, status := h.tokenctl(append([]string{"keystore", "migrate"}, step.args...)...)
		moved()
		asking.Wait()
		if status != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), step.says) {
			t.Errorf("%q: status %d: %s", step.args, status, out)
		}
		if inKeyring() != step.keyring || inFiles() == step.keyring {
			t.Errorf("%q: in the keyring %t, in files %t", step.args, inKeyring(), inFiles())
		}
		last := h.get("clms", token.Query{})
		h.kill()
		h.start()
		if got := h.get("clms", token.Query{}); got != last {
			t.Errorf("%q: the next start does not find the cache's key", step.args)
		}
		h.get("clms", token.Query{Fresh: true})
	}
	if audit := read(t, h.dir, "state", "audit.log"); strings.Count(audit, `"do":"migrate"`) != 3 {
		t.Errorf("the audit log: %s", audit)
	}
	check(t, h.client.Remove(t.Context(), "clms"))
	if items, _ := exec.Command("secret-tool", "search", "--all", "service", "tokend").CombinedOutput(); strings.Contains(string(items), "clms/") {
		t.Error("remove left items in the keyring")
	}
}

// A logBuffer is what a daemon logs, also while it runs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(text)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func secrets(field, text string) map[string]token.Secret {
	return map[string]token.Secret{field: token.NewSecret(text)}
}
