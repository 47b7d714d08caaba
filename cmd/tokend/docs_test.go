package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"tokend/providers"
)

var update = flag.Bool("update", false, "write the parts of the documentation that follow from the code")

const root = "../.."

// The settings of each provider stand in docs/configuration.md as the code
// describes them: go test ./cmd/tokend -run Docs -update
func TestDocsDescribeEverySetting(t *testing.T) {
	file := filepath.Join(root, "docs", "configuration.md")
	text := read(t, file)
	head, _, ok := strings.Cut(text, "keystore, never in a file.\n\n")
	if !ok {
		t.Fatal("docs/configuration.md has no part for the providers")
	}
	want := head + "keystore, never in a file.\n\n" + providerTables()
	if *update {
		check(t, os.WriteFile(file, []byte(want), 0o644))
		return
	}
	if text != want {
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
			if f.Resource {
				note = strings.TrimPrefix(note+", per resource", ", ")
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
	text := read(t, root, "docs", "security.md")
	_, list, _ := strings.Cut(text, "## Where secrets are revealed in the code")
	var listed, found []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+\\.go)` \\|").FindAllStringSubmatch(list, -1) {
		listed = append(listed, m[1])
	}
	eachSource(t, func(path, source string) {
		if strings.Contains(source, ".Reveal()") {
			found = append(found, path)
		}
	})
	slices.Sort(listed)
	slices.Sort(found)
	if !slices.Equal(listed, found) {
		t.Errorf("docs/security.md lists\n%s\nthe code has\n%s", strings.Join(listed, "\n"), strings.Join(found, "\n"))
	}
}

// eachSource calls f with each of the product's source files.
func eachSource(t *testing.T, f func(path, source string)) {
	t.Helper()
	for _, top := range []string{"cmd", "daemon", "store", "providers", "ipc"} {
		check(t, filepath.WalkDir(filepath.Join(root, top), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".go" && !strings.HasSuffix(path, "_test.go") {
				f(strings.TrimPrefix(filepath.ToSlash(path), root+"/"), read(t, path))
			}
			return err
		}))
	}
}

// docs/security-cases.md names a test that there is for each case, or says that
// there is none.
func TestDocsNameTheTestOfEveryCase(t *testing.T) {
	text := read(t, root, "docs", "security-cases.md")
	tests := allTests(t)
	seen := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+a?) \|.*\| ([^|]+) \|$`).FindAllStringSubmatch(text, -1) {
		number, keepers := row[1], regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1)
		if seen[number] {
			t.Errorf("case %s stands twice", number)
		}
		seen[number] = true
		if len(keepers) == 0 && !strings.HasPrefix(row[2], "not run here: ") {
			t.Errorf("case %s names no test and no reason", number)
		}
		for _, k := range keepers {
			name, script, isScript := strings.Cut(k[1], "TestScripts/")
			_, missing := os.Stat(filepath.Join(root, k[1]))
			if isScript {
				_, missing = os.Stat(filepath.Join("testdata", "script", script+".txtar"))
			}
			if missing != nil && !tests[name] {
				t.Errorf("case %s: there is no %s", number, k[1])
			}
		}
	}
	for n := 1; n <= 71; n++ {
		if !seen[strconv.Itoa(n)] && n != 55 { // which was never given
			t.Errorf("case %d is missing", n)
		}
	}
}

// allTests are the names of all tests and fuzz targets.
func allTests(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(source), -1) {
			names[m[1]] = true
		}
		return err
	})
	check(t, err)
	return names
}

// Links between the documents lead somewhere, and so do their anchors.
func TestDocsLinksLeadSomewhere(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)#:\s]*)(#[^)\s]*)?\)`).FindAllStringSubmatch(d.text, -1) {
			file := filepath.Join(root, filepath.Dir(d.path), m[1])
			if m[1] == "" {
				file = filepath.Join(root, d.path)
			}
			text, _ := os.ReadFile(file) // what cannot be read has no headings
			info, failed := os.Stat(file)
			switch {
			case failed != nil:
				t.Errorf("%s links to %s: %v", d.path, m[1], failed)
			case m[2] == "" || info.IsDir():
			case !slices.Contains(anchors(string(text)), m[2]):
				t.Errorf("%s links to %s, and there is no such heading", d.path, m[1]+m[2])
			}
		}
	}
}

// anchors are those that headings get: lower case, spaces as dashes, and of the
// rest letters, digits, dashes and underscores.
func anchors(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return r
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.ToLower(m[1]))
		all = append(all, "#"+anchor)
	}
	return all
}

// What is typed or read as code fits in 80 columns. Longer are addresses, which
// cannot be broken; Go and JavaScript have gofmt's and their own customs.
func TestDocsCodeFitsInEightyColumns(t *testing.T) {
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if !slices.Contains([]string{"sh", "output", "r", "python", "toml"}, b.language) {
				continue
			}
			for i, line := range strings.Split(b.text, "\n") {
				if line = strings.ReplaceAll(line, "\t", "    "); utf8.RuneCountInString(line) > 80 && !strings.Contains(line, "://") && !strings.Contains(line, "%3A%2F%2F") {
					t.Errorf("%s:%d: %d columns: %s", d.path, b.line+i, utf8.RuneCountInString(line), line)
				}
			}
		}
	}
}

// docs/README.md leads to every document.
func TestDocumentsAreInTheIndex(t *testing.T) {
	index := read(t, root, "docs", "README.md")
	for _, d := range documents(t) {
		name, ok := strings.CutPrefix(d.path, "docs/")
		if ok && filepath.Dir(name) != "helpers" && name != "README.md" && !strings.Contains(index, "("+name+")") {
			t.Errorf("docs/README.md does not lead to %s", name)
		}
	}
}
