package form

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// An Input is where a secret is handed in. Flags and arguments take the name of
// a file, never the secret itself: every user can see command lines.
type Input struct {
	// Label is what errors call it.
	Label string
	// Typed secrets are short text, which may stand by mistake where the name
	// of its file should.
	Typed bool
	field string
	asked bool // at a terminal
}

// inputFor is where a flag hands in a secret.
func inputFor(field string) Input {
	return Input{Label: flagFor(field), Typed: isTyped(field), field: field}
}

// maxSecret bounds a secret, so that a request holds it, in bytes.
const maxSecret = ipc.MaxBody / 2

// readSecret reads a secret from a file, or for "-" from stdin.
func readSecret(e *ui.Env, p token.Provider, in Input, file string) (token.Secret, error) {
	if t, ok := e.Terminal(); ok && file == "-" && !in.asked && in.Typed {
		return t.AskSecret(in.field)
	}
	b, err := in.Read(e, file, maxSecret)
	if err != nil {
		return token.Secret{}, err
	}
	if text := mistaken(p, in, b); text != "" {
		return token.Secret{}, in.wrong("%s", text)
	}
	if in.Typed {
		b = bytes.TrimRight(b, "\r\n")
	}
	return token.NewSecret(string(b)), nil
}

// Read reads what a file holds, or for "-" stdin: not nothing, and not more than
// most bytes.
func (in Input) Read(e *ui.Env, file string, most int) ([]byte, error) {
	var from io.Reader = e.In
	switch {
	case looksSecret(file) && in.asked:
		return nil, in.wrong("type the name of the file, not its content")
	case looksSecret(file):
		return nil, contentForName(in.Label)
	case file != "-" || in.asked:
		f, err := os.Open(file)
		if err != nil {
			return nil, in.unreadable(file, err)
		}
		defer func() { _ = f.Close() }()
		from = f
	case ui.IsTerminal(e.In):
		return nil, cli.Usage("%s - reads a file from stdin, and stdin is a terminal; name the file", in.Label)
	default:
		file = "stdin"
	}
	b, err := io.ReadAll(io.LimitReader(from, int64(most)+1))
	switch {
	case err != nil:
		return nil, in.unreadable(file, err)
	case len(b) > most:
		return nil, in.wrong("it has more than %d bytes", most)
	case len(bytes.TrimSpace(b)) == 0:
		return nil, in.wrong("%s is empty", file)
	}
	return b, nil
}

// wrong is an error about the input.
func (in Input) wrong(text string, args ...any) error {
	return cli.Usage("%s: "+text, append([]any{in.Label}, args...)...)
}

// contentForName is the error for a secret in place of its file's name.
func contentForName(label string) error {
	return cli.Usage("%s takes the name of a file, not its content. Every user could see the content (ps), and it is in the shell's history: get a new secret", label)
}

// unreadable says why a file cannot be read. Its name may be the secret itself,
// which this repeats only if it was typed in the open, or is too short for a key.
func (in Input) unreadable(file string, err error) error {
	const longName = 32
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	switch isName := in.asked || !in.Typed && len(file) <= longName; {
	case isName && errors.Is(err, fs.ErrNotExist):
		return in.wrong("there is no file %s", file)
	case isName:
		return in.wrong("%s: %v", file, err)
	case errors.Is(err, fs.ErrNotExist):
		return in.wrong("there is no such file")
	}
	return in.wrong("%v", err)
}

// pemBegin begins every PEM block (RFC 7468 §2).
const pemBegin = "-----BEGIN"

// looksSecret reports whether text is a key and not the name of a file.
func looksSecret(text string) bool {
	return strings.ContainsAny(text, "\n{") || strings.Contains(text, pemBegin)
}

// mistaken says what a file is if its input does not take it, and which flag
// does. It is empty if nothing is known to be wrong.
func mistaken(p token.Provider, in Input, content []byte) string {
	is, other := "", ""
	switch {
	case in.field != "service_key" && isServiceKey(content):
		is, other = "that file is a service key (JSON)", "service_key"
	case in.field != "pfx" && isPFX(content):
		is, other = "that is a PFX file", "pfx"
	case in.field == "pfx" && bytes.Contains(content, []byte(pemBegin)):
		is, other = "that is a PEM file", "certificate"
	}
	takes := slices.ContainsFunc(p.Fields, func(f token.Field) bool { return f.Name == other })
	switch {
	case is == "" || in.asked:
		return is
	case takes:
		return is + ": use " + flagFor(other) + " FILE"
	case other == "service_key":
		return is + "; " + p.Name + " takes the private key alone, as a file of its own"
	}
	return is
}

// isServiceKey recognises the JSON that a console has for download: the key and
// whose it is.
func isServiceKey(content []byte) bool {
	var key struct {
		ClientID   *string `json:"client_id"`
		PrivateKey *string `json:"private_key"`
	}
	return json.Unmarshal(content, &key) == nil && key.ClientID != nil && key.PrivateKey != nil
}

// isPFX recognises a PFX: a SEQUENCE that begins with the version, 3 (RFC 7292
// §4). Certificates and keys are SEQUENCEs that begin otherwise.
func isPFX(content []byte) bool {
	if len(content) < 2 || content[0] != 0x30 {
		return false
	}
	header := 2
	if length := content[1]; length > 0x80 { // the length is in more bytes
		header += int(length & 0x7f)
	}
	return len(content) > header && bytes.HasPrefix(content[header:], []byte{0x02, 0x01, 0x03})
}

// A keyFile is a file that a secret was read from.
type keyFile struct{ field, path string }

// deletable are the files that the user need not keep once tokend has what is in
// them: regular files, but not certificates, which are public unless the key is
// with them.
func deletable(from []keyFile) (paths []string) {
	for _, f := range from {
		info, err := os.Stat(f.path)
		isSecret := f.field != "certificate" || holdsKey(f.path)
		if err == nil && info.Mode().IsRegular() && isSecret && !slices.Contains(paths, f.path) {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// holdsKey reports whether a PEM file has a private key in it.
func holdsKey(path string) bool {
	b, err := os.ReadFile(path)
	return err == nil && bytes.Contains(b, []byte("PRIVATE KEY-----"))
}
