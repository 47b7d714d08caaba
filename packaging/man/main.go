// Command man writes the man pages of programs, a page for each command, from
// the reference that each program prints:
//
//	go run ./packaging/man -o DIR -version 1.2.3 PROGRAM...
//
// The date is $SOURCE_DATE_EPOCH or today, so that the same source makes the
// same pages. Its test writes the same reference as Markdown, docs/reference.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
)

func main() {
	dir := flag.String("o", ".", "`DIR` to write into")
	version := flag.String("version", "devel", "`VERSION` of the programs")
	flag.Parse()
	if err := run(*dir, *version, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func run(dir, version string, programs []string) error {
	date, err := buildDate()
	if err != nil {
		return err
	}
	var roots []cli.Reference
	for _, program := range programs {
		root, err := reference(program)
		if err != nil {
			return err
		}
		roots = append(roots, root)
	}
	m := manual{version: version, date: date, roots: roots}
	for _, root := range roots {
		for _, c := range all(root) {
			if err := writePage(dir, c, m.page(c)); err != nil {
				return err
			}
		}
	}
	return nil
}

// buildDate is the date on the pages
// (https://reproducible-builds.org/specs/source-date-epoch/).
func buildDate() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Now().UTC(), nil
	}
	s, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(s, 0).UTC(), nil
}

// reference is what a program prints of its commands.
func reference(program string) (c cli.Reference, err error) {
	out, err := exec.Command(program, cli.ReferenceCommand).Output()
	if err != nil {
		return c, fmt.Errorf("%s %s: %w", program, cli.ReferenceCommand, err)
	}
	return c, json.Unmarshal(out, &c)
}

// all is c and all commands below it.
func all(c cli.Reference) []cli.Reference {
	list := []cli.Reference{c}
	for _, sub := range c.Commands {
		list = append(list, all(sub)...)
	}
	return list
}

// pageName is the name of a command's page: tokenctl-get.
func pageName(c cli.Reference) string { return strings.ReplaceAll(c.Name, " ", "-") }

// writePage writes a page in man(7), compressed as distributions have it.
func writePage(dir string, c cli.Reference, text string) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write([]byte(text)); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, pageName(c)+".1.gz"), b.Bytes(), 0o644)
}
