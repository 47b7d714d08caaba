package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
)

const addHelp = `  tokenctl add                      asks for everything

CLMS, by the service key as downloaded:
  tokenctl add clms --provider clms --service-key key.json

Azure, by a client secret, a certificate, or a PFX file:
  tokenctl add api --provider azure --tenant contoso.com --client-id ID \
    --scope https://api.example.com/.default --client-secret-file secret.txt
  tokenctl add api --provider azure --tenant contoso.com --client-id ID \
    --scope https://api.example.com/.default --certificate app.pem
  tokenctl add api --provider azure --tenant contoso.com --client-id ID \
    --scope https://api.example.com/.default --pfx app.pfx

Aspose, GroupDocs (there with --base-url https://api.groupdocs.cloud):
  tokenctl add docs --provider aspose --client-id ID --client-secret-file -

Any other issuer, by client credentials or by a signed assertion:
  tokenctl add api --provider oauth2 --token-url https://id.example.com/token \
    --client-id ID --scope read --client-secret-file secret.txt
  tokenctl add api --provider jwt-bearer --issuer ID --private-key key.pem \
    --token-url https://id.example.com/token --claim box_sub_type=enterprise

Makes a profile. The settings go to a file of its own, the secret to the
keystore. Before anything is kept, a token is obtained to prove that it works.
A secret is read from a file or stdin, or asked for without echo; it is never
a flag's value, which every user could see.`

// A wish is what add was given so far.
type wish struct {
	name, provider string
	said           sayings
	credential     credential
}

func (a *app) addCommand() *cobra.Command {
	var w wish
	c := &cobra.Command{
		Use:               "add [NAME] [--provider PROVIDER]",
		Short:             "Make a profile: settings, and a key or secret",
		Long:              addHelp,
		Args:              a.perhapsProfile,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			w.name = a.profile
			return a.add(c, w)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&w.provider, "provider", "", "`PROVIDER` of the tokens: clms, azure, aspose, oauth2, jwt-bearer")
	w.credential.flags(f)
	w.said.flags(f)
	_ = c.RegisterFlagCompletionFunc("provider", a.completeProviders)
	return c
}

func (a *app) add(c *cobra.Command, w wish) error {
	kinds, err := a.providers(c)
	if err != nil {
		return err
	}
	p, err := a.settle(&w, kinds)
	if err != nil {
		return err
	}
	settings, err := w.said.settings(p)
	if err != nil {
		return err
	}
	secrets, from, err := a.read(w.credential)
	if err != nil {
		return err
	}
	if err := checkSecrets(p, secrets); err != nil {
		return err
	}
	if t, ok := a.terminal(); ok {
		if err := askSettings(t, p, settings); err != nil {
			return err
		}
		asked, err := a.askSecrets(t, p, secrets)
		if err != nil {
			return err
		}
		from = append(from, asked...)
	}
	if lacking := missing(w, p, settings, secrets); len(lacking) > 0 {
		return usage("missing: %s", strings.Join(lacking, ", "))
	}
	a.profile = w.name
	return a.hand(c, (*ipc.Client).Add, w.credential, from, token.Addition{
		Name: w.name, Provider: p.Name, Settings: settings, Secrets: secrets,
	})
}

// hand has tokend take an addition, and tells what became of it.
func (a *app) hand(c *cobra.Command, to func(*ipc.Client, context.Context, token.Addition) (token.Added, error),
	cr credential, from []keyFile, addition token.Addition,
) error {
	addition.CredentialExpires, addition.NoCheck = cr.expires.Time, cr.noCheck
	var added token.Added
	err := a.ask(c, func(ctx context.Context, d *ipc.Client) (err error) {
		added, err = to(d, ctx, addition)
		return err
	})
	if err != nil {
		return err
	}
	if cr.json {
		return a.out.answerJSON(added)
	}
	return a.out.answer([]byte(toldAdded(added, deletable(from), time.Now())))
}

// settle finds out the profile's name and its provider, asking for them if
// somebody is there to answer.
func (a *app) settle(w *wish, kinds []token.Provider) (token.Provider, error) {
	t, ok := a.terminal()
	if w.provider == "" && ok {
		var err error
		if w.provider, err = askProvider(t, kinds); err != nil {
			return token.Provider{}, err
		}
	}
	if w.provider == "" {
		lacking := missing(*w, token.Provider{}, nil, nil)
		return token.Provider{}, usage("missing: %s (%s)", strings.Join(lacking, ", "), strings.Join(providerNames(kinds), ", "))
	}
	i := slices.IndexFunc(kinds, func(p token.Provider) bool { return p.Name == w.provider })
	if i < 0 {
		names := providerNames(kinds)
		text := didYouMean(w.provider, names)
		if text == "" {
			text = "; there are " + strings.Join(names, ", ")
		}
		return token.Provider{}, usage("there is no provider %q%s", w.provider, text)
	}
	if w.name == "" && ok {
		var err error
		if w.name, err = t.ask("Name for the profile", w.provider); err != nil {
			return token.Provider{}, err
		}
	}
	return kinds[i], nil
}

