package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tokend/ipc"
	"tokend/packaging/checktest"
	"tokend/providers/providertest"
	"tokend/providers/token"
	"tokend/store/keyringtest"
)

// A stage is all that a run plays on: the programs, the issuers, the keyring,
// and a small disk for tokend's state.
type stage struct {
	t       testing.TB
	dir     string
	bin     string
	env     []string
	issuers *providertest.Server
	keyring *keyringtest.Session
	proxy   *proxy
	socket  *os.File // listens; outlives tokend, as systemd's socket does
	client  ipc.Client
	log     *os.File
	ledger  *ledger
	// smallDisk: the state lies on a disk of its own, which takes root.
	smallDisk bool
	profiles  []soakProfile
	canaries  []string
	process   atomic.Pointer[process]
}

// A soakProfile is a profile with what its issuer knows of its tokens.
type soakProfile struct {
	name   string
	issuer issuer
}

// An issuer is what all of providertest's have in common.
type issuer interface {
	Expiry(token string) time.Time
	Tokens() []string
	Fail(providertest.Fault)
	Heal()
	SetLifetime(time.Duration)
}

// diskSize is room for the state and little else.
const diskSize = 4 << 20

func newStage(t testing.TB) *stage {
	dir, err := os.MkdirTemp("", "soak-") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &stage{t: t, dir: dir, bin: filepath.Join(dir, "bin"), ledger: newLedger()}
	if out, err := exec.Command("go", "build", "-C", "../../..", "-o", s.bin+"/", "./cmd/tokend", "./cmd/tokenctl").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if s.issuers, err = providertest.Start(providertest.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.issuers.Close() })
	s.keyring = keyringtest.Start(t)
	s.proxy = startProxy(t)
	s.env = append(s.keyring.Env, "PATH="+s.bin+":"+os.Getenv("PATH"))
	for _, d := range []string{"config", "state", "log"} {
		s.check(os.Mkdir(filepath.Join(dir, d), 0o700))
	}
	s.mountDisk()
	s.write("ca.pem", s.issuers.CertPEM())
	s.listen()
	// The audit log of a long run would fill the small disk by itself.
	s.write("config/config.toml", fmt.Appendf(nil, "ca_file = %q\nproxy = %q\nsocket = %q\naudit = %q\nlog_level = \"debug\"\n",
		filepath.Join(dir, "ca.pem"), s.proxy.url(), s.client.Socket, filepath.Join(dir, "log", "audit.log")))
	if s.log, err = os.Create(filepath.Join(dir, "tokend.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.log.Close()
		if t.Failed() {
			keep := filepath.Join(os.TempDir(), "soak-tokend.log")
			t.Logf("tokend's log: %s (%v)", keep, os.Rename(s.log.Name(), keep))
		}
	})
	if out, err := s.command("tokend", s.places("setup", "--keystore", "os")...).CombinedOutput(); err != nil {
		t.Fatalf("setup: %v\n%s", err, out)
	}
	s.start()
	t.Cleanup(s.kill)
	s.addProfiles()
	return s
}

func (s *stage) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) write(name string, content []byte) {
	s.check(os.WriteFile(filepath.Join(s.dir, name), content, 0o600))
}

func (s *stage) state() string { return filepath.Join(s.dir, "state") }

// mountDisk gives the state a disk that can be filled. Without root the disk
// stays the machine's own, and is not filled.
func (s *stage) mountDisk() {
	if os.Geteuid() != 0 {
		if checktest.Full() {
			s.t.Fatal("filling a disk needs root")
		}
		s.t.Log("not root: no disk is filled")
		return
	}
	s.check(syscall.Mount("tmpfs", s.state(), "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", diskSize)))
	s.smallDisk = true
	s.t.Cleanup(func() { _ = syscall.Unmount(s.state(), syscall.MNT_DETACH) })
}

// listen makes the socket that tokend is started with.
func (s *stage) listen() {
	s.client = ipc.Client{Socket: filepath.Join(s.dir, "tokend.sock")}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.client.Socket})
	s.check(err)
	s.socket, err = l.File()
	s.check(err)
	s.t.Cleanup(func() {
		s.socket.Close()
		l.Close()
	})
}

func (s *stage) places(args ...string) []string {
	return append(args, "--config", filepath.Join(s.dir, "config"), "--state", s.state())
}

func (s *stage) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Env = s.env
	return cmd
}

// A process is one life of tokend.
type process struct {
	cmd     *exec.Cmd
	started time.Time
	// meant: it is to end.
	meant atomic.Bool
	ended chan struct{}
}

