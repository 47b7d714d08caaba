package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/ipc"
	"tokend/providers/token"
)

// A secretInput is a secret that can be handed in. Its flag takes the name of
// a file, never the secret itself: every user can see command lines.
type secretInput struct {
	field, flag, doc string
	// typed secrets are short text that a person can type or paste.
	typed bool
	// asked is set where a terminal asks for it in place of the flag.
	asked bool
}

// name is what errors call it.
func (in secretInput) name() string {
	if in.asked || in.flag == "" {
		return in.field
	}
	return "--" + in.flag
}

func secretInputs() []secretInput {
	return []secretInput{
		{field: "service_key", flag: "service-key", doc: "service key, the JSON `FILE` as downloaded (clms)"},
		{field: "client_secret", flag: "client-secret-file", doc: "`FILE` with the client secret", typed: true},
		{field: "private_key", flag: "private-key", doc: "private key `FILE`, in PEM or DER"},
		{field: "certificate", flag: "certificate", doc: "certificate `FILE` in PEM; may hold the key too"},
		{field: "pfx", flag: "pfx", doc: "PFX (PKCS #12) `FILE` with certificate and key"},
		{field: "pfx_password", flag: "pfx-password-file", doc: "`FILE` with the password of the PFX file", typed: true},
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

func (cr *credential) flags(f *cli.Flags) {
	cr.files = map[string]string{}
	for _, in := range secretInputs() {
		inGroup(f, credentialGroup, in.flag, in.doc, &mapValue{cr.files, in.field})
	}
	inGroup(f, credentialGroup, "secret-expires", "`DATE` on which the secret itself expires (2027-01-31)", &cr.expires)
	f.BoolVar(&cr.noCheck, "no-check", false, "do not obtain a token to prove that it works")
	f.BoolVar(&cr.json, "json", false, "print what was done as JSON")
}

func inGroup(f *cli.Flags, group, name, doc string, v interface {
	String() string
	Set(string) error
	Type() string
}) {
	f.Heading(group)
	f.Var(v, name, doc)
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
	day, err := time.Parse(time.DateOnly, text)
	if err == nil {
		return m.set(text, day, day.AddDate(0, 0, 1))
	}
	t, err := time.Parse(time.RFC3339, text)
	if err == nil {
		return m.set(text, t, t)
	}
	return fmt.Errorf("%q is no date such as 2027-01-31", text)
}

// set takes t, unless it is over: a day is until its end.
func (m *moment) set(text string, t, end time.Time) error {
	if !end.After(time.Now()) {
		return fmt.Errorf("%s is in the past", text)
	}
	m.Time = t.UTC()
	return nil
}

// String implements pflag.Value.
func (m *moment) String() string { return "" }

// Type implements pflag.Value.
func (m *moment) Type() string { return "DATE" }

// A keyFile is a file that a secret was read from.
type keyFile struct{ field, path string }

// read reads the files that the flags name, for a profile of p.
func (a *app) read(p token.Provider, cr credential) (secrets map[string]token.Secret, from []keyFile, err error) {
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
			return nil, nil, cli.Usage("--%s and --%s cannot both be read from stdin", stdin, in.flag)
		default:
			stdin = in.flag
		}
		if secrets[in.field], err = a.readSecret(p, in, file); err != nil {
			return nil, nil, err
		}
	}
	return secrets, from, nil
}

func (a *app) readSecret(p token.Provider, in secretInput, file string) (token.Secret, error) {
	if file == "-" && !in.asked {
		return a.readStdin(p, in)
	}
	if looksSecret(file) && in.asked {
		return token.Secret{}, cli.Usage("%s: type the name of the file, not its content", in.name())
	}
	if looksSecret(file) {
		return token.Secret{}, contentForName(in)
	}
	f, err := os.Open(file)
	if err != nil {
		return token.Secret{}, badFile(in, file, err)
	}
	defer func() { _ = f.Close() }()
	return readAll(p, in, file, f)
}

