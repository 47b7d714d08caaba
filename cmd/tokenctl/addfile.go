package main

import (
	"io"
	"os"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/discover"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// A file with a credential in a known form says by itself what it is for: add
// needs no more than the file.

// nameAndFile takes the arguments of add: a profile's name, a file with its
// credential, or both. A word alone is a file if it is there and looks like the
// name of one.
func (w *wish) nameAndFile(a *app, args []string) error {
	{
		switch {
		case len(args) == 2:
			w.name, w.file = args[0], args[1]
		case len(args) == 1 && isFileArgument(args[0]):
			w.file = args[0]
		case len(args) == 1:
			w.name = args[0]
		case len(args) > 2:
			return cli.Usage("add takes a profile name and a file, and got %d words", len(args))
		}
		if looksSecret(w.file) || looksSecret(w.name) {
			return contentForName(secretInput{field: "FILE"})
		}
		if w.file != "" && len(w.credential.files) > 0 {
			return cli.Usage("a file is given, and a flag for a secret's file as well; one is enough")
		}
		a.Profile = w.name
		return nil
	}
}

// isFileArgument tells of a word that is the name of a file and not one for a
// profile.
func isFileArgument(word string) bool {
	if strings.ContainsAny(word, `/\`) || strings.HasSuffix(word, ".json") {
		return true
	}
	info, err := os.Stat(word)
	return err == nil && info.Mode().IsRegular() && strings.Contains(word, ".")
}

// recognise looks into the file that was given without a provider, and says of
// w what it finds there; nil if no file was given, or the provider is said.
func (a *app) recognise(w *wish) (*discover.Find, error) {
	in, file := secretInput{field: "FILE"}, w.file
	if file == "" && w.provider == "" && len(w.credential.files) == 1 {
		in = secretInputFor("service_key")
		file = w.credential.files[in.field]
	}
	if file == "" {
		return nil, nil
	}
	content, err := a.readKnown(in, file)
	if err != nil {
		return nil, err
	}
	f, err := onlyFind(in.name(), file, content)
	if err != nil {
		return nil, err
	}
	if w.provider != "" && w.provider != f.Provider {
		return nil, cli.Usage("%s: that is for the provider %s (%s)", in.name(), f.Provider, f.Form)
	}
	w.provider, w.proposed = f.Provider, f.Name
	delete(w.credential.files, in.field)
	return f, nil
}

// readKnown reads a file that is to be recognised, or stdin.
func (a *app) readKnown(in secretInput, file string) (content []byte, err error) {
	switch {
	case looksSecret(file):
		return nil, contentForName(in)
	case file != "-":
		content, err = readImport(file)
	case ui.IsTerminal(a.In):
		return nil, cli.Usage("%s - reads a file's content from stdin, and stdin is a terminal; name the file", in.name())
	default:
		content, err = io.ReadAll(io.LimitReader(a.In, ipc.MaxBody/2))
	}
	switch {
	case err != nil:
		return nil, badFile(in, file, err)
	case len(content) == 0:
		return nil, emptyFile(in, file)
	}
	return content, nil
}

// brokenJSON says what is wrong with such a file.
const brokenJSON = "it begins as JSON does and is not valid JSON; is all of it there?"

// onlyFind is the one credential that a file holds.
func onlyFind(what, file string, content []byte) (*discover.Find, error) {
	finds := discover.File(file, content, discover.Options{Read: readImport})
	switch {
	case len(finds) == 0 && discover.BrokenJSON(content):
		return nil, cli.Usage("%s: %s", what, brokenJSON)
	case len(finds) == 0:
		return nil, cli.Usage("%s: it is of no form that is known here; say --provider, and the file with the flag for its secret", what)
	case len(finds) > 1:
		return nil, cli.Usage("%s: there are %d credentials in it; tokenctl import %s makes profiles of all", what, len(finds), file)
	case finds[0].Why != "":
		return nil, cli.Usage("%s: %s: %s", what, finds[0].Form, finds[0].Why)
	}
	return &finds[0], nil
}

// takeFound adds what was recognised to what was said, which counts more.
func takeFound(f *discover.Find, settings map[string]any, secrets map[string]token.Secret) (from []keyFile) {
	for name, value := range f.Settings {
		if _, said := settings[name]; !said {
			settings[name] = value
		}
	}
	for field, secret := range f.Secrets {
		secrets[field] = secret
		for _, file := range f.Files {
			from = append(from, keyFile{field, file})
		}
	}
	return from
}

// tellFound says on a terminal what was recognised, and what was assumed.
func (a *app) tellFound(f *discover.Find) {
	if _, ok := a.Terminal(); !ok {
		return
	}
	text := "Recognised: " + f.Form
	if f.Note != "" {
		text += ", " + f.Note
	}
	a.Err.Print(ui.Wrap(ui.Printable(text+"."), ""))
}
