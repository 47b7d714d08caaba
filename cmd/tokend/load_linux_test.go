package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/providers/token"
)

// What reading the configuration at a start costs for each of very many
// profiles, in time and in memory that stays:
//
//	go test ./cmd/tokend -run none -bench Load
func BenchmarkLoad(b *testing.B) {
	const profiles = 1000
	dirs := profile.Dirs{Config: b.TempDir(), State: b.TempDir()}
	check(b, os.MkdirAll(dirs.ProfilesDir(), 0o700))
	w, cache := depsHere(b, dirs, profile.Config{})
	defer func() { _ = cache.Close() }()
	credentials := w.Credentials
	for i := range profiles {
		name := fmt.Sprintf("profile-%05d", i)
		if _, err := credentials.Put(b.Context(), name, map[string]token.Secret{"client_secret": token.NewSecret("s3cret")}, token.Credential{}); err != nil {
			b.Fatal(err)
		}
		text := fmt.Sprintf("provider = \"oauth2\"\ntoken_url = \"https://issuer.example/token\"\nclient_id = %q\nscopes = [\"read\"]\nhosts = [\"https://%s.example/api\"]\n", name, name)
		check(b, os.WriteFile(filepath.Join(dirs.ProfilesDir(), name+".toml"), []byte(text), 0o600))
	}
	before := heap()
	var kept *daemon.Daemon
	for b.Loop() {
		var err error
		if kept, err = daemon.New(dirs, w.Deps); err != nil {
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
