// Package demo is a show of tokend with issuers of its own.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers/providertest"
	"tokend/providers/token"
	"tokend/store"
)

// Command is the command tokend demo, which prints to out.
func Command(out io.Writer) *cli.Command {
	var once bool
	return &cli.Command{
		Name: "demo", Short: "See it work, with issuers of its own on loopback",
		Long: `  tokend demo

Starts issuers on loopback that are as strict as the real ones, and a tokend of
its own in a temporary directory. Adds a CLMS, an Entra ID and an Aspose profile
with new keys. Shows how a token is obtained, served from memory, renewed before
it expires, and how it survives a crash of tokend while the issuers are down.
Then waits until Ctrl-C, so that you can try tokenctl. Changes nothing else on
this machine.`,
		Flags: func(f *cli.Flags) { f.BoolVar(&once, "once", false, "end instead of waiting for Ctrl-C") },
		Run:   func(ctx context.Context, _ *cli.Call) error { return run(ctx, out, once) },
	}
}

const (
	lifetime     = 8 * time.Second // of the tokens, so that a renewal is soon seen
	calmLifetime = 5 * time.Minute // once the show is over
	shown        = "clms"
)

// A demo is the running show.
type demo struct {
	out     io.Writer
	begin   time.Time
	dir     string
	dirs    profile.Dirs
	issuers *providertest.Server
	client  ipc.Client
	daemon  *exec.Cmd
	log     bytes.Buffer
}