func askProvider(t terminal, kinds []token.Provider) (string, error) {
	var docs []string
	for _, p := range kinds {
		docs = append(docs, p.Doc)
	}
	return t.choose("Where do the tokens come from", providerNames(kinds), docs)
}

// askSettings asks for the settings that have no default and were not given.
func askSettings(t terminal, p token.Provider, settings map[string]any) error {
	for _, f := range p.Fields {
		if _, given := settings[f.Name]; given || !f.Required || f.Secret {
			continue
		}
		for {
			value, err := t.ask(f.Name+", "+f.Doc, f.Default)
			if err != nil {
				return err
			}
			err = addSetting(settings, f, saying{f.Name, f.Name, value})
			if err == nil {
				break
			}
			t.out.print(printable(err.Error()) + "\n")
		}
	}
	return nil
}

// missing names, by their flags, the things without which there is no point in
// asking tokend.
func missing(w wish, p token.Provider, settings map[string]any, secrets map[string]token.Secret) (lacking []string) {
	if w.name == "" {
		lacking = append(lacking, "NAME")
	}
	if p.Name == "" {
		return append(lacking, "--provider")
	}
	for _, f := range p.Fields {
		if _, given := settings[f.Name]; f.Required && !f.Secret && !given {
			lacking = append(lacking, flagFor(f.Name))
		}
	}
	if len(secrets) > 0 {
		return lacking
	}
	if flags := secretFlags(p); flags != "" {
		lacking = append(lacking, flags)
	}
	return lacking
}

// secretFlags names the flags of which one gives the provider its secret.
func secretFlags(p token.Provider) string {
	var flags []string
	for _, f := range secretChoices(p) {
		flags = append(flags, flagFor(f.Name)+" FILE")
	}
	return strings.Join(flags, " or ")
}

// checkSecrets refuses secrets that the provider does not take.
func checkSecrets(p token.Provider, secrets map[string]token.Secret) error {
	for _, field := range slices.Sorted(maps.Keys(secrets)) {
		known := slices.ContainsFunc(p.Fields, func(f token.Field) bool { return f.Secret && f.Name == field })
		if known {
			continue
		}
		var flags []string
		for _, f := range p.Fields {
			if f.Secret {
				flags = append(flags, flagFor(f.Name))
			}
		}
		return usage("%s: the provider %s takes no %s; it takes %s", flagFor(field), p.Name, field, strings.Join(flags, ", "))
	}
	return nil
}

// companion is the field of what may be needed beside a secret, "" for most.
func companion(field string) string {
	switch field {
	case "certificate":
		return "private_key"
	case "pfx":
		return "pfx_password"
	}
	return ""
}

// secretChoices are the provider's secrets of which one is enough: the one
// that it calls required, else all that are no companion of another.
func secretChoices(p token.Provider) (choices []token.Field) {
	companions := map[string]bool{}
	for _, f := range p.Fields {
		companions[companion(f.Name)] = true
	}
	for _, f := range p.Fields {
		switch {
		case !f.Secret:
		case f.Required:
			return []token.Field{f}
		case !companions[f.Name]:
			choices = append(choices, f)
		}
	}
	return choices
}

// askSecrets asks for a secret if none was given, and for what may belong to
// it.
func (a *app) askSecrets(t terminal, p token.Provider, secrets map[string]token.Secret) (from []keyFile, err error) {
	choices := secretChoices(p)
	if len(secrets) > 0 || len(choices) == 0 {
		return nil, nil
	}
	chosen := choices[0]
	if len(choices) > 1 {
		if chosen, err = chooseSecret(t, choices); err != nil {
			return nil, err
		}
	}
	if from, err = a.askSecret(t, chosen, secrets); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(p.Fields, func(f token.Field) bool { return f.Secret && f.Name == companion(chosen.Name) })
	if i < 0 {
		return from, nil
	}
	more, err := a.askCompanion(t, p.Fields[i], secrets)
	return append(from, more...), err
}

