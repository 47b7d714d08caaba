package form

import (
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

// A submission is a profile, or a new credential of one, on its way to tokend.
type submission struct {
	*ui.Env
	provider token.Provider
	request  token.CreateProfile
	from     map[string]string // the files of the secrets, with their fields
	json     bool
	// send is the client's method, render says what came of it.
	send   func(*ipc.Client, context.Context, token.CreateProfile) (token.Created, error)
	render func(created token.Created, files []string, now time.Time) string
}

func newSubmission(e *ui.Env, p token.Provider, name string, c Credentials) *submission {
	return &submission{Env: e, provider: p, json: c.json, from: map[string]string{}, request: token.CreateProfile{
		Name: name, CredentialExpires: c.expires, NoCheck: c.noCheck, Secrets: map[string]token.Secret{},
	}}
}

// readFiles reads the secrets that flags name files for.
func (s *submission) readFiles(files map[string]string) (err error) {
	stdin := ""
	for _, field := range slices.Sorted(maps.Keys(files)) {
		in, file := inputFor(field), files[field]
		switch {
		case file != "-":
			s.from[file] = field
		case stdin != "":
			return cli.Usage("%s and %s cannot both be read from stdin", stdin, in.Label)
		default:
			stdin = in.Label
		}
		if s.request.Secrets[field], err = in.readSecret(s.Env, file); err != nil {
			return err
		}
	}
	return nil
}

// complete asks for what is missing, or refuses without a terminal.
func (s *submission) complete() error {
	if t, ok := s.Terminal(); ok {
		if err := s.askSettings(t); err != nil {
			return err
		}
		if err := s.askSecrets(t); err != nil {
			return err
		}
		if s.lacksSecond() {
			if err := s.askSecret(t, secondSecret, false); err != nil {
				return err
			}
		}
	}
	if missing := s.missing(); len(missing) > 0 {
		return cli.Usage("missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// maxRetries is how often the form asks again for an answer that tokend refuses.
const maxRetries = 3

// submit hands the request to tokend, and shows what came of it. It asks again
// for answers that are refused.
func (s *submission) submit(ctx context.Context) error {
	created, err := s.try(ctx)
	t, isTerminal := s.Terminal()
	for range maxRetries {
		var e *token.Error
		if !isTerminal || !errors.As(err, &e) || !slices.Contains(s.Answered, fieldOf(e)) {
			break
		}
		s.Note(ui.Printable(err.Error()))
		if err := s.askAgain(t, fieldOf(e)); err != nil {
			return err
		}
		created, err = s.try(ctx)
	}
	if isTerminal && len(s.Answered) > 0 && !s.request.NoCheck && errors.Is(err, token.ErrUnavailable) {
		s.Note(ui.Printable(err.Error()))
		if yes, failed := t.Confirm("Save it untested?"); failed == nil && yes {
			s.request.NoCheck = true
			created, err = s.try(ctx)
		}
	}
	switch {
	case err != nil:
		return err
	case s.json:
		return s.Out.AnswerJSON(created)
	}
	return s.Out.Answer(s.render(created, deletable(s.from), time.Now()))
}

// fieldOf is the field that an error is about.
func fieldOf(e *token.Error) string { return strings.TrimPrefix(e.Field, "settings.") }

func (s *submission) try(ctx context.Context) (created token.Created, err error) {
	what := "Obtaining a token to prove that it works"
	if s.request.NoCheck {
		what = "Saving the secret"
	}
	err = s.AskFor(ctx, what, func(ctx context.Context, d *ipc.Client) error {
		created, err = s.send(d, ctx, s.request)
		return err
	})
	return created, err
}

// askAgain asks for one field once more.
func (s *submission) askAgain(t ui.Terminal, field string) (err error) {
	if field == nameField {
		s.request.Name, err = t.Ask(nameQuestion, "")
		s.Profile = s.request.Name
		return err
	}
	for _, f := range s.provider.Fields {
		switch {
		case f.Name != field:
		case f.Secret:
			delete(s.request.Secrets, field)
			maps.DeleteFunc(s.from, func(_, of string) bool { return of == field })
			return s.askSecret(t, f, isCompanion(s.provider, field))
		default:
			delete(s.request.Settings, field)
			return s.askSetting(t, f)
		}
	}
	return nil
}

// A profile's name is asked for like its fields.
const (
	nameField    = "name"
	nameQuestion = "Name for the profile"
)

// askSettings asks for the settings that are missing and have no default.
func (s *submission) askSettings(t ui.Terminal) error {
	for _, f := range s.provider.Fields {
		if _, given := s.request.Settings[f.Name]; given || !f.Required || f.Secret {
			continue
		}
		if err := s.askSetting(t, f); err != nil {
			return err
		}
	}
	return nil
}

func (s *submission) askSetting(t ui.Terminal, f token.Field) error {
	s.Answered = append(s.Answered, f.Name)
	t.Explain(f.Doc)
	for {
		value, err := t.Ask(f.Name, f.Default)
		if err != nil {
			return err
		}
		if err = addSetting(s.request.Settings, f, setting{f.Name, f.Name, value}); err == nil {
			return nil
		}
		t.Explain(err.Error())
	}
}

// askSecrets asks for a secret if none was given, and for what may belong to it.
func (s *submission) askSecrets(t ui.Terminal) error {
	if !s.lacksSecret() {
		return nil
	}
	choices := secretChoices(s.provider)
	chosen := choices[0]
	if len(choices) > 1 {
		var names, docs []string
		for _, f := range choices {
			names, docs = append(names, f.Name), append(docs, f.Doc)
		}
		name, err := t.Choose("Which of these do you have", names, docs, false)
		if err != nil {
			return err
		}
		chosen = choices[slices.Index(names, name)]
	}
	if err := s.askSecret(t, chosen, false); err != nil {
		return err
	}
	for _, f := range s.provider.Fields {
		if f.Secret && f.Name == companion(chosen.Name) {
			return s.askSecret(t, f, true)
		}
	}
	return nil
}

// askSecret asks for a secret itself, or for the file that it is in, in place of
// which it can be pasted.
func (s *submission) askSecret(t ui.Terminal, f token.Field, optional bool) error {
	s.Answered = append(s.Answered, f.Name)
	t.Explain(f.Doc)
	if isTyped(f.Name) {
		secret, err := t.AskSecret(f.Name, optional)
		if !secret.IsZero() {
			s.request.Secrets[f.Name] = secret
		}
		return err
	}
	for in := (Input{f.Name, f.Name}); ; {
		file, err := t.AskFile(f.Name+" file, or paste it", optional)
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

// companion is the field of what may be needed beside a secret, empty for most.
func companion(field string) string {
	switch field {
	case "certificate":
		return "private_key"
	case "pfx":
		return "pfx_password"
	}
	return ""
}

// isCompanion reports whether a field is needed only beside a secret of p.
func isCompanion(p token.Provider, field string) bool {
	return slices.ContainsFunc(p.Fields, func(f token.Field) bool { return companion(f.Name) == field })
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

// lacksSecret reports whether a secret must be handed in and was not.
func (s *submission) lacksSecret() bool {
	own := len(s.request.Secrets)
	if _, second := s.request.Secrets[secondSecret.Name]; second {
		own--
	}
	return own == 0 && needsSecret(s.provider)
}

// lacksSecond reports whether the value of the second header was not handed in.
func (s *submission) lacksSecond() bool {
	_, named := s.request.Settings["second_header"]
	return named && s.request.Secrets[secondSecret.Name].IsZero()
}

// secretFlags names the flags of which one is enough.
func secretFlags(p token.Provider) string {
	var flags []string
	for _, f := range secretChoices(p) {
		flags = append(flags, flagFor(f.Name)+" FILE")
	}
	return strings.Join(flags, " or ")
}
