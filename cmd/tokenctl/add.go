package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const addHelp = `  tokenctl add                      asks for everything
  tokenctl add clms key.json        a file that says by itself what it is for:
                                    a CLMS service key, a Google service
                                    account, an Azure service principal

CLMS, by the service key as downloaded:
  tokenctl add clms --service-key key.json

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

Datarock: tokend makes the key and prints the public half, to be registered:
  tokenctl add rock --provider datarock --email me@example.com

IOXIO, and any other issuer whose tokens are to be verified (no secret at all):
  tokenctl add weather --provider ioxio --dataspace https://ds.example.com \
    --dsi dpp://group:variant@ds.example.com/Weather/Current_v1.0
  tokenctl add api-in --provider jwt-verify --issuer https://id.example.com \
    --audience https://api.example.com

Makes a profile. The settings go to a file of its own, the secret to the
keystore. Before anything is kept, a token is obtained to prove that it works.
A secret is read from a file or stdin, or asked for without echo; it is never
a flag's value, which every user could see.`

// A wish is what add was given so far.
type wish struct {
	name, provider string
	// file holds a credential in a form that says what it is for; proposed is a
	// name for a profile of it.
	file, proposed string
	said           sayings
	credential     credential
}

func (a *app) add(c *cli.Call, w wish) error {
	found, err := a.recognise(&w)
	if err != nil {
		return err
	}
	kinds, err := a.providers(c)
	if err != nil {
		return err
	}
	if found != nil {
		a.tellFound(found)
	}
	p, err := a.settle(&w, kinds)
	if err != nil {
		return err
	}
	settings, err := w.said.settings(p)
	if err != nil {
		return err
	}
	secrets, from, err := a.read(p, w.credential)
	if err != nil {
		return err
	}
	if found != nil {
		from = append(from, takeFound(found, settings, secrets)...)
	}
	if err := checkSecrets(p, secrets); err != nil {
		return err
	}
	if t, ok := a.Terminal(); ok {
		if err := a.askSettings(t, p, settings); err != nil {
			return err
		}
		asked, err := a.askSecrets(t, p, secrets)
		if err != nil {
			return err
		}
		from = append(from, asked...)
	}
	if lacking := missing(w, p, settings, secrets); len(lacking) > 0 {
		return cli.Usage("missing: %s", strings.Join(lacking, ", "))
	}
	a.Profile = w.name
	return a.hand(c, (*ipc.Client).Add, toldAdded, w.credential, handing{p, from, token.CreateProfile{
		Name: w.name, Provider: p.Name, Settings: settings, Secrets: secrets,
	}})
}

// A handing is an addition for a profile of provider, made of files.
type handing struct {
	provider token.Provider
	from     []keyFile
	addition token.CreateProfile
}

// askedAgain is how often an answer that tokend refuses is asked for again.
const askedAgain = 3

// A telling says what became of an addition that was made of files.
type telling func(added token.Created, files []string, now time.Time) string

// A taking is a method of the client that takes an addition.
type taking func(*ipc.Client, context.Context, token.CreateProfile) (token.Created, error)

// hand has tokend take an addition, and tells what became of it. What was
// answered at the terminal and is refused is asked for again.
func (a *app) hand(c *cli.Call, to taking, told telling, cr credential, h handing) error {
	h.addition.CredentialExpires, h.addition.NoCheck = cr.expires.Time, cr.noCheck
	added, err := a.give(c, to, h.addition)
	for range askedAgain {
		field, ok := a.refusedAnswer(err)
		if !ok {
			break
		}
		a.Err.Print(ui.Wrap(ui.Printable(err.Error()), ""))
		if err := a.answerAnew(&h, field); err != nil {
			return err
		}
		added, err = a.give(c, to, h.addition)
	}
	if !h.addition.NoCheck && a.keepUntested(err) {
		h.addition.NoCheck = true
		added, err = a.give(c, to, h.addition)
	}
	if err != nil {
		return err
	}
	if cr.json {
		return a.Out.AnswerJSON(added)
	}
	return a.Out.Answer(told(added, deletable(h.from), time.Now()))
}

