package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/providers"
	"tokend/providers/providertest"
	"tokend/providers/token"
)

// A wire leads to one server within this process, so that a test that goes over
// it can have a time of its own.
type wire struct {
	calls  chan net.Conn
	closed chan struct{}
}

func newWire() *wire { return &wire{make(chan net.Conn), make(chan struct{})} }

func (w *wire) Accept() (net.Conn, error) {
	select {
	case conn := <-w.calls:
		return conn, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	select {
	case <-w.closed:
	default:
		close(w.closed)
	}
	return nil
}

func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case w.calls <- post(far):
		return post(near), nil
	case <-w.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A posted connection is an end of a pipe into which one writes without waiting
// for a reader: TLS says farewell with locks held.
type posted struct {
	net.Conn
	out    chan []byte
	closed chan struct{}
	close  func() // closes closed
}

func post(conn net.Conn) *posted {
	p := &posted{Conn: conn, out: make(chan []byte, 100), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	go p.pass()
	return p
}

// pass writes until the end is closed, and then what is left.
func (p *posted) pass() {
	defer p.Conn.Close()
	for left := true; left; {
		select {
		case b := <-p.out:
			_, err := p.Conn.Write(b)
			left = err == nil
		case <-p.closed:
			left = len(p.out) > 0
		}
	}
}

func (p *posted) Write(b []byte) (int, error) {
	select {
	case p.out <- bytes.Clone(b):
		return len(b), nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

// Close drops what is not read within a second.
func (p *posted) Close() error {
	p.close()
	return errors.Join(p.Conn.SetReadDeadline(time.Now()), p.Conn.SetWriteDeadline(time.Now().Add(time.Second)))
}

// SetDeadline is about reading: writing does not wait.
func (p *posted) SetDeadline(t time.Time) error { return p.Conn.SetReadDeadline(t) }

func (p *posted) SetWriteDeadline(time.Time) error { return nil }

// kinds are the providers, asking over the wire.
func (w *wire) kinds(m *metrics) func(profile.Config) (profile.Kinds, error) {
	return func(c profile.Config) (profile.Kinds, error) {
		client, err := providers.NewHTTPClient(providers.HTTPConfig{CAFile: c.CAFile, Proxy: c.Proxy})
		if err != nil {
			return nil, err
		}
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		client.Transport = &http.Transport{ // in place of the one that reads the certificates
			DialContext: w.dial, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
			TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 10 * time.Second,
		}
		return kinds{client, m}, nil
	}
}

// addMany makes n profiles of the issuer, as tokenctl add leaves them.
func addMany(t *testing.T, dirs profile.Dirs, issuers *providertest.Server, credentials daemon.Credentials, n int) (names []string) {
	t.Helper()
	issuer := issuers.OAuth2()
	files := map[string]string{
		"ca.pem":      string(issuers.CertPEM()),
		"config.toml": fmt.Sprintf("ca_file = %q\nproxy = \"none\"\n", filepath.Join(dirs.Config, "ca.pem")),
	}
	for i := range n {
		name := fmt.Sprint("p", i)
		id, secret := issuer.NewClient()
		if _, err := credentials.Put(t.Context(), name, secrets("client_secret", secret), token.Credential{}); err != nil {
			t.Fatal(err)
		}
		files["profiles.d/"+name+".toml"] = fmt.Sprintf("provider = \"oauth2\"\ntoken_url = %q\nclient_id = %q\n", issuer.TokenURL(), id)
		names = append(names, name)
	}
	check(t, os.Mkdir(filepath.Join(dirs.Config, "profiles.d"), 0o700))
	for file, text := range files {
		check(t, os.WriteFile(filepath.Join(dirs.Config, file), []byte(text), 0o600))
	}
	return names
}

// Tokens that end at the same moment are renewed before that, with no more
// requests at a time than docs/architecture.md says and fewer writes of the cache
// than tokens, and everybody who asks meanwhile gets a good one. The issuer, TLS,
// providers, credentials and the cache are real, the time is not.
func TestStormAtAnIssuer(t *testing.T) {
	t.Parallel()
	const most = 16
	for name, c := range map[string]struct {
		limit    *providertest.Limit
		together int // requests at a time that it takes, at least
		refused  bool
	}{
		"one that takes its time":      {&providertest.Limit{Thinks: 250 * time.Millisecond}, most, false},
		"one that is soon overwhelmed": {&providertest.Limit{Thinks: 50 * time.Millisecond, PerSecond: 80, RetryAfter: time.Second}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 500
				issuer, writes := runStorm(t, n, c.limit)
				if minted := issuer.Minted(); minted != 2*n {
					t.Errorf("%d tokens were issued instead of %d", minted, 2*n)
				}
				if refused := c.limit.Refused(); refused > 0 != c.refused || refused > n/10 {
					t.Errorf("%d requests were refused", refused)
				}
				if together := c.limit.Together(); together < c.together || together > most {
					t.Errorf("%d requests at a time", together)
				}
				if writes == 0 || writes > n/4 {
					t.Errorf("the cache was written %d times", writes)
				}
			})
		})
	}
}

// runStorm has n tokens end at the same moment, at an issuer with a limit, and
// returns how often the cache was written since they came.
func runStorm(t *testing.T, n int, limit *providertest.Limit) (issuer *providertest.OAuth2, writes uint64) {
	const life = 20 * time.Second
	defer time.Sleep(time.Minute) // until connections have let go
	wire := newWire()
	issuers, err := providertest.Start(providertest.Options{Listener: wire, Lifetime: life})
	check(t, err)
	defer issuers.Close()
	dirs := profile.Dirs{Config: t.TempDir(), State: t.TempDir()}
	w, cache := depsHere(t, dirs, profile.Config{})
	defer cache.Close()
	w.Configure = wire.kinds(w.metrics)
	names := addMany(t, dirs, issuers, w.Credentials, n)
	d, err := daemon.New(dirs, w.Deps)
	check(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	get := func(name string) {
		if g, err := d.Get(ctx, name, token.Query{}); err != nil || !g.Expiry.After(time.Now()) {
			t.Errorf("get %s: %v, a token until %v", name, err, g.Expiry)
		}
	}
	end := time.Now().Add(life)
	var callers sync.WaitGroup
	for _, name := range names {
		callers.Go(func() { get(name) })
	}
	callers.Wait()

	before, _ := d.Figures(ctx)
	issuer = issuers.OAuth2()
	issuer.SetLifetime(time.Hour)
	issuer.SetLimit(limit)
	for time.Now().Before(end) && issuer.Minted() < 2*n {
		get(names[rand.IntN(n)])
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("%v before the end: %d renewed, %d refused, %d at a time", time.Until(end), issuer.Minted()-n, limit.Refused(), limit.Together())
	after, _ := d.Figures(ctx)
	stop()
	running.Wait()
	kept, err := cache.Load(t.Context(), end)
	if err != nil || len(kept) != n {
		t.Errorf("in the cache are %d tokens that outlive the storm: %v", len(kept), err)
	}
	return issuer, after.CacheWrites - before.CacheWrites
}
