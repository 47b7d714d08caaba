package form

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/discover"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
	"tokend/providers/token/input"
)

// findAll finds the credentials in the paths, or without any in the environment
// and the usual places.
func (r ImportRequest) findAll(e *ui.Env) (finds []discover.Find, err error) {
	o := discover.Options{Scope: r.scope, TokenURL: r.tokenURL, Read: readCandidate}
	paths := r.Paths
	if len(paths) == 0 {
		finds = discover.Env(os.Environ(), o)
		paths = usualPlaces()
	}
	for _, path := range paths {
		inPath, err := findIn(e, path, o)
		if err != nil {
			return nil, err
		}
		finds = append(finds, inPath...)
	}
	return finds, nil
}

// usualPlaces are the files and folders in which the tools that are known here
// keep credentials, if they exist.
func usualPlaces() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc([]string{
		filepath.Join(home, ".azure", "service_principal_entries.json"),
		filepath.Join(home, ".config", "gcloud", "application_default_credentials.json"),
		filepath.Join(home, ".oidc-agent"),
		cmp.Or(os.Getenv("OIDC_CONFIG_DIR"), filepath.Join(home, ".config", "oidc-agent")),
		".env",
	}, func(path string) bool { _, err := os.Stat(path); return err != nil })
}

// findIn finds the credentials in a file, in the files of a folder, or in stdin.
func findIn(e *ui.Env, path string, o discover.Options) (finds []discover.Find, err error) {
	if path == "-" || ui.IsKey(path) {
		content, err := Input{Label: "PATH"}.Read(e, path)
		return discover.File(discover.Stdin, content, o), err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		content, err := readCandidate(path)
		if err != nil {
			return nil, cli.Usage("%s", token.FileFault(err))
		}
		return findInFile(path, content, o), nil
	}
	for _, entry := range entries {
		file := filepath.Join(path, entry.Name())
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxSecret { // larger ones hold no credential
			continue
		}
		content, err := readCandidate(file)
		if err != nil {
			finds = append(finds, discover.Find{From: file, Form: "file", Why: err.Error()})
			continue
		}
		finds = append(finds, discover.File(file, content, o)...)
	}
	return finds, nil
}

// findInFile finds the credentials in a file that must hold one, or says why
// there is none.
func findInFile(path string, content []byte, o discover.Options) []discover.Find {
	if finds := discover.File(path, content, o); finds != nil {
		return finds
	}
	why := "it is not a key file that tokend knows; with --provider, tokenctl add takes it by the flag for its secret"
	if what := input.What(string(content)); what != "" {
		why = "it is " + what
	}
	return []discover.Find{{From: path, Form: "file", Why: why}}
}

// readCandidate reads a file that may hold a credential.
func readCandidate(path string) ([]byte, error) {
	f, err := os.Open(ui.ExpandHome(path))
	if err != nil {
		return nil, err
	}
	content, _, err := token.ReadRegular(f, maxSecret)
	return []byte(input.Text(string(content))), err
}
