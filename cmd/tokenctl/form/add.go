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

// AddFlags defines the flags of add.
func (s *Submission) AddFlags(f *cli.Flags) {
	providers := []string{"clms", "azure", "aspose", "oauth2", "jwt-bearer", "datarock", "ioxio", "jwt-verify"}
	f.StringVar(&s.request.Provider, "provider", "", "`PROVIDER`: "+strings.Join(providers, ", "))
	f.Complete("provider", cli.Words(providers...))
	f.BoolVar(&s.request.NoCheck, "no-check", false, "do not obtain a token to prove that it works")
	s.SecretFlags(f)
	s.settingFlags(f)
}

// AddArguments takes the arguments of add: the name of a profile, a file with its
// credential, or both. A word alone is a file if it exists and looks like one.
func (s *Submission) AddArguments(args []string) error {
	name := &s.request.Name
	switch {
	case len(args) == 2:
		*name, s.file = args[0], args[1]
	case len(args) == 1 && isFileArgument(args[0]):
		s.file = args[0]
	case len(args) == 1:
		*name = args[0]
	case len(args) > 2:
		return cli.Usage("add takes a profile's name and a file, not %d arguments", len(args))
	}
	s.Profile = *name
	switch {
	case ui.IsKey(s.file) || ui.IsKey(*name):
		return contentForName("FILE")
	case s.file != "" && len(s.files) > 0:
		return cli.Usage("name the secret's file once, as an argument or with its flag")
	case *name == "":
		return nil
	}
	return token.CheckName(*name)
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
func (s *Submission) Add(ctx context.Context) error {
	providers, err := ui.Ask(ctx, s.Env, (*ipc.Client).Providers)
	if err != nil {
		return err
	}
	find, err := s.find(providers)
	if err != nil {
		return err
	}
	if s.provider, err = s.choose(providers); err != nil {
		return err
	}
	if s.request.Settings, err = settingsFor(s.provider, s.settings); err != nil {
		return err
	}
	s.takeFind(find)
	return s.submit(ctx, (*ipc.Client).Add, renderProfile)
}

// find looks for the credential in a file that is given without a provider, and
// takes the provider from there; a terminal asks for what is not given. The zero
// Find means that the credential comes from elsewhere.
func (s *Submission) find(providers []token.Provider) (f discover.Find, err error) {
	in, file := Input{Label: "FILE"}, s.file
	if file == "" && s.request.Provider == "" && len(s.files) == 1 {
		in = inputFor("service_key")
		file = s.files[in.field]
	}
	if file != "" {
		content, err := in.Read(s.Env, file)
		if err != nil {
			return f, err
		}
		delete(s.files, in.field)
		if in.field == "" && file != "-" {
			in.Label = file // it exists, so it is no secret in a name's place
		}
		return s.recognise(in, file, content)
	}
	if t, ok := s.Terminal(); ok && s.request.Provider == "" {
		names, docs := namesOf(providers)
		answer, err := t.Choose("Where do the tokens come from", names, docs, true)
		if ui.IsKey(answer) {
			return s.recognise(Input{Label: "the key"}, discover.Pasted, []byte(answer))
		}
		s.request.Provider = answer
		return f, err
	}
	return f, nil
}

func namesOf(providers []token.Provider) (names, docs []string) {
	for _, p := range providers {
		names, docs = append(names, p.Name), append(docs, p.Doc)
	}
	return names, docs
}

// recognise finds the one credential in content, and takes its provider.
func (s *Submission) recognise(in Input, file string, content []byte) (discover.Find, error) {
	provider := &s.request.Provider
	o := discover.Options{Provider: *provider, Read: readCandidate}
	if o.Provider == "" && slices.ContainsFunc(s.settings, func(given setting) bool { return given.name == "token_url" }) {
		o.Provider = "oauth2"
	}
	finds := findInFile(file, content, o)
	if len(finds) == 1 && finds[0].Open && *provider == "" {
		var err error
		if o.Provider, err = s.askIssuer(in, file); err != nil {
			return discover.Find{}, err
		}
		finds = findInFile(file, content, o)
	}
	f := finds[0]
	switch {
	case len(finds) > 1:
		return f, cli.Usage("%s has %d credentials in it; tokenctl import %s makes a profile from each", in.Label, len(finds), file)
	case f.Why != "":
		return f, in.wrong("%s", f.Why)
	case *provider != "" && *provider != f.Provider:
		return f, cli.Usage("%s is for the provider %s (%s)", in.Label, f.Provider, f.Form)
	}
	*provider = f.Provider
	if t, ok := s.Terminal(); ok {
		t.Explain("This is: " + strings.TrimSuffix(f.Form+", "+f.Note, ", "))
	}
	return f, nil
}

// askIssuer asks whose a client ID and secret are, which decides where tokend
// sends the secret. Only a person can say it if the file does not.
func (s *Submission) askIssuer(in Input, file string) (string, error) {
	t, ok := s.Terminal()
	if !ok {
		add := "tokenctl add " + ui.Word(s.request.Name) + " " + ui.Word(file)
		return "", cli.Usage("%s does not say who issues the tokens, so tokend sends its secret nowhere. If it is Microsoft Entra ID: %s --provider azure --tenant TENANT; Aspose: %s --provider aspose; another: --token-url URL", in.Label, add, add)
	}
	names, docs := []string{"azure", "aspose", "oauth2"}, []string{
		"Microsoft Entra ID (scopes end in /.default): the secret goes to login.microsoftonline.com",
		"Aspose Cloud (32 hexadecimal digits): the secret goes to api.aspose.cloud", "another issuer: you name the URL that the secret goes to",
	}
	return t.Choose("It does not say who issues the tokens. Who does", names, docs, false)
}

// takeFind adds what a file says to what the user said, which counts more.
func (s *Submission) takeFind(f discover.Find) {
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
func (s *Submission) choose(providers []token.Provider) (token.Provider, error) {
	names, _ := namesOf(providers)
	list := strings.Join(names, ", ")
	switch i := slices.Index(names, s.request.Provider); {
	case i >= 0:
		return providers[i], nil
	case s.request.Provider != "":
		return token.Provider{}, cli.Usage("there is no provider %q%s; there are %s", s.request.Provider, cli.DidYouMean(s.request.Provider, names), list)
	}
	return token.Provider{}, cli.Usage("missing: --provider (%s)", list)
}
