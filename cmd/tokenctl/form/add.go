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
	if ui.IsKey(r.file) || ui.IsKey(r.name) {
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
	providers, err := Providers(ctx, e)
	if err != nil {
		return err
	}
	find, err := r.find(e, providers)
	if err != nil {
		return err
	}
	p, err := r.choose(providers)
	if err != nil {
		return err
	}
	s := newSubmission(e, p, r.name, r.Credentials)
	s.send, s.render = (*ipc.Client).Add, renderProfile
	s.request.Provider = p.Name
	if s.request.Settings, err = settingsFor(p, r.settings); err != nil {
		return err
	}
	s.takeFind(find)
	if err := s.readFiles(r.files); err != nil {
		return err
	}
	if err := s.complete(); err != nil {
		return err
	}
	return s.submit(ctx)
}

// find looks for the credential in a file that is given without a provider, and
// takes the provider from there; a terminal asks for what is not given. The zero
// Find means that the credential comes from elsewhere.
func (r *AddRequest) find(e *ui.Env, providers []token.Provider) (f discover.Find, err error) {
	in, file := Input{Label: "FILE"}, r.file
	if file == "" && r.provider == "" && len(r.files) == 1 {
		in = inputFor("service_key")
		file = r.files[in.field]
	}
	if file != "" {
		content, err := in.Read(e, file, maxSecret)
		if err != nil {
			return f, err
		}
		delete(r.files, in.field)
		return r.recognise(e, in, file, content)
	}
	if t, ok := e.Terminal(); ok && r.provider == "" {
		names, docs := namesOf(providers)
		r.provider, err = t.Choose("Where do the tokens come from", names, docs, true)
		if key := r.provider; ui.IsKey(key) {
			r.provider = ""
			return r.recognise(e, Input{Label: "the key"}, discover.Pasted, []byte(key))
		}
	}
	return f, err
}

func namesOf(providers []token.Provider) (names, docs []string) {
	for _, p := range providers {
		names, docs = append(names, p.Name), append(docs, p.Doc)
	}
	return names, docs
}

// recognise finds the one credential in content, and takes its provider.
func (r *AddRequest) recognise(e *ui.Env, in Input, file string, content []byte) (discover.Find, error) {
	o := discover.Options{Provider: r.provider, Read: readCandidate}
	if o.Provider == "" && slices.ContainsFunc(r.settings, func(s setting) bool { return s.name == "token_url" }) {
		o.Provider = "oauth2"
	}
	finds := findInFile(file, content, o)
	if len(finds) == 1 && finds[0].Open && r.provider == "" {
		provider, err := r.askIssuer(e, in, file, finds[0].Guess)
		if err != nil {
			return discover.Find{}, err
		}
		o.Provider = provider
		finds = findInFile(file, content, o)
	}
	f := finds[0]
	switch {
	case len(finds) > 1:
		return f, cli.Usage("%s has %d credentials in it; tokenctl import %s makes a profile of each", in.Label, len(finds), file)
	case f.Why != "":
		return f, in.wrong("%s", f.Why)
	case r.provider != "" && r.provider != f.Provider:
		return f, cli.Usage("%s is for the provider %s (%s)", in.Label, f.Provider, f.Form)
	}
	r.provider = f.Provider
	if t, ok := e.Terminal(); ok {
		t.Explain("This is: " + strings.TrimSuffix(f.Form+", "+f.Note, ", ") + ".")
	}
	return f, nil
}

// askIssuer asks whose a client ID and secret are, which decides where tokend
// sends the secret. Only a person can say it if the file does not.
func (r *AddRequest) askIssuer(e *ui.Env, in Input, file, guess string) (string, error) {
	t, ok := e.Terminal()
	if !ok {
		add := "tokenctl add " + ui.Word(r.name) + " " + ui.Word(file)
		return "", cli.Usage("%s does not say who issues the tokens, so tokend sends its secret nowhere. If it is Microsoft Entra ID: %s --provider azure --tenant TENANT; Aspose: %s --provider aspose; another: --token-url URL", in.Label, add, add)
	}
	names, docs := []string{"azure", "aspose", "oauth2"}, []string{
		"Microsoft Entra ID: the secret goes to login.microsoftonline.com", "Aspose Cloud: the secret goes to api.aspose.cloud", "another issuer: you name the URL that the secret goes to",
	}
	if i := slices.Index(names, guess); i >= 0 {
		docs[i] += " (it looks like this)"
	}
	return t.Choose("It does not say who issues the tokens. Who does", names, docs, false)
}

// takeFind adds what a file says to what the user said, which counts more.
func (s *submission) takeFind(f discover.Find) {
	s.proposed = f.Name
	if _, ok := s.Terminal(); !ok {
		s.request.Name = cmp.Or(s.request.Name, f.Name)
	}
	for name, value := range f.Settings {
		if _, given := s.request.Settings[name]; !given {
			s.request.Settings[name] = value
		}
	}
	for field, secret := range f.Secrets {
		s.request.Secrets[field] = secret
		for _, file := range f.Files {
			s.from[file] = field
		}
	}
}

// choose returns the provider.
func (r *AddRequest) choose(providers []token.Provider) (token.Provider, error) {
	names, _ := namesOf(providers)
	list := strings.Join(names, ", ")
	switch i := slices.Index(names, r.provider); {
	case i >= 0:
		return providers[i], nil
	case r.provider != "":
		return token.Provider{}, cli.Usage("there is no provider %q%s; there are %s", r.provider, cli.DidYouMean(r.provider, names), list)
	case r.name == "":
		return token.Provider{}, cli.Usage("missing: NAME, --provider (%s)", list)
	}
	return token.Provider{}, cli.Usage("missing: --provider (%s)", list)
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
