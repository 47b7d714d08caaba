//go:build unix

// Package bench holds what the commands that measure whole processes share: a
// temporary installation with issuers on loopback, and tables of measurements.
// docs/performance.md says how to run them.
package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tokend/ipc"
	"tokend/providers/providertest"
	"tokend/providers/token"
	"tokend/store"
)

// A Home is a temporary installation: programs as they are shipped, issuers,
// sealed files as keystore, policy and audit log as they are by default.
type Home struct {
	Dir              string
	Tokend, Tokenctl string
	Issuers          *providertest.Server
	Client           ipc.Client

	daemon *exec.Cmd
	log    bytes.Buffer
}

// NewHome builds the programs and sets up an installation. End removes it.
func NewHome() (h *Home, err error) {
	dir, err := os.MkdirTemp("", "tokend-bench-")
	if err != nil {
		return nil, err
	}
	h = &Home{Dir: dir, Client: ipc.Client{Socket: filepath.Join(dir, "tokend.sock")}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.End())
		}
	}()
	if h.Tokend, err = h.Build("tokend", "cmd/tokend"); err != nil {
		return h, err
	}
	if h.Tokenctl, err = h.Build("tokenctl", "cmd/tokenctl"); err != nil {
		return h, err
	}
	if h.Issuers, err = providertest.Start(providertest.Options{}); err != nil {
		return h, err
	}
	config := fmt.Sprintf("ca_file = %q\nproxy = \"none\"\n", h.path("ca.pem"))
	return h, errors.Join(
		os.MkdirAll(h.path("config", "profiles.d"), 0o700),
		os.WriteFile(h.path("ca.pem"), h.Issuers.CertPEM(), 0o600),
		os.WriteFile(h.path("config", "config.toml"), []byte(config), 0o600),
		h.command("setup", "--keystore", "sealed", "--key-file", h.path("key")).Run(),
	)
}

func (h *Home) path(parts ...string) string {
	return filepath.Join(append([]string{h.Dir}, parts...)...)
}

func (h *Home) command(args ...string) *exec.Cmd {
	args = append(args, "--config", h.path("config"), "--state", h.path("state"), "--socket", h.Client.Socket)
	return exec.Command(h.Tokend, args...)
}

// Build compiles a package in the repository's folder as packages ship it:
// without cgo, which adds a dynamic linker to every start. Then it installs the
// program: the linker writes a file out of order, and the kernel maps such a
// file page by page.
func (h *Home) Build(name, folder string) (file string, err error) {
	repository, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "tokend").Output()
	if err != nil {
		return "", fmt.Errorf("run this in packaging/bench: go list: %w", err)
	}
	linked := h.path("linked")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", linked, ".")
	build.Dir = filepath.Join(strings.TrimSpace(string(repository)), folder)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", folder, err, out)
	}
	file = h.path(name)
	return file, errors.Join(install(linked, file), os.Remove(linked))
}

// install writes a file as dpkg does, in pieces of 32 KiB one after the other.
func install(from, to string) (err error) {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for piece := range slices.Chunk(content, 32<<10) {
		if _, err := f.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// Name returns the name of the i-th of many profiles.
func Name(i int) string { return fmt.Sprintf("profile-%05d", i) }

// AddMany writes n profiles of the generic issuer as tokenctl add does, each with
// its own client secret, but without asking the issuer. tokend must not run.
func (h *Home) AddMany(ctx context.Context, n int) error {
	install, err := store.ReadKeystoreConfig(h.path("state"))
	if err != nil {
		return err
	}
	keystore, err := install.Open(h.path("state"))
	if err != nil {
		return err
	}
	const writers = 8 // each waits for the disk
	errs := make([]error, writers)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			credentials := store.NewCredentials(h.path("state", "credentials"), keystore)
			for i := w; i < n && errs[w] == nil; i += writers {
				errs[w] = h.addOne(ctx, credentials, Name(i))
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (h *Home) addOne(ctx context.Context, credentials *store.Credentials, name string) error {
	id, secret := h.Issuers.OAuth2().NewClient()
	_, err := credentials.Put(ctx, name, map[string]token.Secret{"client_secret": token.NewSecret(secret)}, token.Credential{})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("provider = \"oauth2\"\ntoken_url = %q\nclient_id = %q\nscopes = [\"read\"]\nhosts = [\"https://%s.example/api\"]\n",
		h.Issuers.OAuth2().TokenURL(), id, name)
	return os.WriteFile(h.path("config", "profiles.d", name+".toml"), []byte(text), 0o600)
}

// Start starts tokend and returns when it answers.
func (h *Home) Start(ctx context.Context) (pid int, took time.Duration, err error) {
	return h.StartUntil(func() error {
		_, err := h.Client.Providers(ctx)
		return err
	})
}

// StartUntil starts tokend and returns when ask succeeds.
func (h *Home) StartUntil(ask func() error) (pid int, took time.Duration, err error) {
	h.log.Reset()
	h.daemon = h.command("run")
	h.daemon.Stderr = &h.log
	begin := time.Now()
	if err := h.daemon.Start(); err != nil {
		return 0, 0, err
	}
	for {
		err := ask()
		took = time.Since(begin)
		switch {
		case err == nil:
			return h.daemon.Process.Pid, took, nil
		case !errors.Is(err, token.ErrNoDaemon) || took > time.Minute:
			return 0, took, fmt.Errorf("tokend does not answer: %w\nit logged:\n%s", err, h.log.String())
		}
		time.Sleep(time.Millisecond)
	}
}

// Stop ends tokend as a service manager would.
func (h *Home) Stop() error {
	if h.daemon == nil {
		return nil
	}
	d := h.daemon
	h.daemon = nil
	return errors.Join(d.Process.Signal(os.Interrupt), d.Wait())
}

// End stops everything and removes the installation.
func (h *Home) End() error {
	err := h.Stop()
	if h.Issuers != nil {
		err = errors.Join(err, h.Issuers.Close())
	}
	return errors.Join(err, os.RemoveAll(h.Dir))
}
