package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tokend/ipc"
	"tokend/providers/token"
)

// A secretInput is a secret that can be handed in. Its flag takes the name of
// a file, never the secret itself: every user can see command lines.
type secretInput struct {
	field, flag, doc string
	// typed secrets are short text that a person can type or paste.
	typed bool
}

func secretInputs() []secretInput {
	return []secretInput{
		{"service_key", "service-key", "service key, the JSON `FILE` as downloaded (clms)", false},
		{"client_secret", "client-secret-file", "`FILE` with the client secret", true},
		{"private_key", "private-key", "private key `FILE`, in PEM or DER", false},
		{"certificate", "certificate", "certificate `FILE` in PEM; may hold the key too", false},
		{"pfx", "pfx", "PFX (PKCS #12) `FILE` with certificate and key", false},
		{"pfx_password", "pfx-password-file", "`FILE` with the password of the PFX file", true},
	}
}

// secretInputFor describes the input of a field. A secret that this version
// has no flag for can still be typed.
func secretInputFor(field string) secretInput {
	for _, in := range secretInputs() {
		if in.field == field {
			return in
		}
	}
	return secretInput{field: field, typed: true}
}

// A credential is what the flags of add and rotate say of secrets.
type credential struct {
	files   map[string]string // field → file
	expires moment
	noCheck bool
	json    bool
}

const credentialGroup = "Secrets (FILE - is stdin; a terminal asks for what is missing)"

func (cr *credential) flags(f *pflag.FlagSet) {
	cr.files = map[string]string{}
	for _, in := range secretInputs() {
		inGroup(f, credentialGroup, in.flag, in.doc, &mapValue{cr.files, in.field})
	}
	inGroup(f, credentialGroup, "secret-expires", "`DATE` on which the secret itself expires (2027-01-31)", &cr.expires)
	f.BoolVar(&cr.noCheck, "no-check", false, "do not obtain a token to prove that it works")
	f.BoolVar(&cr.json, "json", false, "print what was done as JSON")
}

func inGroup(f *pflag.FlagSet, group, name, doc string, v pflag.Value) {
	f.Var(v, name, doc)
	f.Lookup(name).Annotations = map[string][]string{flagGroup: {group}}
}

// A mapValue is a flag whose value goes into a map.
type mapValue struct {
	into map[string]string
	key  string
}

// Set implements pflag.Value.
func (m *mapValue) Set(text string) error {
	switch {
	case text == "":
		return errors.New("the value is empty")
	case m.into[m.key] != "":
		return errors.New("it is given twice")
	}
	m.into[m.key] = text
	return nil
}

// String implements pflag.Value.
func (m *mapValue) String() string { return "" }

// Type implements pflag.Value.
func (m *mapValue) Type() string { return "FILE" }

// A moment is a date or an RFC 3339 time on the command line. A date is its
// first second in UTC: too early a warning is better than too late a one.
type moment struct{ time.Time }

// Set implements pflag.Value.
func (m *moment) Set(text string) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			m.Time = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("%q is no date such as 2027-01-31", text)
}

// String implements pflag.Value.
func (m *moment) String() string { return "" }

// Type implements pflag.Value.
func (m *moment) Type() string { return "DATE" }

// A keyFile is a file that a secret was read from.
type keyFile struct{ field, path string }

// read reads the files that the flags name.
func (a *app) read(cr credential) (secrets map[string]token.Secret, from []keyFile, err error) {
	secrets = map[string]token.Secret{}
	stdin := ""
	for _, in := range secretInputs() {
		file := cr.files[in.field]
		switch {
		case file == "":
			continue
		case file != "-":
			from = append(from, keyFile{in.field, file})
		case stdin != "":
			return nil, nil, usage("--%s and --%s cannot both be read from stdin", stdin, in.flag)
		default:
			stdin = in.flag
		}
		if secrets[in.field], err = a.readSecret(in, file); err != nil {
			return nil, nil, err
		}
	}
	return secrets, from, nil
}

func (a *app) readSecret(in secretInput, file string) (token.Secret, error) {
	if file == "-" {
		return a.readStdin(in)
	}
	if looksSecret(file) {
		return token.Secret{}, usage("--%s takes the name of a file, not its content; that was now seen by every user (ps) and is in the shell's history: better get a new one", in.flag)
	}
	f, err := os.Open(file)
	if err != nil {
		return token.Secret{}, badFile(in, err)
	}
	defer func() { _ = f.Close() }()
	return readAll(in, f)
}

// readStdin reads a secret from stdin, from a terminal without echo.
func (a *app) readStdin(in secretInput) (token.Secret, error) {
	t, ok := a.terminal()
	if !ok {
		return readAll(in, a.in)
	}
	if !in.typed {
		return token.Secret{}, usage("--%s - reads a file's content from stdin, and stdin is a terminal; name the file", in.flag)
	}
	return t.askSecret(in.field)
}

func readAll(in secretInput, r io.Reader) (token.Secret, error) {
	b, err := io.ReadAll(io.LimitReader(r, ipc.MaxBody/2+1))
	switch {
	case err != nil:
		return token.Secret{}, badFile(in, err)
	case len(b) > ipc.MaxBody/2:
		return token.Secret{}, usage("--%s: more than %d bytes; that is no key", in.flag, ipc.MaxBody/2)
	}
	text := string(b)
	if in.typed {
		text = strings.TrimRight(text, "\r\n")
	}
	if text == "" {
		return token.Secret{}, usage("--%s: there is nothing in it", in.flag)
	}
	return token.NewSecret(text), nil
}

// badFile tells why a file cannot be read. It does not repeat the name of a
// file that is not there: that may be the secret itself.
func badFile(in secretInput, err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usage("--%s: there is no such file", in.flag)
	case errors.As(err, &path):
		return usage("--%s: %s: %v", in.flag, path.Path, path.Err)
	}
	return usage("--%s: %v", in.flag, err)
}

// looksSecret tells of text that is a key and no file's name.
func looksSecret(file string) bool {
	return strings.ContainsAny(file, "\n{") || strings.Contains(file, "-----BEGIN")
}

// deletable are the files that need not be kept once tokend has what is in
// them: not certificates, which are public, nor what is no plain file.
func deletable(from []keyFile) (paths []string) {
	for _, f := range from {
		info, err := os.Stat(f.path)
		if err == nil && info.Mode().IsRegular() && f.field != "certificate" && !slices.Contains(paths, f.path) {
			paths = append(paths, f.path)
		}
	}
	return paths
}