// start starts tokend as systemd does. One that ends by itself is a fault, and
// is started again.
func (s *stage) start() {
	// The shell's process becomes tokend's, and so LISTEN_PID is right
	// (sd_listen_fds(3)).
	args := append([]string{"-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, filepath.Join(s.bin, "tokend")}, s.places("run")...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Env, cmd.Stderr, cmd.ExtraFiles = s.env, s.log, []*os.File{s.socket}
	s.check(cmd.Start())
	p := &process{cmd: cmd, started: time.Now(), ended: make(chan struct{})}
	s.process.Store(p)
	go func() {
		err := cmd.Wait()
		close(p.ended)
		if p.meant.Load() {
			return
		}
		s.ledger.note("crashes", "tokend ended by itself: %v", err)
		s.ledger.forget()
		time.Sleep(time.Second) // as the unit's RestartSec= says
		if !p.meant.Swap(true) {
			s.start()
		}
	}()
}

// end ends tokend by a signal, and waits.
func (s *stage) end(signal os.Signal) {
	p := s.process.Load()
	p.meant.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(signal) // it may have ended by itself
	<-p.ended
}

func (s *stage) kill() { s.end(syscall.SIGKILL) }

// addProfiles makes profiles whose tokens live shortly, so that a run sees many
// renewals.
func (s *stage) addProfiles() {
	clms, aspose, azure, generic := s.issuers.CLMS(), s.issuers.Aspose(), s.issuers.Azure(), s.issuers.OAuth2()
	for _, i := range []struct {
		issuer
		life time.Duration
	}{{clms, 4 * time.Second}, {aspose, 8 * time.Second}, {azure, 20 * time.Second}, {generic, 45 * time.Second}} {
		i.SetLifetime(i.life)
	}
	for _, name := range []string{"clms", "clms-2"} {
		key, err := clms.NewServiceKey(2048)
		s.check(err)
		var parsed struct {
			PrivateKey string `json:"private_key"`
		}
		s.check(json.Unmarshal(key, &parsed))
		block, _ := pem.Decode([]byte(parsed.PrivateKey))
		s.canaries = append(s.canaries, parsed.PrivateKey[100:160], string(block.Bytes[len(block.Bytes)-120:len(block.Bytes)-60]))
		s.add(name, clms, "clms", nil, "service_key", string(key))
	}
	id, secret := aspose.NewClient()
	s.add("aspose", aspose, "aspose", map[string]any{"client_id": id, "base_url": aspose.BaseURL()}, "client_secret", secret)
	id, secret = azure.NewSecret()
	s.add("azure", azure, "azure", map[string]any{"client_id": id, "tenant": azure.Tenant(), "authority": azure.Authority(), "scope": azure.Scope()}, "client_secret", secret)
	id, secret = generic.NewClient()
	s.add("oauth2", generic, "oauth2", map[string]any{"client_id": id, "token_url": generic.TokenURL()}, "client_secret", secret)
}

func (s *stage) add(name string, i issuer, provider string, settings map[string]any, field, secret string) {
	_, err := s.client.Add(s.t.Context(), token.CreateProfile{Name: name, Provider: provider, Settings: settings,
		Secrets: map[string]token.Secret{field: token.NewSecret(secret)}})
	if err != nil {
		s.t.Fatalf("adding %s: %v", name, err)
	}
	s.profiles = append(s.profiles, soakProfile{name, i})
	if field == "client_secret" {
		s.canaries = append(s.canaries, secret)
	}
}

// recovers sees that every profile works again by itself once nothing is wrong
// any more.
func (s *stage) recovers() {
	const within = 90 * time.Second
	begin := time.Now()
	for _, p := range s.profiles {
		for {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			_, err := s.client.Get(ctx, p.name, token.Query{})
			cancel()
			if err == nil {
				break
			}
			if time.Since(begin) > within {
				s.ledger.note("unrecovered profiles", "%s: %v after all faults ended: %v", p.name, within, err)
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st, err := s.client.Status(ctx)
	if err != nil || st.Keystore != "os: ok" {
		s.ledger.note("unrecovered keystore", "%q, %v", st.Keystore, err)
	}
}

// searchSecrets looks for secrets and tokens in all files of the run and in
// what other processes may see of tokend.
func (s *stage) searchSecrets() {
	canaries := s.canaries
	for _, p := range s.profiles {
		canaries = append(canaries, p.issuer.Tokens()...)
	}
	find := func(where string, content []byte) {
		for _, canary := range canaries {
			if bytes.Contains(content, []byte(canary)) {
				s.ledger.note("secrets seen", "in %s", where)
				return
			}
		}
	}
	files := 0
	s.check(filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == s.bin:
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		find(path, content)
		files++
		return err
	}))
	if files < 10 || len(canaries) < 20 {
		s.t.Errorf("only %d files searched for %d secrets", files, len(canaries))
	}
	for _, name := range []string{"cmdline", "environ"} {
		content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.process.Load().cmd.Process.Pid, name)) // environ: root alone
		find("/proc/PID/"+name, content)
	}
}
