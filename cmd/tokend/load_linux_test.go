package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"tokend/daemon"
	"tokend/providers/token"
	"tokend/store"
)

// What reading the configuration at a start costs for each of very many
// profiles, in time and in memory that stays:
//
//	go test ./cmd/tokend -run none -bench Load
func BenchmarkLoad(b *testing.B) {
	const profiles = 1000
	dirs := daemon.Dirs{Config: b.TempDir(), State: b.TempDir()}
	if err := os.MkdirAll(dirs.ProfilesDir(), 0o700); err != nil {
		b.Fatal(err)
	}
	key := filepath.Join(b.TempDir(), "key")
	if err := store.NewKeyFile(key); err != nil {
		b.Fatal(err)
	}
	install, err := store.Setup(b.Context(), dirs.State, store.Install{Keystore: store.KeystoreSealed, KeyFile: key})
	if err != nil {
		b.Fatal(err)
	}
	keys, err := store.OpenVault(dirs.State, install)
	if err != nil {
		b.Fatal(err)
	}
	credentials := store.NewCredentials(credentialsDir(dirs), keys)
	for i := range profiles {
		name := fmt.Sprintf("profile-%05d", i)
		if _, err := credentials.Put(b.Context(), name, map[string]token.Secret{"client_secret": token.NewSecret("s3cret")}, token.Credential{}); err != nil {
			b.Fatal(err)
		}
		text := fmt.Sprintf("provider = \"oauth2\"\ntoken_url = \"https://issuer.example/token\"\nclient_id = %q\nscopes = [\"read\"]\nhosts = [\"https://%s.example/api\"]\n", name, name)
		if err := os.WriteFile(filepath.Join(dirs.ProfilesDir(), name+".toml"), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	cache, err := store.OpenCache(filepath.Join(dirs.State, "cache.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = cache.Close() }()

	before := heap()
	var kept *daemon.Daemon
	for b.Loop() {
		w := newWorld(io.Discard, daemon.Config{})
		w.keep(vault{keys, credentials, dirs}, cache)
		if kept, err = daemon.New(dirs, w.World); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*profiles), "µs/profile")
	b.ReportMetric(float64(heap()-before)/profiles, "B/profile")
	if st, err := kept.Status(b.Context()); err != nil || len(st.Profiles) != profiles {
		b.Fatalf("%d profiles, %v; %v", len(st.Profiles), err, st.ConfigErrors)
	}
}

// heap is what is in use after a collection, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