func run(ctx context.Context, out io.Writer, once bool) (err error) {
	dir, err := os.MkdirTemp("", "tokend-demo-")
	if err != nil {
		return err
	}
	d := &demo{out: out, begin: time.Now(), dir: dir, dirs: profile.Dirs{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}}
	d.client.Socket = filepath.Join(dir, "tokend.sock")
	if runtime.GOOS == "windows" {
		d.client.Socket = `\\.\pipe\` + filepath.Base(dir)
	}
	defer func() { err = errors.Join(err, d.end()) }()
	for _, scene := range []func(context.Context) error{d.open, d.add, d.renewAhead, d.surviveCrash, d.resume} {
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
	fmt.Fprintf(d.out, `
Now you, in another terminal. Ctrl-C ends the demo and removes its files.

  export %s=%s
  tokenctl get clms      (in a clone: go run ./cmd/tokenctl get clms)
`, ipc.SocketEnv, d.client.Socket)
	<-ctx.Done()
	return nil
}

// say prints a line of what happened, with the seconds since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1f s  %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) title(text string) { fmt.Fprintf(d.out, "\n%s\n", text) }

// open starts the issuers and a tokend that trusts them.
func (d *demo) open(ctx context.Context) (err error) {
	d.title("Issuers and a tokend of the demo's own, in " + d.dir)
	if d.issuers, err = providertest.Start(providertest.Options{Lifetime: lifetime}); err != nil {
		return err
	}
	d.say("issuers at %s; their tokens live %v", d.issuers.URL(), lifetime)
	ca, key := filepath.Join(d.dir, "ca.pem"), filepath.Join(d.dir, "key")
	config := fmt.Appendf(nil, "ca_file = %q\nproxy = \"none\"\n", ca)
	if err := errors.Join(os.Mkdir(d.dirs.Config, 0o700), os.WriteFile(ca, d.issuers.CertPEM(), 0o600),
		os.WriteFile(d.dirs.ConfigFile(), config, 0o600), store.NewKeyFile(key)); err != nil {
		return err
	}
	if _, err := store.Setup(ctx, d.dirs.State, store.Choice{Keystore: store.KeystoreSealed, KeyFile: key}, token.Secret{}); err != nil {
		return err
	}
	d.say("secrets go to files sealed with AES-256-GCM (a desktop has a keyring)")
	return d.startDaemon(ctx)
}

// startDaemon runs this program as another process, and waits until it answers.
func (d *demo) startDaemon(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	begin := time.Now()
	d.daemon = exec.Command(self, "run", "--config", d.dirs.Config, "--state", d.dirs.State, "--socket", d.client.Socket)
	d.daemon.Stderr = &d.log
	if err := d.daemon.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = until(ctx, 5*time.Millisecond, func() (bool, error) {
		_, err := d.client.Status(ctx)
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("tokend does not answer: %w", err)
	}
	d.say("tokend answers %v after its start (process %d)", time.Since(begin).Round(time.Millisecond), d.daemon.Process.Pid)
	return nil
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
	d.title("Three profiles with new keys")
	serviceKey, err := d.issuers.CLMS().NewServiceKey(2048)
	if err != nil {
		return err
	}
	azure, aspose := d.issuers.Azure(), d.issuers.Aspose()
	secret := func(field, text string) map[string]token.Secret {
		return map[string]token.Secret{field: token.NewSecret(text)}
	}
	azureID, azureSecret := azure.NewSecret()
	asposeID, asposeSecret := aspose.NewClient()
	for _, a := range []token.CreateProfile{
		{Name: shown, Provider: "clms", Secrets: secret("service_key", string(serviceKey))},
		{Name: "azure", Provider: "azure", Secrets: secret("client_secret", azureSecret), Settings: map[string]any{
			"tenant": azure.Tenant(), "client_id": azureID, "scope": azure.Scope(), "authority": azure.Authority()}},
		{Name: "aspose", Provider: "aspose", Secrets: secret("client_secret", asposeSecret), Settings: map[string]any{
			"client_id": asposeID, "base_url": aspose.BaseURL()}},
	} {
		added, err := d.client.Add(ctx, a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		d.say("%-6s added; its first token came in %v", a.Name, added.Took.Round(time.Millisecond))
	}
	return nil
}

// renewAhead asks all the time until the token changes, and shows that no caller
// had to wait for that.
func (d *demo) renewAhead(ctx context.Context) error {
	d.title("tokend renews a token before it expires, and no caller waits")
	first, err := d.client.Get(ctx, shown, token.Query{})
	if err != nil {
		return err
	}
	d.say("the token of %s expires in %v; tokend will renew it in %v", shown, in(first.Expiry), in(first.RenewAt))
	asked, requests, slowest := 0, d.issuers.CLMS().Requests(), time.Duration(0)
	return until(ctx, 10*time.Millisecond, func() (bool, error) {
		begin := time.Now()
		tok, err := d.client.Get(ctx, shown, token.Query{})
		asked, slowest = asked+1, max(slowest, time.Since(begin))
		if err != nil || tok.Secret.Equal(first.Secret) {
			return false, err
		}
		d.say("renewed by %d request, with %v left of the old token", d.issuers.CLMS().Requests()-requests, in(first.Expiry))
		d.say("meanwhile %d times get %s; the slowest took %v", asked, shown, slowest.Round(time.Microsecond))
		if time.Now().After(first.Expiry) {
			return false, errors.New("the token was not renewed ahead of its expiry")
		}
		return true, nil
	})
}

// in returns how long it is until t.
func in(t time.Time) time.Duration { return time.Until(t).Round(100 * time.Millisecond) }

// surviveCrash kills the daemon with the issuers down, and starts another.
func (d *demo) surviveCrash(ctx context.Context) error {
	d.title("tokend is killed while the issuers are down")
	before, err := d.client.Get(ctx, shown, token.Query{})
	if err != nil {
		return err
	}
	// The cache is written behind: tokend would have to obtain a token that it lacks.
	err = until(ctx, time.Millisecond, func() (bool, error) {
		st, err := d.client.Status(ctx)
		return st.Cache == "ok", err
	})
	if err := errors.Join(err, d.issuers.Stop(), d.daemon.Process.Kill()); err != nil {
		return err
	}
	_ = d.daemon.Wait() // killed, as asked
	d.say("issuers stopped, connections are refused; tokend killed (SIGKILL)")
	if err := d.startDaemon(ctx); err != nil {
		return err
	}
	after, err := d.client.Get(ctx, shown, token.Query{})
	if err == nil && !after.Secret.Equal(before.Secret) {
		err = errors.New("the token did not survive")
	}
	if err != nil {
		return err
	}
	d.say("get %s: the same token, from the sealed cache, good for %v more", shown, in(after.Expiry))
	return nil
}

// resume brings the issuers back, with tokens that live long enough to play with.
func (d *demo) resume(context.Context) error {
	d.issuers.CLMS().SetLifetime(calmLifetime)
	d.issuers.Azure().SetLifetime(calmLifetime)
	d.issuers.Aspose().SetLifetime(calmLifetime)
	d.say("issuers are back; their tokens now live %v", calmLifetime)
	return d.issuers.Resume()
}

// end stops everything and removes the directory.
func (d *demo) end() (err error) {
	if d.daemon != nil && d.daemon.Process != nil {
		_ = d.daemon.Process.Kill() // as surviveCrash: Windows has no signal that asks
		_ = d.daemon.Wait()         // which reports that it was killed
	}
	if d.issuers != nil {
		err = d.issuers.Close()
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}