// keepUntested asks somebody who has typed answers whether they are to be kept
// although the issuer cannot be asked now.
func (a *app) keepUntested(err error) bool {
	t, ok := a.Terminal()
	if !ok || len(a.Answered) == 0 || !errors.Is(err, token.ErrUnavailable) {
		return false
	}
	a.Err.Print(ui.Wrap(ui.Printable(err.Error()), ""))
	yes, err := t.Confirm("Keep it all the same, untested?")
	return err == nil && yes
}

func (a *app) give(c *cli.Call, to taking, addition token.CreateProfile) (added token.Created, err error) {
	what := "Obtaining a token to prove that it works"
	if addition.NoCheck {
		what = "Keeping the secret"
	}
	err = a.AskFor(a.ctx, what, func(ctx context.Context, d *ipc.Client) error {
		added, err = to(d, ctx, addition)
		return err
	})
	return added, err
}

// refusedAnswer is the field that err refuses, if that was asked for.
func (a *app) refusedAnswer(err error) (field string, ok bool) {
	var e *token.Error
	if !errors.As(err, &e) {
		return "", false
	}
	field = strings.TrimPrefix(e.Field, "settings.")
	return field, slices.Contains(a.Answered, field)
}

// answerAnew asks for one field once more.
func (a *app) answerAnew(h *handing, field string) (err error) {
	t, _ := a.Terminal() // somebody answered there before
	if field == nameField {
		h.addition.Name, err = t.Ask(nameQuestion, "")
		a.Profile = h.addition.Name
		return err
	}
	i := slices.IndexFunc(h.provider.Fields, func(f token.Field) bool { return f.Name == field })
	if i < 0 {
		return fmt.Errorf("%s has no %s to ask for", h.provider.Name, field)
	}
	f := h.provider.Fields[i]
	if !f.Secret {
		delete(h.addition.Settings, field)
		return askSetting(t, f, h.addition.Settings)
	}
	delete(h.addition.Secrets, field)
	h.from = slices.DeleteFunc(h.from, func(k keyFile) bool { return k.field == field })
	ask := a.askSecret
	if isCompanion(h.provider, field) {
		ask = a.askCompanion
	}
	more, err := ask(t, h.provider, f, h.addition.Secrets)
	h.from = append(h.from, more...)
	return err
}

// A profile's name is asked for like its fields.
const (
	nameField    = "name"
	nameQuestion = "Name for the profile"
)

// settle finds out the profile's name and its provider, asking for them if
// somebody is there to answer.
func (a *app) settle(w *wish, kinds []token.Provider) (token.Provider, error) {
	t, ok := a.Terminal()
	if w.provider == "" && ok {
		var err error
		if w.provider, err = askProvider(t, kinds); err != nil {
			return token.Provider{}, err
		}
	}
	if w.provider == "" {
		lacking := missing(*w, token.Provider{}, nil, nil)
		return token.Provider{}, cli.Usage("missing: %s (%s)", strings.Join(lacking, ", "), strings.Join(providerNames(kinds), ", "))
	}
	i := slices.IndexFunc(kinds, func(p token.Provider) bool { return p.Name == w.provider })
	if i < 0 {
		names := providerNames(kinds)
		text := cli.DidYouMean(w.provider, names)
		if text == "" {
			text = "; there are " + strings.Join(names, ", ")
		}
		return token.Provider{}, cli.Usage("there is no provider %q%s", w.provider, text)
	}
	switch {
	case w.name != "":
	case ok:
		var err error
		if w.name, err = t.Ask(nameQuestion, cmp.Or(w.proposed, w.provider)); err != nil {
			return token.Provider{}, err
		}
		a.Answered = append(a.Answered, nameField)
	default:
		w.name = w.proposed
	}
	return kinds[i], nil
}

func askProvider(t ui.Terminal, kinds []token.Provider) (string, error) {
	var docs []string
	for _, p := range kinds {
		docs = append(docs, p.Doc)
	}
	return t.Choose("Where do the tokens come from", providerNames(kinds), docs)
}

// askSettings asks for the settings that have no default and were not given.
func (a *app) askSettings(t ui.Terminal, p token.Provider, settings map[string]any) error {
	for _, f := range p.Fields {
		if _, given := settings[f.Name]; given || !f.Required || f.Secret {
			continue
		}
		if err := askSetting(t, f, settings); err != nil {
			return err
		}
		a.Answered = append(a.Answered, f.Name)
	}
	return nil
}