// contentForName is the error for a secret that stands where its file's name
// should.
func contentForName(in secretInput) error {
	return cli.Usage("%s takes the name of a file, not its content; that was now seen by every user (ps) and is in the shell's history: better get a new one", in.name())
}

// readStdin reads a secret from stdin, from a terminal without echo.
func (a *app) readStdin(p token.Provider, in secretInput) (token.Secret, error) {
	t, ok := a.Terminal()
	if !ok {
		return readAll(p, in, "-", a.In)
	}
	if !in.typed {
		return token.Secret{}, cli.Usage("--%s - reads a file's content from stdin, and stdin is a terminal; name the file", in.flag)
	}
	return t.AskSecret(in.field)
}

func readAll(p token.Provider, in secretInput, file string, r io.Reader) (token.Secret, error) {
	b, err := io.ReadAll(io.LimitReader(r, ipc.MaxBody/2+1))
	switch {
	case err != nil:
		return token.Secret{}, badFile(in, file, err)
	case len(b) > ipc.MaxBody/2:
		return token.Secret{}, cli.Usage("%s: more than %d bytes; that is no key", in.name(), ipc.MaxBody/2)
	}
	if text := mistaken(p, in, b); text != "" {
		return token.Secret{}, cli.Usage("%s: %s", in.name(), text)
	}
	text := string(b)
	if in.typed {
		text = strings.TrimRight(text, "\r\n")
	}
	if text == "" {
		return token.Secret{}, emptyFile(in, file)
	}
	return token.NewSecret(text), nil
}

func emptyFile(in secretInput, file string) error {
	if file == "-" {
		return cli.Usage("%s: there is nothing in it", in.name())
	}
	return cli.Usage("%s: %s is empty", in.name(), file)
}

// badFile tells why a file cannot be read. It repeats only what is surely a
// file's name: one that is not there may be the secret itself.
func badFile(in secretInput, file string, err error) error {
	why := err
	var path *fs.PathError
	if errors.As(err, &path) {
		why = path.Err
	}
	named := isFileName(in, file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && named:
		return cli.Usage("%s: there is no file %s", in.name(), file)
	case errors.Is(err, fs.ErrNotExist):
		return cli.Usage("%s: there is no such file", in.name())
	case named:
		return cli.Usage("%s: %s: %v", in.name(), file, why)
	}
	return cli.Usage("%s: %v", in.name(), why)
}

// isFileName tells of text that can be shown because it names a file, there or
// not, and is not a secret that was given in place of one. A directory that is
// there and an extension in lower case are signs of a name. Secrets that are
// typed need such a sign; keys are longer than names.
func isFileName(in secretInput, file string) bool {
	const longName, longKey = 32, 128
	dir, base := filepath.Split(file)
	info, err := os.Stat(dir)
	ext := strings.TrimPrefix(filepath.Ext(base), ".")
	switch {
	case looksSecret(file):
		return false
	case len(dir) > 1 && err == nil && info.IsDir() && len(base) <= longKey: // "/" may begin a secret
		return true
	case strings.Count(base, ".") == 1 && isLower(ext) && len(ext) <= 5 && len(base) <= longName:
		return true
	}
	return !in.typed && len(file) <= longName
}

// isLower tells of one or more small letters.
func isLower(s string) bool { return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == "" }

// looksSecret tells of text that is a key and no file's name.
func looksSecret(file string) bool {
	return strings.ContainsAny(file, "\n{") || strings.Contains(file, pemBegin)
}

// deletable are the files that need not be kept once tokend has what is in
// them: not certificates, which are public unless the key is with them, nor
// what is no plain file.
func deletable(from []keyFile) (paths []string) {
	for _, f := range from {
		info, err := os.Stat(f.path)
		secret := f.field != "certificate" || holdsKey(f.path)
		if err == nil && info.Mode().IsRegular() && secret && !slices.Contains(paths, f.path) {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// holdsKey tells of a PEM file with a private key of any kind.
func holdsKey(path string) bool {
	b, err := os.ReadFile(path)
	return err == nil && bytes.Contains(b, []byte("PRIVATE KEY-----"))
}
