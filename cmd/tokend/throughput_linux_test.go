package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"tokend/cmd/tokend/audit"
	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/ipc/ipcserver"
	"tokend/providers/providertest"
	"tokend/providers/token"
	"tokend/providers/token/format"
	"tokend/store"
	"tokend/store/cache"
)

// What a cached token costs over the socket, with all that tokend does for it:
// policy, the daemon's decision, the audit log. Beside it, in turns within the
// same run, a tokend without an audit log, and a bare net/http server that answers
// the same bytes.
//
//	go test ./cmd/tokend -run none -bench Throughput
func BenchmarkThroughput(b *testing.B) {
	g, tokends := throughputServers(b)
	body := format.AppendJSON(nil, g, time.Now())
	all := []asked{{"tokend", tokends[0]}, {"unaudited", tokends[1]}, {"bare", bareServer(b, body)}}
	for _, kept := range []bool{true, false} {
		for _, callers := range []int{1, 8, 64} {
			name := map[bool]string{true: "kept", false: "new"}[kept]
			b.Run(fmt.Sprintf("%s/%d", name, callers), func(b *testing.B) {
				compareThroughput(b, all, kept, callers)
			})
		}
	}
}

// keptGet is how Go's http.Client asks over a kept connection.
const keptGet = "GET /v1/token/p HTTP/1.1\r\nHost: tokend\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n"

// asked is a server.
type asked struct{ name, socket string }

// getsInTurn is how many tokens are asked for before it is the next server's
// turn.
const getsInTurn = 512

func compareThroughput(b *testing.B, servers []asked, kept bool, callers int) {
	var took, whole [3][]time.Duration // of single gets, and of each turn
	asking := make([][]func() time.Duration, len(servers))
	for i, s := range servers {
		for range callers {
			asking[i] = append(asking[i], asker(b, s, kept))
		}
	}
	for b.Loop() {
		for i := range servers {
			begin := time.Now()
			var mu sync.Mutex
			var group sync.WaitGroup
			for _, ask := range asking[i] {
				group.Go(func() {
					own := make([]time.Duration, 0, getsInTurn/callers)
					for range cap(own) {
						own = append(own, ask())
					}
					mu.Lock()
					defer mu.Unlock()
					took[i] = append(took[i], own...)
				})
			}
			group.Wait()
			whole[i] = append(whole[i], time.Since(begin))
		}
	}
	b.ReportMetric(0, "ns/op") // of no meaning here
	for i, s := range servers {
		slices.Sort(took[i])
		slices.Sort(whole[i])
		at := func(part float64) float64 {
			return float64(took[i][int(part*float64(len(took[i])-1))].Nanoseconds()) / 1000
		}
		b.ReportMetric(at(0), s.name+"-min-µs")
		b.ReportMetric(at(0.5), s.name+"-med-µs")
		b.ReportMetric(at(0.99), s.name+"-p99-µs")
		b.ReportMetric(getsInTurn/whole[i][len(whole[i])/2].Seconds(), s.name+"-gets/s")
	}
	median := func(i int) float64 { return whole[i][len(whole[i])/2].Seconds() }
	b.ReportMetric(median(2)/median(0), "x-bare")
	b.ReportMetric(median(1)/median(0), "x-unaudited")
}

// asker asks one server for a token, over a connection of its own that it
// keeps, or as tokenctl does, and says how long that took. All answers over a
// connection have the length of the first.
func asker(b *testing.B, s asked, kept bool) func() time.Duration {
	client := &ipc.Client{Socket: s.socket}
	ask := func() error {
		_, err := client.Get(b.Context(), "p", token.Query{})
		return err
	}
	if kept {
		conn, err := net.Dial("unix", s.socket)
		check(b, err)
		b.Cleanup(func() { _ = conn.Close() })
		request := []byte(keptGet)
		answer := make([]byte, 8192)
		size := 0
		ask = func() error {
			if _, err := conn.Write(request); err != nil {
				return err
			}
			if size == 0 {
				size, err = conn.Read(answer)
				return err
			}
			_, err := io.ReadFull(conn, answer[:size])
			return err
		}
	}
	return func() time.Duration {
		begin := time.Now()
		if err := ask(); err != nil {
			b.Error(err)
		}
		return time.Since(begin)
	}
}

