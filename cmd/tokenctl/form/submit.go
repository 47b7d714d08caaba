package form

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// A Submission is a profile, or a new credential of one, on its way to tokend.
type Submission struct {
	*ui.Env
	request  token.CreateProfile
	provider token.Provider
	// file holds a credential in a form that names its provider; files are those of
	// flags for secrets, by field.
	file     string
	files    map[string]string
	settings []setting
	json     bool
	// registered and abandon are the second step of a rotation.
	registered, abandon bool

	from     map[string]string // the files of the secrets, with their fields
	asked    []token.Field     // what a person has answered
	proposed string            // a name for the profile
}

// New returns an empty Submission.
func New(e *ui.Env) *Submission {
	return &Submission{Env: e, files: map[string]string{}, from: map[string]string{}, request: token.CreateProfile{Secrets: map[string]token.Secret{}}}
}

// readFiles reads the secrets that flags name files for.
func (s *Submission) readFiles() (err error) {
	for _, field := range slices.Sorted(maps.Keys(s.files)) {
		in, file := inputFor(field), s.files[field]
		if file != "-" {
			s.from[file] = field
		}
		if s.request.Secrets[field], err = in.readSecret(s.Env, file); err != nil {
			return err
		}
	}
	return nil
}

// missing are the fields without which there is no point in asking tokend. One of
// each list is enough.
func (s *Submission) missing() (lists [][]token.Field) {
	if s.request.Name == "" {
		lists = append(lists, []token.Field{{Name: nameField, Default: cmp.Or(s.proposed, s.provider.Name)}})
	}
	for _, f := range s.provider.Fields {
		_, given := s.request.Settings[f.Name]
		if f.Required && !f.Secret && !given && !(f.Resource && s.request.Settings["resources"] != nil) {
			lists = append(lists, []token.Field{f})
		}
	}
	if needsSecret(s.provider) && !slices.ContainsFunc(s.provider.Fields, s.hasSecret) {
		lists = append(lists, secretChoices(s.provider))
	}
	if _, named := s.request.Settings["second_header"]; named && !s.hasSecret(secondSecret) {
		lists = append(lists, []token.Field{secondSecret})
	}
	return lists
}

func (s *Submission) hasSecret(f token.Field) bool { return !s.request.Secrets[f.Name].IsZero() }

