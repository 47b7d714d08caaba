package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tokend/packaging/checktest"
)

// Built from a clone, the programs print the revision; a release prints the version
// that it was stamped with.
func TestVersionsAreStamped(t *testing.T) {
	checktest.FullOnly(t) // it builds both programs twice
	if exec.Command("git", "-C", root, "rev-parse").Run() != nil {
		checktest.Unable(t, "not in a clone")
	}
	dir := t.TempDir()
	clone := filepath.Join(dir, "clone")
	source, err := filepath.Abs(root)
	check(t, err)
	run := func(name string, args ...string) string {
		t.Helper()
		c := exec.Command(name, args...)
		if name == "go" {
			c.Dir = clone
		}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("git", "clone", "-q", source, clone)
	for program, version := range map[string]string{"tokend": "version", "tokenctl": "--version"} {
		built := filepath.Join(dir, program)
		run("go", "build", "-buildvcs=true", "-o", built, "./cmd/"+program)
		if said := run(built, version); !regexp.MustCompile(`^` + program + ` v\d+\.\d+\.\d+`).MatchString(said) {
			t.Errorf("from a clone: %s", said)
		}
		run("go", "build", "-buildvcs=false", "-ldflags", "-X main.version=1.2.3", "-o", built, "./cmd/"+program)
		if said := run(built, version); said != program+" 1.2.3\n" {
			t.Errorf("stamped: %s", said)
		}
	}
}