func askSetting(t ui.Terminal, f token.Field, settings map[string]any) error {
	t.Explain(f.Doc)
	for {
		value, err := t.Ask(f.Name, f.Default)
		if err != nil {
			return err
		}
		err = addSetting(settings, f, saying{f.Name, f.Name, value})
		if err == nil {
			return nil
		}
		t.Out.Print(ui.Printable(err.Error()) + "\n")
	}
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
	if len(secrets) == 0 && needsSecret(p) {
		lacking = append(lacking, secretFlags(p))
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
		if flags == nil {
			return cli.Usage("%s: a profile of %s has no secret", flagFor(field), p.Name)
		}
		return cli.Usage("%s: the provider %s takes no %s; it takes %s", flagFor(field), p.Name, field, strings.Join(flags, ", "))
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

// isCompanion tells of what may be needed beside a secret that p takes.
func isCompanion(p token.Provider, field string) bool {
	return slices.ContainsFunc(p.Fields, func(f token.Field) bool { return companion(f.Name) == field })
}

// secretChoices are the provider's secrets of which one is enough: the one
// that it calls required, else all that are no companion of another.
func secretChoices(p token.Provider) (choices []token.Field) {
	for _, f := range p.Fields {
		switch {
		case !f.Secret:
		case f.Required:
			return []token.Field{f}
		case !isCompanion(p, f.Name):
			choices = append(choices, f)
		}
	}
	return choices
}

// needsSecret tells whether one of the provider's secrets must be given: it is
// required, or there are several to choose from. One that is neither is made
// by tokend unless it is given.
func needsSecret(p token.Provider) bool {
	choices := secretChoices(p)
	return len(choices) > 1 || len(choices) == 1 && choices[0].Required
}

// askSecrets asks for a secret if none was given, and for what may belong to
// it.
func (a *app) askSecrets(t ui.Terminal, p token.Provider, secrets map[string]token.Secret) (from []keyFile, err error) {
	choices := secretChoices(p)
	if len(secrets) > 0 || !needsSecret(p) {
		return nil, nil
	}
	chosen := choices[0]
	if len(choices) > 1 {
		if chosen, err = chooseSecret(t, choices); err != nil {
			return nil, err
		}
	}
	if from, err = a.askSecret(t, p, chosen, secrets); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(p.Fields, func(f token.Field) bool { return f.Secret && f.Name == companion(chosen.Name) })
	if i < 0 {
		return from, nil
	}
	more, err := a.askCompanion(t, p, p.Fields[i], secrets)
	return append(from, more...), err
}

func chooseSecret(t ui.Terminal, choices []token.Field) (token.Field, error) {
	var names, docs []string
	for _, f := range choices {
		names, docs = append(names, f.Name), append(docs, f.Doc)
	}
	name, err := t.Choose("Which of these do you have", names, docs)
	return choices[max(0, slices.Index(names, name))], err
}

// askSecret asks for a secret itself, or for the file that it is in.
func (a *app) askSecret(t ui.Terminal, p token.Provider, f token.Field, secrets map[string]token.Secret) ([]keyFile, error) {
	in := secretInputFor(f.Name)
	in.asked = true
	a.Answered = append(a.Answered, f.Name)
	t.Explain(f.Doc)
	if in.typed {
		secret, err := t.AskSecret(f.Name)
		secrets[f.Name] = secret
		return nil, err
	}
	for {
		file, err := t.AskFile(f.Name + " file")
		if err != nil {
			return nil, err
		}
		secret, err := a.readSecret(p, in, file)
		if err == nil {
			secrets[f.Name] = secret
			return []keyFile{{f.Name, file}}, nil
		}
		t.Out.Print(ui.Printable(err.Error()) + "\n")
	}
}

// askCompanion asks for what may be needed beside another secret.
func (a *app) askCompanion(t ui.Terminal, p token.Provider, f token.Field, secrets map[string]token.Secret) ([]keyFile, error) {
	in := secretInputFor(f.Name)
	in.asked = true
	a.Answered = append(a.Answered, f.Name)
	t.Explain(f.Doc)
	if in.typed {
		secret, err := t.AskOptionalSecret(f.Name)
		if !secret.IsZero() {
			secrets[f.Name] = secret
		}
		return nil, err
	}
	for {
		file, err := t.AskOptional(f.Name + " file")
		if err != nil || file == "" {
			return nil, err
		}
		file = ui.ExpandHome(file)
		secret, err := a.readSecret(p, in, file)
		if err == nil {
			secrets[f.Name] = secret
			return []keyFile{{f.Name, file}}, nil
		}
		t.Out.Print(ui.Printable(err.Error()) + "\n")
	}
}

// toldAdded says what became of an addition.
func toldAdded(added token.Created, files []string, now time.Time) string {
	return toldProfile(added, "is made, untested", files, now)
}

// toldProfile tells of a profile that has a credential now; untested says so
// if no token proved it.
func toldProfile(added token.Created, untested string, files []string, now time.Time) string {
	p := added.Profile
	how := "is ready"
	if !added.Checked && !isTokenless(p) {
		how = untested
	}
	var b strings.Builder
	fmt.Fprintf(&b, "The profile %s %s: %s", ui.Printable(p.Name), how, ui.Printable(p.Provider))
	if p.Endpoint != "" {
		b.WriteString(", " + ui.Printable(p.Endpoint))
	}
	b.WriteString("\n" + toldKept(added))
	if isTokenless(p) {
		b.WriteString(toldPublicKey(p))
	} else {
		b.WriteString(toldCheck(added, now))
	}
	if ends := p.CredentialExpires; !ends.IsZero() {
		fmt.Fprintf(&b, "The credential itself expires on %s, %s.\n", ui.Day(ends), ui.When(ends, now))
	}
	for _, warning := range p.Warnings {
		b.WriteString(ui.Wrap("Warning: "+ui.Printable(warning), ""))
	}
	b.WriteString(toldFiles(files, added.Checked, useCommand(p)))
	fmt.Fprintf(&b, "Use it: %s\n", useCommand(p))
	return b.String()
}

func toldKept(added token.Created) string {
	if len(added.Kept) == 0 {
		return ""
	}
	text := "Kept:\n"
	for _, kept := range added.Kept {
		text += "  " + ui.Printable(kept) + "\n"
	}
	return text
}

// toldPublicKey is the public key of a profile that has one, and what to do
// with it.
func toldPublicKey(p token.ProfileStatus) string {
	key, ok := publicKeyIn(p.Settings)
	if !ok {
		return ""
	}
	return "Register this public key in the service's settings, unless it is there already\n" +
		"(\"tokenctl public-key " + ui.Printable(ui.Word(p.Name)) + "\" prints it again):\n" + key
}

func toldCheck(added token.Created, now time.Time) string {
	if !added.Checked {
		return "No token was obtained, so nothing proves yet that it works.\n"
	}
	text := "A token was obtained in " + ui.Took(added.Took) + ", so it works"
	if tokens := added.Profile.Tokens; len(tokens) > 0 && tokens[0].Expiry.After(now) {
		text += "; that one expires " + ui.When(tokens[0].Expiry, now)
	}
	return text + ".\n"
}

func toldFiles(files []string, checked bool, use string) string {
	if len(files) == 0 {
		return ""
	}
	text := "tokend needs this file no longer; you may delete it:\n"
	if len(files) > 1 {
		text = "tokend needs these files no longer; you may delete them:\n"
	}
	if !checked {
		text = "Once \"" + use + "\" has worked, you may delete:\n"
	}
	for _, file := range files {
		text += "  " + ui.Printable(file) + "\n"
	}
	return text
}

// providers asks tokend which there are.
func (a *app) providers(c *cli.Call) (kinds []token.Provider, err error) {
	err = a.Ask(a.ctx, func(ctx context.Context, d *ipc.Client) error {
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

func (a *app) completeProviders() (names []cli.Candidate) {
	kinds, _ := a.providers(nil)
	for _, p := range kinds {
		names = append(names, cli.Candidate{Text: ui.Printable(p.Name), Doc: ui.Printable(p.Doc)})
	}
	return names
}
