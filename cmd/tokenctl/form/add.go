package form

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/discover"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// An AddRequest is what the command line says about a new profile.
type AddRequest struct {
	Credentials
	name, provider string
	// file holds a credential in a form that names its provider.
	file     string
	settings []setting
}

// Flags defines the flags of add.
func (r *AddRequest) Flags(f *cli.Flags) {
	f.StringVar(&r.provider, "provider", "", "`PROVIDER`: clms, azure, aspose, oauth2, jwt-bearer, datarock,\nioxio, jwt-verify")
	r.Credentials.Flags(f)
	settingFlags(f, &r.settings)
}

// Arguments takes the arguments of add: the name of a profile, a file with its
// credential, or both. A word alone is a file if it exists and looks like one.
func (r *AddRequest) Arguments(e *ui.Env, args []string) error {
	switch {
	case len(args) == 2:
		r.name, r.file = args[0], args[1]
	case len(args) == 1 && isFileArgument(args[0]):
		r.file = args[0]
	case len(args) == 1:
		r.name = args[0]
	case len(args) > 2:
		return cli.Usage("add takes the name of a profile and a file, and got %d words", len(args))
	}
	if looksSecret(r.file) || looksSecret(r.name) {
		return contentForName("FILE")
	}
	if r.file != "" && len(r.files) > 0 {
		return cli.Usage("a file is given, and a flag for a secret's file as well; one is enough")
	}
	e.Profile = r.name
	return nil
}