// complete asks for what is missing, or refuses without a terminal.
func (s *Submission) complete() error {
	t, ok := s.Terminal()
	var missing []string
	for _, choices := range s.missing() {
		names, docs, flags := []string{}, []string{}, []string{}
		for _, f := range choices {
			flag := flagFor(f.Name)
			if f.Secret {
				flag += " FILE"
			}
			names, docs, flags = append(names, f.Name), append(docs, f.Doc), append(flags, flag)
		}
		if !ok {
			missing = append(missing, strings.Join(flags, " or "))
			continue
		}
		name, err := names[0], error(nil)
		if len(choices) > 1 {
			name, err = t.Choose("Which of these do you have", names, docs, false)
		}
		if err == nil {
			err = s.ask(t, choices[slices.Index(names, name)])
		}
		if err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return cli.Usage("missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// maxRetries is how often the form asks again for an answer that tokend refuses.
const maxRetries = 3

// A sender is a method of tokend's client that takes a Submission.
type sender func(*ipc.Client, context.Context, token.CreateProfile) (token.Created, error)

// submit completes the request, hands it to tokend, and shows what came of it. It
// asks again for answers that are refused.
func (s *Submission) submit(ctx context.Context, send sender, render func(created token.Created, files []string, now time.Time) string) error {
	if err := s.readFiles(); err != nil {
		return err
	}
	if err := s.complete(); err != nil {
		return err
	}
	created, err := s.try(ctx, send)
	t, isTerminal := s.Terminal()
	for range maxRetries {
		e, ok := errors.AsType[*token.Error](err)
		if !ok {
			break
		}
		fields, field := s.asked, strings.TrimPrefix(e.Field, "settings.")
		if isTerminal && isCompanion(s.provider, field) {
			fields = s.provider.Fields
		}
		i := slices.IndexFunc(fields, func(f token.Field) bool { return f.Name == field })
		if i < 0 {
			break
		}
		s.Note(ui.Printable(err.Error()))
		if err := s.askAgain(t, fields[i]); err != nil {
			return err
		}
		created, err = s.try(ctx, send)
	}
	if isTerminal && len(s.asked) > 0 && !s.request.NoCheck && s.request.Text == "" && errors.Is(err, token.ErrUnavailable) {
		s.Note(ui.Printable(err.Error()))
		if yes, failed := t.Confirm("Save it untested?"); failed == nil && yes {
			s.request.NoCheck = true
			created, err = s.try(ctx, send)
		}
	}
	switch {
	case err != nil:
		return err
	case s.json:
		return s.Out.AnswerJSON(created)
	}
	return s.Out.Answer(render(created, deletable(s.from), time.Now()))
}

func (s *Submission) try(ctx context.Context, send sender) (token.Created, error) {
	what := "Obtaining a token to prove that it works"
	if s.request.NoCheck {
		what = "Saving the secret"
	}
	s.Profile = s.request.Name
	return ui.AskFor(ctx, s.Env, ui.Patience, what, func(d *ipc.Client, ctx context.Context) (token.Created, error) { return send(d, ctx, s.request) })
}

// nameField is the profile's name, which is asked for like its fields.
const nameField = "name"

// ask asks for a field.
func (s *Submission) ask(t ui.Terminal, f token.Field) (err error) {
	s.asked, s.Answered = append(s.asked, f), append(s.Answered, f.Name)
	t.Explain(f.Doc)
	switch {
	case f.Name == nameField:
		s.request.Name, err = t.Ask("Name for the profile", f.Default)
		return err
	case !f.Secret:
		value, err := t.Ask(f.Name, f.Default)
		if err != nil {
			return err
		}
		return addSetting(s.request.Settings, f, setting{f.Name, f.Name, value})
	case isTyped(f.Name):
		secret, err := t.AskSecret(f.Name, isCompanion(s.provider, f.Name))
		if !secret.IsZero() {
			s.request.Secrets[f.Name] = secret
		}
		return err
	}
	return s.askFile(t, f)
}

// askAgain asks for another answer for a field.
func (s *Submission) askAgain(t ui.Terminal, f token.Field) error {
	delete(s.request.Settings, f.Name)
	delete(s.request.Secrets, f.Name)
	maps.DeleteFunc(s.from, func(_, of string) bool { return of == f.Name })
	f.Default = ""
	return s.ask(t, f)
}

// askFile asks for the file that a secret is in, in place of which it can be pasted.
func (s *Submission) askFile(t ui.Terminal, f token.Field) error {
	for in := (Input{f.Name, f.Name}); ; {
		file, err := t.AskFile(f.Name+" file, or paste it", isCompanion(s.provider, f.Name))
		if err != nil || file == "" {
			return err
		}
		var secret token.Secret
		if ui.IsKey(file) {
			secret, err = in.secret([]byte(file))
		} else if secret, err = in.readSecret(s.Env, file); err == nil {
			s.from[file] = f.Name
		}
		if err == nil {
			s.request.Secrets[f.Name] = secret
			return nil
		}
		t.Explain(err.Error())
	}
}

// isCompanion reports whether a secret can be needed beside another one of p, which
// only tokend sees.
func isCompanion(p token.Provider, field string) bool {
	return field == "passphrase" || field == "pfx_password" ||
		field == "private_key" && slices.ContainsFunc(p.Fields, func(f token.Field) bool { return f.Name == "certificate" })
}

// secretChoices are the provider's secrets of which one is enough: the required
// one, or else all that stand for themselves.
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

// needsSecret reports whether the user must hand in one of the provider's
// secrets: it is required, or there is a choice. tokend makes any other.
func needsSecret(p token.Provider) bool {
	choices := secretChoices(p)
	return len(choices) > 1 || len(choices) == 1 && choices[0].Required
}

// renderProfile describes a profile that has a credential now: where that is
// stored, that you can delete its files, and how to use it.
func renderProfile(created token.Created, files []string, now time.Time) string {
	p := created.Profile
	tokenless := p.Does == "signs" || p.Does == "verifies"
	how := "is ready"
	if !created.Checked && !tokenless {
		how = "is saved, untested"
	}
	text := "The profile " + ui.Printable(p.Name) + " " + how + ": " + ui.Printable(p.Provider)
	if p.Endpoint != "" {
		text += ", " + ui.Printable(p.Endpoint)
	}
	text += "\n" + listed("Saved", created.Kept)
	for _, found := range created.Found {
		text += "Found " + ui.Printable(found) + "\n"
	}
	switch key := PublicKey(p.Settings); {
	case !tokenless:
		text += renderCheck(created, now)
	case key != "":
		text += renderPublicKey(ui.Printable(ui.Word(p.Name)), key, "unless it is there already")
	}
	if ends := p.CredentialExpires; !ends.IsZero() {
		text += "The credential itself expires on " + ui.Day(ends) + ", " + ui.When(ends, now) + ".\n"
	}
	for _, warning := range p.Warnings {
		text += ui.Wrap("Warning: "+ui.Printable(warning), "")
	}
	return text + renderFiles(files, created.Checked, UseOf(p)) + "Use it: " + UseOf(p) + "\n"
}

// UseOf is the command that uses a profile.
func UseOf(p token.ProfileStatus) string {
	name := ui.Printable(ui.Word(p.Name))
	switch p.Does {
	case "signs":
		return "tokenctl sign " + name + " URL"
	case "verifies":
		return "tokenctl verify " + name
	}
	if len(p.Tokens) > 0 && p.Tokens[0].Resource != "" {
		name += " --resource " + ui.Printable(p.Tokens[0].Resource)
	}
	return "tokenctl get " + name
}

// listed is lines below a heading, empty if there are none.
func listed(heading string, lines []string) (text string) {
	for _, line := range lines {
		text += "\n  " + ui.Printable(line)
	}
	if text == "" {
		return ""
	}
	return heading + ":" + text + "\n"
}

// renderPublicKey asks to register a key, which public-key prints again.
func renderPublicKey(name, key, how string) string {
	return "Register this public key with the service, " + how + "\n(\"tokenctl public-key " + name + "\" prints it again):\n" + key
}

func renderCheck(created token.Created, now time.Time) string {
	if !created.Checked {
		return "No token was obtained, so nothing proves yet that it works.\n"
	}
	text := "A token was obtained in " + ui.Took(created.Took) + ", so it works"
	if tokens := created.Profile.Tokens; len(tokens) > 0 && tokens[0].Expiry.After(now) {
		text += "; it expires " + ui.When(tokens[0].Expiry, now)
	}
	return text + ".\n"
}

// renderFiles lists the files that you can delete, once use has worked if no
// token was obtained.
func renderFiles(files []string, checked bool, use string) string {
	if checked {
		return listed("Now you can delete", files)
	}
	return listed("Once \""+use+"\" has worked, you can delete", files)
}
