package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers/providertest"
	"tokend/providers/token"
	"tokend/store"
)

func (p *program) demoCommand() *cli.Command {
	var once bool
	return &cli.Command{
		Name: "demo", Short: "See it work, with issuers of its own on loopback",
		Long: `  tokend demo

Starts issuers on loopback that are as strict as the real ones, and a tokend of
its own in a temporary directory; adds a CLMS, an Entra ID and an Aspose profile
from new keys; shows a token obtained, served from memory, renewed ahead of its
expiry, and surviving a crash of tokend while the issuers are down. Then it
waits, so that you can try tokenctl, until Ctrl-C. It touches nothing else on
this machine.`,
		Flags: func(f *cli.Flags) {
			f.BoolVar(&once, "once", false, "end instead of waiting for Ctrl-C")
		},
		Run: func(ctx context.Context, _ *cli.Call) error { return runDemo(ctx, p.out, once) },
	}
}

const (
	demoLifetime = 8 * time.Second // of the tokens, so that a renewal is soon seen
	calmLifetime = 5 * time.Minute // once the show is over
	demoProfile  = "clms"
)

// A demo is the running show.
type demo struct {
	out     io.Writer
	begin   time.Time
	dir     string
	issuers *providertest.Server
	client  ipc.Client
	daemon  *exec.Cmd
	log     bytes.Buffer
}

func runDemo(ctx context.Context, out io.Writer, once bool) (err error) {
	dir, err := os.MkdirTemp("", "tokend-demo-")
	if err != nil {
		return err
	}
	d := &demo{out: out, begin: time.Now(), dir: dir}
	d.client.Socket = d.path("tokend.sock")
	defer func() { err = errors.Join(err, d.end()) }()
	for _, scene := range []func(context.Context) error{d.open, d.add, d.serveFromMemory, d.renewAhead, d.surviveCrash, d.sayWhenDown} {
		if err := scene(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // Ctrl-C
			}
			return fmt.Errorf("%w\nthe demo's tokend logged:\n%s", err, d.log.String())
		}
	}
	if once {
		return nil
	}
	d.invite()
	<-ctx.Done()
	return nil
}

func (d *demo) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

// say prints a line of what happened, with the seconds since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1f s  %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) title(text string) { fmt.Fprintf(d.out, "\n%s\n", text) }

// open starts the issuers, sets up an installation, and starts its daemon.
func (d *demo) open(ctx context.Context) (err error) {
	d.title("Issuers, a keystore and a daemon, all in " + d.dir)
	if d.issuers, err = providertest.Start(providertest.Options{Lifetime: demoLifetime}); err != nil {
		return err
	}
	d.say("issuers at %s; their tokens live %v", d.issuers.URL(), demoLifetime)
	config := fmt.Sprintf("ca_file = %q\nproxy = \"none\"\n", d.path("ca.pem"))
	err = errors.Join(
		os.Mkdir(d.path("config"), 0o700),
		os.WriteFile(d.path("ca.pem"), d.issuers.CertPEM(), 0o600),
		os.WriteFile((profile.Dirs{Config: d.path("config")}).ConfigFile(), []byte(config), 0o600),
		store.NewKeyFile(d.path("key")))
	if err != nil {
		return err
	}
	if _, err := store.Setup(ctx, d.path("state"), store.Choice{Keystore: store.KeystoreSealed, KeyFile: d.path("key")}, token.Secret{}); err != nil {
		return err
	}
	d.say("keystore: files sealed with AES-256-GCM (on your desktop it is the OS keyring)")
	return d.startDaemon(ctx)
}

// startDaemon runs this program as another process, and waits until it answers.
func (d *demo) startDaemon(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	begin := time.Now()
	d.daemon = exec.Command(self, "run", "--config", d.path("config"), "--state", d.path("state"), "--socket", d.client.Socket)
	d.daemon.Stderr = &d.log
	if err := d.daemon.Start(); err != nil {
		return err
	}
	return until(ctx, 5*time.Millisecond, func() (bool, error) {
		_, err := d.client.Status(ctx)
		if err != nil && time.Since(begin) > 10*time.Second {
			return false, fmt.Errorf("tokend does not answer: %w", err)
		}
		if err == nil {
			d.say("tokend answers, %v after its start (pid %d)", time.Since(begin).Round(time.Millisecond), d.daemon.Process.Pid)
		}
		return err == nil, nil
	})
}