// isFileArgument reports whether a word is the name of a file and not one for a
// profile.
func isFileArgument(word string) bool {
	if strings.ContainsAny(word, `/\`) || strings.HasSuffix(word, ".json") {
		return true
	}
	info, err := os.Stat(word)
	return err == nil && info.Mode().IsRegular() && strings.Contains(word, ".")
}

// Add makes a profile.
func Add(ctx context.Context, e *ui.Env, r AddRequest) error {
	find, err := r.recognise(e)
	if err != nil {
		return err
	}
	providers, err := Providers(ctx, e)
	if err != nil {
		return err
	}
	if _, ok := e.Terminal(); ok && find.Form != "" {
		text := "This is: " + find.Form
		if find.Note != "" {
			text += ", " + find.Note
		}
		e.Note(ui.Printable(text + "."))
	}
	p, err := r.choose(e, providers, find.Name)
	if err != nil {
		return err
	}
	s := newSubmission(e, p, r.name, r.Credentials)
	s.send, s.render = (*ipc.Client).Add, renderAdded
	s.request.Provider = p.Name
	if s.request.Settings, err = settingsFor(p, r.settings); err != nil {
		return err
	}
	if err := s.readFiles(r.files); err != nil {
		return err
	}
	s.takeFind(find)
	if err := s.checkSecrets(); err != nil {
		return err
	}
	if t, ok := e.Terminal(); ok {
		if err := s.askSettings(t); err != nil {
			return err
		}
		if err := s.askSecrets(t); err != nil {
			return err
		}
	}
	if missing := s.missing(); len(missing) > 0 {
		return cli.Usage("missing: %s", strings.Join(missing, ", "))
	}
	e.Profile = r.name
	return s.submit(ctx)
}

// recognise looks for the credential in a file that was given without a
// provider, and takes the provider from there. The zero Find means that no such
// file was given.
func (r *AddRequest) recognise(e *ui.Env) (discover.Find, error) {
	in, file := Input{Label: "FILE"}, r.file
	if file == "" && r.provider == "" && len(r.files) == 1 {
		in = inputFor("service_key")
		file = r.files[in.field]
	}
	if file == "" {
		return discover.Find{}, nil
	}
	content, err := in.Read(e, file, maxSecret)
	if err != nil {
		return discover.Find{}, err
	}
	finds := discover.File(file, content, discover.Options{Read: readCandidate})
	switch {
	case len(finds) == 0 && discover.BrokenJSON(content):
		return discover.Find{}, in.wrong(brokenJSON)
	case len(finds) == 0:
		return discover.Find{}, cli.Usage("%s is not a key file that tokend knows. Name its provider, and give the file with the flag for its secret: --provider ...", file)
	case len(finds) > 1:
		return discover.Find{}, cli.Usage("%s has %d credentials in it; tokenctl import %s makes a profile of each", in.Label, len(finds), file)
	case finds[0].Why != "":
		return discover.Find{}, in.wrong("%s: %s", finds[0].Form, finds[0].Why)
	case r.provider != "" && r.provider != finds[0].Provider:
		return discover.Find{}, cli.Usage("%s is for the provider %s (%s)", in.Label, finds[0].Provider, finds[0].Form)
	}
	r.provider = finds[0].Provider
	delete(r.files, in.field)
	return finds[0], nil
}

// brokenJSON says what is wrong with a file that begins as JSON does.
const brokenJSON = "it begins like JSON but is not valid JSON; is it cut off?"

// takeFind adds what a file says to what the user said, which counts more.
func (s *submission) takeFind(f discover.Find) {
	for name, value := range f.Settings {
		if _, given := s.request.Settings[name]; !given {
			s.request.Settings[name] = value
		}
	}
	for field, secret := range f.Secrets {
		s.request.Secrets[field] = secret
		for _, file := range f.Files {
			s.from = append(s.from, keyFile{field, file})
		}
	}
}

// choose determines the provider and the profile's name, and asks for them if
// it can.
func (r *AddRequest) choose(e *ui.Env, providers []token.Provider, proposed string) (p token.Provider, err error) {
	var names, docs []string
	for _, p := range providers {
		names, docs = append(names, p.Name), append(docs, p.Doc)
	}
	t, isTerminal := e.Terminal()
	if r.provider == "" && isTerminal {
		if r.provider, err = t.Choose("Where do the tokens come from", names, docs); err != nil {
			return p, err
		}
	}
	i := slices.Index(names, r.provider)
	switch near := cli.DidYouMean(r.provider, names); {
	case i >= 0:
		p = providers[i]
	case r.provider == "" && r.name == "":
		return p, cli.Usage("missing: NAME, --provider (%s)", strings.Join(names, ", "))
	case r.provider == "":
		return p, cli.Usage("missing: --provider (%s)", strings.Join(names, ", "))
	default:
		return p, cli.Usage("there is no provider %q%s", r.provider, cmp.Or(near, "; there are "+strings.Join(names, ", ")))
	}
	switch {
	case r.name != "":
	case isTerminal:
		r.name, err = t.Ask(nameQuestion, cmp.Or(proposed, r.provider))
		e.Answered = append(e.Answered, nameField)
	default:
		r.name = proposed
	}
	return p, err
}

// missing names, by their flags, the things without which there is no point in
// asking tokend.
func (s *submission) missing() (flags []string) {
	if s.request.Name == "" {
		flags = append(flags, "NAME")
	}
	for _, f := range s.provider.Fields {
		if _, given := s.request.Settings[f.Name]; f.Required && !f.Secret && !given {
			flags = append(flags, flagFor(f.Name))
		}
	}
	if len(s.request.Secrets) == 0 && needsSecret(s.provider) {
		flags = append(flags, secretFlags(s.provider))
	}
	return flags
}

// Providers asks tokend for its providers.
func Providers(ctx context.Context, e *ui.Env) (providers []token.Provider, err error) {
	err = e.Ask(ctx, func(ctx context.Context, d *ipc.Client) error {
		providers, err = d.Providers(ctx)
		return err
	})
	return providers, err
}

// CompleteProvider is a cli.Completer for --provider.
func CompleteProvider(e *ui.Env) cli.Completer {
	return func([]string) (names []cli.Candidate) {
		providers, _ := Providers(context.Background(), e)
		for _, p := range providers {
			names = append(names, cli.Candidate{Text: ui.Printable(p.Name), Doc: ui.Printable(p.Doc)})
		}
		return names
	}
}