func chooseSecret(t terminal, choices []token.Field) (token.Field, error) {
	var names, docs []string
	for _, f := range choices {
		names, docs = append(names, f.Name), append(docs, f.Doc)
	}
	name, err := t.choose("Which of these do you have", names, docs)
	return choices[max(0, slices.Index(names, name))], err
}

// askSecret asks for a secret itself, or for the file that it is in.
func (a *app) askSecret(t terminal, f token.Field, secrets map[string]token.Secret) ([]keyFile, error) {
	in, question := secretInputFor(f.Name), f.Name+", "+f.Doc
	if in.typed {
		secret, err := t.askSecret(question)
		secrets[f.Name] = secret
		return nil, err
	}
	for {
		file, err := t.askFile("File: " + question)
		if err != nil {
			return nil, err
		}
		secret, err := a.readSecret(in, file)
		if err == nil {
			secrets[f.Name] = secret
			return []keyFile{{f.Name, file}}, nil
		}
		t.out.print(printable(err.Error()) + "\n")
	}
}

// askCompanion asks for what may be needed beside another secret.
func (a *app) askCompanion(t terminal, f token.Field, secrets map[string]token.Secret) ([]keyFile, error) {
	in, question := secretInputFor(f.Name), f.Name+", "+f.Doc
	if in.typed {
		t.out.print(printable(question) + " (not shown, Enter for none): ")
		text, err := t.hidden()
		t.out.print("\n")
		if len(text) > 0 {
			secrets[f.Name] = token.NewSecret(string(text))
		}
		return nil, err
	}
	file, err := t.askPerhaps("File: " + question)
	if err != nil || file == "" {
		return nil, err
	}
	file = expandHome(file)
	secret, err := a.readSecret(in, file)
	secrets[f.Name] = secret
	return []keyFile{{f.Name, file}}, err
}

// toldAdded says what became of an addition.
func toldAdded(added token.Added, files []string, now time.Time) string {
	p := added.Profile
	var b strings.Builder
	fmt.Fprintf(&b, "The profile %s is ready: %s", printable(p.Name), printable(p.Provider))
	if p.Endpoint != "" {
		b.WriteString(", " + printable(p.Endpoint))
	}
	b.WriteString("\nKept:\n")
	for _, kept := range added.Kept {
		b.WriteString("  " + printable(kept) + "\n")
	}
	b.WriteString(toldCheck(added, now))
	if ends := p.CredentialExpires; !ends.IsZero() {
		fmt.Fprintf(&b, "The credential itself expires on %s, %s.\n", day(ends), when(ends, now))
	}
	for _, warning := range p.Warnings {
		b.WriteString(wrap("Warning: "+printable(warning), ""))
	}
	b.WriteString(toldFiles(files, added.Checked, p.Name))
	fmt.Fprintf(&b, "Use it: tokenctl get %s\n", printable(word(p.Name)))
	return b.String()
}

func toldCheck(added token.Added, now time.Time) string {
	if !added.Checked {
		return "No token was obtained, so nothing proves yet that it works.\n"
	}
	text := "A token was obtained in " + took(added.Took) + ", so it works"
	if tokens := added.Profile.Tokens; len(tokens) > 0 && tokens[0].Expiry.After(now) {
		text += "; that one expires " + when(tokens[0].Expiry, now)
	}
	return text + ".\n"
}

func toldFiles(files []string, checked bool, name string) string {
	if len(files) == 0 {
		return ""
	}
	text := "tokend needs this file no longer; you may delete it:\n"
	if len(files) > 1 {
		text = "tokend needs these files no longer; you may delete them:\n"
	}
	if !checked {
		text = "Once \"tokenctl get " + printable(word(name)) + "\" has worked, you may delete:\n"
	}
	for _, file := range files {
		text += "  " + printable(file) + "\n"
	}
	return text
}

// providers asks tokend which there are.
func (a *app) providers(c *cobra.Command) (kinds []token.Provider, err error) {
	err = a.ask(c, func(ctx context.Context, d *ipc.Client) error {
		kinds, err = d.Providers(ctx)
		return err
	})
	return kinds, err
}

func providerNames(kinds []token.Provider) []string {
	names := make([]string, len(kinds))
	for i, p := range kinds {
		names[i] = p.Name
	}
	return names
}

func (a *app) completeProviders(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	kinds, err := a.providers(c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, p := range kinds {
		names = append(names, cobra.CompletionWithDesc(printable(p.Name), printable(p.Doc)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