// until repeats try until it is done or fails.
func until(ctx context.Context, every time.Duration, try func() (done bool, err error)) error {
	for {
		if done, err := try(); done || err != nil {
			return err
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// add makes the three profiles with the same call as tokenctl add.
func (d *demo) add(ctx context.Context) error {
	d.title("Three profiles, from new keys")
	serviceKey, err := d.issuers.CLMS().NewServiceKey(2048)
	if err != nil {
		return err
	}
	azureID, azureSecret := d.issuers.Azure().NewSecret()
	asposeID, asposeSecret := d.issuers.Aspose().NewClient()
	for _, a := range []token.CreateProfile{
		{Name: demoProfile, Provider: "clms", Secrets: secrets("service_key", string(serviceKey))},
		{Name: "azure", Provider: "azure", Secrets: secrets("client_secret", azureSecret), Settings: map[string]any{
			"tenant": d.issuers.Azure().Tenant(), "client_id": azureID, "scope": d.issuers.Azure().Scope(), "authority": d.issuers.Azure().Authority()}},
		{Name: "aspose", Provider: "aspose", Secrets: secrets("client_secret", asposeSecret), Settings: map[string]any{
			"client_id": asposeID, "base_url": d.issuers.Aspose().BaseURL()}},
	} {
		added, err := d.client.Add(ctx, a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		d.say("%-6s added; its first token came in %v", a.Name, added.Took.Round(time.Millisecond))
		for _, kept := range added.Kept {
			d.say("       %s", strings.ReplaceAll(kept, d.dir+"/", ""))
		}
	}
	return nil
}

func secrets(field, text string) map[string]token.Secret {
	return map[string]token.Secret{field: token.NewSecret(text)}
}

func (d *demo) serveFromMemory(ctx context.Context) error {
	d.title("A cached token is served at once")
	asked := d.issuers.CLMS().Requests()
	took := make([]time.Duration, 200)
	for i := range took {
		begin := time.Now()
		if _, err := d.client.Get(ctx, demoProfile, token.Query{}); err != nil {
			return err
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	d.say("200 times get %s: median %v, slowest %v; the issuer was asked %d times", demoProfile,
		took[len(took)/2].Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond), d.issuers.CLMS().Requests()-asked)
	return nil
}

// renewAhead asks all the time until the token changes, and shows that no caller
// had to wait for that.
func (d *demo) renewAhead(ctx context.Context) error {
	d.title("It is renewed ahead of its expiry, and no caller waits for that")
	first, err := d.client.Get(ctx, demoProfile, token.Query{})
	if err != nil {
		return err
	}
	d.say("the token of %s expires in %v; tokend will renew it in %v", demoProfile, in(first.Expiry), in(first.RenewAt))
	var slowest time.Duration
	return until(ctx, 50*time.Millisecond, func() (bool, error) {
		begin := time.Now()
		tok, err := d.client.Get(ctx, demoProfile, token.Query{})
		if err != nil {
			return false, err
		}
		slowest = max(slowest, time.Since(begin))
		if tok.Secret.Equal(first.Secret) && !time.Now().Before(first.Expiry) {
			return false, errors.New("the token was not renewed ahead of its expiry")
		}
		if tok.Secret.Equal(first.Secret) {
			return false, nil
		}
		d.say("renewed, with %v left of the old one; asked 20 times a second, the slowest answer took %v",
			in(first.Expiry), slowest.Round(time.Microsecond))
		return true, nil
	})
}

// in returns how long it is until t.
func in(t time.Time) time.Duration { return time.Until(t).Round(100 * time.Millisecond) }

// surviveCrash kills the daemon with the issuers down, and starts another.
func (d *demo) surviveCrash(ctx context.Context) error {
	d.title("tokend is killed while the issuers are down")
	before, err := d.client.Get(ctx, demoProfile, token.Query{})
	if err != nil {
		return err
	}
	// The cache is written behind: tokend would have to obtain a token that it lacks.
	if err := until(ctx, time.Millisecond, func() (bool, error) {
		st, err := d.client.Status(ctx)
		return st.Cache == "ok", err
	}); err != nil {
		return err
	}
	if err := d.issuers.Stop(); err != nil {
		return err
	}
	d.say("issuers stopped: connections are refused")
	if err := d.daemon.Process.Kill(); err != nil {
		return err
	}
	_ = d.daemon.Wait() // killed, as asked
	d.say("tokend killed (SIGKILL)")
	if err := d.startDaemon(ctx); err != nil {
		return err
	}
	after, err := d.client.Get(ctx, demoProfile, token.Query{})
	if err != nil {
		return err
	}
	if !after.Secret.Equal(before.Secret) {
		return errors.New("the token did not survive")
	}
	d.say("get %s: the same token as before, from the sealed cache, good for another %v", demoProfile, in(after.Expiry))
	return nil
}

// sayWhenDown waits until the token has expired, shows the error, and brings the
// issuers back.
func (d *demo) sayWhenDown(ctx context.Context) error {
	d.title("An expired token is never served")
	err := until(ctx, 100*time.Millisecond, func() (bool, error) {
		_, err := d.client.Get(ctx, demoProfile, token.Query{})
		var e *token.Error
		if errors.As(err, &e) && e.Code == token.ErrUnavailable {
			d.say("get %s: %s; next try in %v", demoProfile, e.Message, in(e.RetryAt))
			return true, nil
		}
		return false, err
	})
	if err != nil {
		return err
	}
	d.issuers.CLMS().SetLifetime(calmLifetime)
	d.issuers.Azure().SetLifetime(calmLifetime)
	d.issuers.Aspose().SetLifetime(calmLifetime)
	if err := d.issuers.Resume(); err != nil {
		return err
	}
	d.say("issuers are back")
	return until(ctx, 100*time.Millisecond, func() (bool, error) {
		tok, err := d.client.Get(ctx, demoProfile, token.Query{})
		if errors.Is(err, token.ErrUnavailable) {
			return false, nil
		}
		if err == nil {
			d.say("get %s: a fresh token, good for %v, without a restart", demoProfile, in(tok.Expiry))
		}
		return err == nil, err
	})
}

// invite suggests what to try next.
func (d *demo) invite() {
	tokenctl := "tokenctl"
	if _, err := exec.LookPath(tokenctl); err != nil {
		tokenctl = "go run ./cmd/tokenctl"
	}
	fmt.Fprintf(d.out, `
Now you. In another terminal, in the same directory:

  export %s=%s
  %s status
  %s get clms
  curl --unix-socket $%s http://tokend/v1/token/aspose

Ctrl-C ends the demo and removes %s.
`, ipc.SocketEnv, d.client.Socket, tokenctl, tokenctl, ipc.SocketEnv, d.dir)
}

// end stops everything and removes the directory.
func (d *demo) end() error {
	var errs []error
	if d.daemon != nil && d.daemon.Process != nil {
		errs = append(errs, cmp.Or(d.daemon.Process.Signal(os.Interrupt), d.daemon.Wait()))
	}
	if d.issuers != nil {
		errs = append(errs, d.issuers.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}
