package form

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/discover"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/input"
)

// An Input is where a secret is handed in. Flags and arguments take the name of
// a file, never the secret itself: every user can see command lines.
type Input struct {
	// Label is what errors call it.
	Label string
	field string
}

// inputFor is where a flag hands in a secret.
func inputFor(field string) Input {
	return Input{Label: flagFor(field), field: field}
}

// maxSecret bounds a secret, so that a request holds it, in bytes.
const maxSecret = ipc.MaxBody / 2

// readSecret reads a secret from a file, or for "-" from stdin. A terminal asks
// for one that is typed.
func (in Input) readSecret(e *ui.Env, file string) (token.Secret, error) {
	if t, ok := e.Terminal(); ok && file == "-" && isTyped(in.field) {
		return t.AskSecret(in.field, false)
	}
	b, err := in.Read(e, file)
	if err != nil {
		return token.Secret{}, err
	}
	return in.secret(b)
}

// secret takes a secret out of what was handed in for it. A service key goes
// nowhere else: its private key would be sent to the issuer of a client secret.
func (in Input) secret(content []byte) (token.Secret, error) {
	var key token.Secret
	for _, f := range discover.File("", content, discover.Options{Read: readCandidate}) {
		if f.Provider == "clms" {
			key = f.Secrets["service_key"]
		}
	}
	switch {
	case in.field != "service_key" && (!key.IsZero() || bytes.Contains(content, []byte(`"private_key"`))):
		return token.Secret{}, in.wrong("that is a service key (JSON): use %s FILE", flagFor("service_key"))
	case !key.IsZero():
		return key, nil
	case isTyped(in.field):
		content = bytes.TrimRight(content, "\r\n")
	}
	return token.NewSecret(string(content)), nil
}

// Read reads a file, or for "-" stdin. It refuses an empty one, and one that is too
// large for a secret. Errors do not repeat the file's name, which may be the secret.
func (in Input) Read(e *ui.Env, file string) ([]byte, error) {
	var from io.Reader = e.In
	switch {
	case ui.IsKey(file):
		return nil, contentForName(in.Label)
	case file != "-":
		f, err := os.Open(file)
		if err != nil {
			return nil, in.unreadable(err)
		}
		defer func() { _ = f.Close() }()
		from = f
	case ui.IsTerminal(e.In):
		return nil, cli.Usage("%s - reads a file from stdin, and stdin is a terminal; name the file", in.Label)
	}
	b, err := io.ReadAll(io.LimitReader(from, maxSecret+1))
	switch {
	case err != nil:
		return nil, in.unreadable(err)
	case len(b) > maxSecret:
		return nil, in.wrong("it has more than %d bytes", maxSecret)
	}
	if b = []byte(input.Text(string(b))); len(bytes.TrimSpace(b)) == 0 {
		return nil, in.wrong("%s is empty", map[bool]string{true: "stdin", false: "the file"}[file == "-"])
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

func (in Input) unreadable(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	return in.wrong("%v", err)
}

// deletable are the files that the user need not keep once tokend has what is in
// them.
func deletable(from map[string]string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(from)), func(path string) bool {
		info, err := os.Stat(path)
		return err != nil || !info.Mode().IsRegular()
	})
}
