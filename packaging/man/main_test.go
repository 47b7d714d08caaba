package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/packaging/checktest"
)

// pages makes the pages of the real programs and returns their text by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := run(dir, "1.2.3", programs); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.1.gz"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		texts[strings.TrimSuffix(filepath.Base(file), ".1.gz")] = string(text)
	}
	return texts
}

var update = flag.Bool("update", false, "write docs/reference")

// programs are the real ones, built once.
var programs []string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tokend-man-")
	if err != nil {
		log.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", dir, "tokend/cmd/tokend", "tokend/cmd/tokenctl").CombinedOutput(); err != nil {
		log.Fatalf("%v\n%s", err, out)
	}
	programs = []string{filepath.Join(dir, "tokend"), filepath.Join(dir, "tokenctl")}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// Each command of the help has its page, and it says what the help says.
func TestPagesSayWhatHelpSays(t *testing.T) {
	texts := pages(t)
	var tokenctl cli.Reference
	for _, program := range programs {
		root, err := reference(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all(root) {
			args := strings.Fields(c.Name)[1:]
			help, err := exec.Command(program, append(args, "--help")...).Output()
			if err != nil {
				t.Fatalf("%s --help: %v", c.Name, err)
			}
			for _, f := range c.Flags {
				if !strings.Contains(string(help), "--"+f.Name) || !strings.Contains(texts[pageName(c)], escape("--"+f.Name)) {
					t.Errorf("%s: --%s is not in the help, or not in the page", c.Name, f.Name)
				}
			}
		}
		if root.Name == "tokenctl" {
			tokenctl = root
		}
	}
	if n := len(tokenctl.Commands); n < 15 {
		t.Errorf("tokenctl has %d commands", n)
	}
	for _, name := range []string{"tokenctl-get", "tokend-run", "tokend"} {
		if !strings.HasPrefix(texts[name], ".TH "+escape(strings.ToUpper(name))+" 1 ") || !strings.Contains(texts[name], ".SH EXAMPLES") {
			t.Errorf("%s: %.200s", name, texts[name])
		}
	}
}

func TestPagesAreReproducible(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	first, second := pages(t), pages(t)
	for name, text := range first {
		if second[name] != text || !strings.Contains(text, "2023-11-14") {
			t.Errorf("%s differs, or has another date", name)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "soon")
	if err := run(t.TempDir(), "", programs); err == nil {
		t.Error("a date that is not a number is taken")
	}
}

// mandoc finds nothing wrong with the pages.
func TestPagesAreValid(t *testing.T) {
	mandoc := checktest.Need(t, "mandoc")
	for name, text := range pages(t) {
		lint := exec.Command(mandoc, "-T", "lint", "-W", "warning")
		lint.Stdin = strings.NewReader(text)
		if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// The pages of docs/reference say what the programs say: go generate ./docs
func TestDocsReference(t *testing.T) {
	for _, program := range programs {
		c, err := reference(program)
		checktest.NoError(t, err)
		file, want := filepath.Join("../../docs/reference", c.Name+".md"), markdown(c)
		if *update {
			checktest.NoError(t, os.WriteFile(file, []byte(want), 0o644))
		} else if checktest.Read(t, file) != want {
			t.Errorf("%s is not what %s says of itself; go generate ./docs writes it", file, c.Name)
		}
	}
}

func TestPage(t *testing.T) {
	c := cli.Reference{
		Name: "prog do", Usage: "prog do [flags]", Short: "Does it",
		Long: "  prog do --it\n\nDoes it.\n.so what: a \\n\n\nKinds:\n  a  one\n     more\nEnd.",
		Flags: []*cli.Flag{
			{Name: "it", Value: "WHAT", Doc: "do WHAT", Default: "all", Group: "More"},
			{Name: "help", Letter: "h", Doc: "help"},
			{Name: "at", Doc: "where", Group: "More"},
		},
	}
	got := manual{version: "1", date: time.Unix(0, 0).UTC(), roots: []cli.Reference{{Name: "prog"}}}.page(c)
	want := `.TH PROG\-DO 1 1970-01-01 "tokend 1"
.nr HY 0
.ad l
.SH NAME
prog\-do \- does it
.SH SYNOPSIS
.RS 2
.EX
prog do [flags]
.EE
.RE
.SH EXAMPLES
.RS 2
.EX
prog do \-\-it
.EE
.RE
.SH DESCRIPTION
Does it.
\&.so what: a \en
.PP
Kinds:
.RS 2
.EX
a  one
   more
.EE
.RE
End.
.SH OPTIONS
.SS More
.TP
\fB\-\-it\fR \fIWHAT\fR
do WHAT (default all)
.TP
\fB\-\-at\fR
where
.TP
\fB\-h\fR, \fB\-\-help\fR
help
.SH SEE ALSO
\fBprog\fR(1),
/usr/share/doc/tokend
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