// throughputServers are a tokend as users run it, and one without an audit log,
// both in this process. Both have g cached.
func throughputServers(b *testing.B) (g token.Grant, sockets []string) {
	issuers, err := providertest.Start(providertest.Options{Lifetime: 9 * time.Hour})
	check(b, err)
	b.Cleanup(func() { _ = issuers.Close() })
	for _, audit := range []string{"", "audit = \"none\"\n"} {
		dirs := profile.Dirs{Config: b.TempDir(), State: b.TempDir()}
		ca := filepath.Join(dirs.Config, "ca.pem")
		config := fmt.Sprintf("%sca_file = %q\nproxy = \"none\"\n", audit, ca)
		for file, text := range map[string]string{ca: string(issuers.CertPEM()), dirs.ConfigFile(): config} {
			check(b, os.WriteFile(file, []byte(text), 0o600))
		}
		socket := serveHere(b, dirs)
		client := &ipc.Client{Socket: socket}
		id, secret := issuers.OAuth2().NewClient()
		_, err := client.Add(b.Context(), token.CreateProfile{Name: "p", Provider: "oauth2", Secrets: secrets("client_secret", secret), Settings: map[string]any{
			"token_url": issuers.OAuth2().TokenURL(), "client_id": id, "allow_users": []any{"root"}, "hosts": []any{"https://dev.example"}}})
		check(b, err)
		if g, err = client.Get(b.Context(), "p", token.Query{}); err != nil {
			b.Fatal(err)
		}
		sockets = append(sockets, socket)
	}
	return g, sockets
}

// serveHere is serve in this process, without what confines that.
func serveHere(b *testing.B, dirs profile.Dirs) (socket string) {
	config, err := profile.ReadConfig(dirs)
	check(b, err)
	w, cache := depsHere(b, dirs, config)
	d, err := daemon.New(dirs, w.Deps)
	check(b, err)
	socket = filepath.Join(dirs.State, "s")
	listener, err := ipcserver.Listen(socket)
	check(b, err)
	options := ipcserver.Options{Log: w.Log}
	if file := auditFile(dirs, config); file != "" {
		log := audit.Open(file, w.Log, func(string) {})
		b.Cleanup(func() { _ = log.Close() })
		options.Audit = log.Report
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	running.Go(func() {
		_ = ipcserver.Serve(ctx, listener, d, options)
	})
	b.Cleanup(func() {
		stop()
		running.Wait()
		_ = cache.Close()
	})
	return socket
}

// depsHere has sealed files as keystore.
func depsHere(b testing.TB, dirs profile.Dirs, config profile.Config) (*deps, *cache.Cache) {
	key := filepath.Join(b.TempDir(), "key")
	check(b, store.NewKeyFile(key))
	install, err := store.Setup(b.Context(), dirs.State, store.Choice{Keystore: store.KeystoreSealed, KeyFile: key}, token.Secret{})
	check(b, err)
	keys, err := store.OpenVault(dirs.State, install)
	check(b, err)
	v := newVault(keys, dirs, slog.New(slog.DiscardHandler))
	tokens, err := cache.Open(filepath.Join(dirs.State, "cache.db"), v.CacheKey)
	check(b, err)
	w := newDeps()
	w.keep(v, tokens)
	return w, tokens
}

// bareServer is the least that net/http can do over a Unix socket.
func bareServer(b *testing.B, body []byte) (socket string) {
	socket = filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	check(b, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { _ = srv.Close() })
	return socket
}
