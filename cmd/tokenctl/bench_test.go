package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkGet measures what a script pays for a token that tokend has at
// hand: starting tokenctl, asking, printing, exiting. Beside it in the same
// run, in turns, a Go program that does nothing, and one that gets the token
// with the standard library alone. The times are medians; x-bare and x-client
// are how many times as long tokenctl takes as either.
func BenchmarkGet(b *testing.B) {
	socket := serve(b, newBackend())
	dir := b.TempDir()
	tokenctl := compile(b, dir, "tokenctl", ".")
	bare := compile(b, dir, "bare", "./testdata/bare")
	client := compile(b, dir, "bareclient", "./testdata/bareclient")

	var own, nothing, plain []time.Duration
	for b.Loop() {
		nothing = append(nothing, launch(b, "", bare))
		plain = append(plain, launch(b, secretToken+"\n", client, socket, "clms"))
		own = append(own, launch(b, secretToken+"\n", tokenctl, "get", "clms", "--socket", socket))
	}
	b.ReportMetric(median(own)*1000, "tokenctl-ms")
	b.ReportMetric(median(nothing)*1000, "bare-ms")
	b.ReportMetric(median(plain)*1000, "client-ms")
	b.ReportMetric(median(own)/median(nothing), "x-bare")
	b.ReportMetric(median(own)/median(plain), "x-client")
}

// BenchmarkHelpers compares what git and docker start with tokenctl get.
func BenchmarkHelpers(b *testing.B) {
	backend := newBackend()
	socket := serve(b, backend)
	dir := b.TempDir()
	tokenctl := compile(b, dir, "tokenctl", ".")
	calls := map[string]struct{ input, arg string }{
		"git-credential-tokend":    {"protocol=https\nhost=dev.example\n\n", "get"},
		"docker-credential-tokend": {"dev.example", "get"},
	}
	took := map[string][]time.Duration{}
	for name := range calls {
		if err := os.Symlink(tokenctl, filepath.Join(dir, name)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		took["tokenctl"] = append(took["tokenctl"], launch(b, secretToken+"\n", tokenctl, "get", "clms", "--socket", socket))
		for name, c := range calls {
			cmd := exec.Command(filepath.Join(dir, name), "--socket", socket, c.arg)
			cmd.Stdin = strings.NewReader(c.input)
			begin := time.Now()
			out, err := cmd.Output()
			took[name] = append(took[name], time.Since(begin))
			if err != nil || !bytes.Contains(out, []byte(secretToken)) {
				b.Fatalf("%s: %v, printed %q", name, err, out)
			}
		}
	}
	for name, d := range took {
		b.ReportMetric(median(d)*1000, name+"-ms")
	}
}

// compile builds a program as it is shipped: without cgo, which costs a dynamic
// linker at every start.
func compile(b *testing.B, dir, name, pkg string) string {
	b.Helper()
	file := filepath.Join(dir, name)
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, pkg)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", pkg, err, out)
	}
	return file
}

func launch(b *testing.B, want string, args ...string) time.Duration {
	begin := time.Now()
	out, err := exec.Command(args[0], args[1:]...).Output()
	took := time.Since(begin)
	if err != nil || string(out) != want {
		b.Fatalf("%s: %v, printed %q", args[0], err, out)
	}
	return took
}

// median is in seconds.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return d[len(d)/2].Seconds()
}
