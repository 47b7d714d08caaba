package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/linked.txt")

// Whatever is linked is initialised at every start, asked for or not, and a
// larger program takes longer to map in. What is added by others is seen here.
func TestLinkedPackages(t *testing.T) {
	list := exec.Command("go", "list", "-deps", ".")
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := slices.DeleteFunc(strings.Fields(string(out)), func(pkg string) bool {
		return strings.Contains(pkg, "internal/") || slices.Contains([]string{"vendor", "runtime", "tokend"}, strings.Split(pkg, "/")[0])
	})
	slices.Sort(deps)
	const golden = "testdata/linked.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(deps, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(string(text))
	for _, pkg := range deps {
		if !slices.Contains(known, pkg) {
			t.Errorf("tokenctl links %s now: see what it costs each start (docs/performance.md), "+
				"and if it is worth that: go test ./cmd/tokenctl -run Linked -update", pkg)
		}
	}
	for _, pkg := range known {
		if !slices.Contains(deps, pkg) {
			t.Errorf("tokenctl does not link %s any more: go test ./cmd/tokenctl -run Linked -update keeps it out", pkg)
		}
	}
}

// maxSize bounds the program as it is shipped for Linux on amd64, in bytes.
const maxSize = 5_000_000

func TestSizeOfTheProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokenctl")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, ".")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxSize {
		t.Errorf("tokenctl has %d bytes, and %d at most are allowed. Each 1 MB adds about 0.1 ms to each start: "+
			"leave out what grew (go test ./cmd/tokenctl -run Linked may tell), or measure a start and raise maxSize", info.Size(), maxSize)
	}
}
