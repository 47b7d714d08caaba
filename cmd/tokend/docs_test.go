package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tokend/providers"
)

var update = flag.Bool("update", false, "write the parts of the documentation that follow from the code")

const root = "../.."

// The settings of each provider stand in docs/configuration.md as the code
// describes them: go test ./cmd/tokend -run Docs -update
func TestDocsDescribeEverySetting(t *testing.T) {
	file := filepath.Join(root, "docs", "configuration.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(text), "keystore, never in a file.\n\n")
	if !ok {
		t.Fatal("docs/configuration.md has no part for the providers")
	}
	want := head + "keystore, never in a file.\n\n" + providerTables()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Error("docs/configuration.md does not say what the code says of the providers' settings; -update writes it")
	}
}

func providerTables() string {
	var b strings.Builder
	for i, kind := range providers.Kinds {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "### %s\n\n%s.\n\n| setting | | what it is |\n|---|---|---|\n", kind.Name, strings.ToUpper(kind.Doc[:1])+kind.Doc[1:])
		for _, f := range kind.Fields() {
			note := ""
			switch {
			case f.Secret && f.Required:
				note = "secret, needed"
			case f.Secret:
				note = "secret"
			case f.Required:
				note = "needed"
			case f.Default != "":
				note = "`" + f.Default + "`"
			}
			switch {
			case f.List:
				note = strings.TrimPrefix(note+", list", ", ")
			case f.Table:
				note = strings.TrimPrefix(note+", table", ", ")
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, note, f.Doc)
		}
	}
	return b.String()
}

// docs/security.md lists the files that read secrets, all of them and no other.
func TestDocsListWhereSecretsAreRevealed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "## Where secrets are revealed in the code")
	var listed, found []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+\\.go)` \\|").FindAllStringSubmatch(list, -1) {
		listed = append(listed, m[1])
	}
	for _, top := range []string{"cmd", "daemon", "store", "providers", "ipc"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			if strings.Contains(string(source), ".Reveal()") {
				found = append(found, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(listed)
	slices.Sort(found)
	if !slices.Equal(listed, found) {
		t.Errorf("docs/security.md lists\n%s\nthe code has\n%s", strings.Join(listed, "\n"), strings.Join(found, "\n"))
	}
}

// Links between the documents lead somewhere.
func TestDocsLinksLeadSomewhere(t *testing.T) {
	files := []string{filepath.Join(root, "README.md")}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", filepath.Base(file), m[1], err)
			}
		}
	}
}
