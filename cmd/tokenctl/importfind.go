package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/discover"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
)

// Where import looks.

// discoverAll finds what there is in the paths, or without any in the
// environment and the usual places.
func (a *app) discoverAll(im importing) (finds []discover.Find, err error) {
	o := discover.Options{Scope: im.scope, TokenURL: im.tokenURL, Read: readImport}
	files := im.paths
	if len(files) == 0 {
		finds = discover.Env(os.Environ(), o)
		files = usualPlaces()
	}
	for _, path := range files {
		inPath, err := a.discoverPath(path, o)
		if err != nil {
			return nil, err
		}
		finds = append(finds, inPath...)
	}
	return withoutTwins(finds), nil
}

// withoutTwins leaves out what was found before: a variable may name a file
// that is found by itself too.
func withoutTwins(finds []discover.Find) (unique []discover.Find) {
	seen := map[string]bool{}
	for _, f := range finds {
		key := strings.Join([]string{f.From, f.Form, f.Provider, f.Client, f.Why}, "\x00")
		if !seen[key] {
			unique = append(unique, f)
		}
		seen[key] = true
	}
	return unique
}

// usualPlaces are the files and folders, if they are there, where the tools
// that are known here keep what could be taken.
func usualPlaces() (paths []string) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	config := cmp.Or(os.Getenv("OIDC_CONFIG_DIR"), filepath.Join(home, ".config", "oidc-agent"))
	for _, path := range []string{
		filepath.Join(home, ".azure", "service_principal_entries.json"),
		filepath.Join(home, ".config", "gcloud", "application_default_credentials.json"),
		filepath.Join(home, ".oidc-agent"), config, ".env",
	} {
		if fileExists(path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// discoverPath finds what there is in a file, in the files of a folder, or in
// stdin.
func (a *app) discoverPath(path string, o discover.Options) ([]discover.Find, error) {
	if path == "-" {
		return a.discoverStdin(o)
	}
	if looksSecret(path) {
		return nil, contentForName(secretInput{field: "PATH"})
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadablePath(path, err)
	}
	if !info.IsDir() {
		content, err := readImport(path)
		if err != nil {
			return nil, cli.Usage("%v", err)
		}
		finds := discover.File(path, content, o)
		if finds == nil {
			why := "it is of no form that is known here"
			if discover.BrokenJSON(content) {
				why = brokenJSON
			}
			finds = []discover.Find{{From: path, Form: "file", Why: why}}
		}
		return finds, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadablePath(path, err)
	}
	var finds []discover.Find
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		content, err := readImport(file)
		if err != nil {
			finds = append(finds, discover.Find{From: file, Form: "file", Why: err.Error()})
			continue
		}
		finds = append(finds, discover.File(file, content, o)...)
	}
	return finds, nil
}

// discoverStdin finds what there is in stdin, which leaves no file behind.
func (a *app) discoverStdin(o discover.Options) ([]discover.Find, error) {
	content, err := a.readKnown(secretInput{field: "import"}, "-")
	if err != nil {
		return nil, err
	}
	finds := discover.File("stdin", content, o)
	for i := range finds {
		finds[i].Files = slices.DeleteFunc(finds[i].Files, func(file string) bool { return file == "stdin" })
	}
	return finds, nil
}

func unreadablePath(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return cli.Usage("there is no file or folder %s", path)
	}
	return cli.Usage("%v", err)
}

// readImport reads a file that may hold a credential. Larger ones hold none.
func readImport(path string) ([]byte, error) {
	f, err := os.Open(ui.ExpandHome(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no plain file", path))
	}
	b, err := io.ReadAll(io.LimitReader(f, ipc.MaxBody/2+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > ipc.MaxBody/2 || bytes.IndexByte(b, 0) >= 0 && !isPFX(b):
		return nil, nil
	}
	return b, nil
}
