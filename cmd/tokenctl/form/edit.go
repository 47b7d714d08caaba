package form

import (
	"context"
	"errors"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// EditFlags defines the flags of edit that are about secrets.
func (s *Submission) EditFlags(f *cli.Flags) { s.secretFlags(f) }

// SubmitText hands tokend another text for the file of the profile of s.Env, and shows
// what changed. If it has the secret sent elsewhere, SubmitText asks for that again.
func (s *Submission) SubmitText(ctx context.Context, old token.ProfileText, text string) error {
	if text == old.Text {
		return s.Say("Nothing changed.")
	}
	var edited token.Edited
	send := func(d *ipc.Client, ctx context.Context, a token.CreateProfile) (token.Created, error) {
		var err error
		a = token.CreateProfile{Name: a.Name, Secrets: a.Secrets, CredentialExpires: a.CredentialExpires}
		edited, err = d.Edit(ctx, token.EditProfile{CreateProfile: a, Text: text, Revision: old.Revision})
		return edited.Created, err
	}
	s.request.Name, s.request.Secrets = s.Profile, map[string]token.Secret{}
	if err := s.readFiles(); err != nil {
		return err
	}
	_, err := s.try(ctx, send)
	if e, ok := errors.AsType[*token.Error](err); ok && e.Topic == token.SecretAgain && len(s.files) == 0 {
		if _, failed := s.wantSecrets(ctx); failed == nil {
			s.Note(ui.Printable(e.Message) + ".")
			_, err = s.insist(ctx, send)
		}
	}
	switch {
	case err != nil:
		return err
	case s.json:
		return s.Out.AnswerJSON(edited)
	}
	return s.Out.Answer(renderEdited(edited, deletable(s.from), time.Now()))
}

// renderEdited shows what an edit changed.
func renderEdited(e token.Edited, files []string, now time.Time) string {
	name := ui.Printable(e.Profile.Name)
	text := "Changed in " + name + ":\n"
	if len(e.Changes) == 0 {
		text = "Changed in " + name + ": no setting, only comments or the layout.\n"
	}
	for _, c := range e.Changes {
		line := c.Setting + ": changed"
		if c.Old != nil || c.New != nil {
			line = c.Setting + ": " + settingOrNone(c.Old) + " -> " + settingOrNone(c.New)
		}
		text += ui.Wrap(ui.Printable(line), "  ")
	}
	if e.Checked {
		text += listed("Saved", e.Kept) + renderCheck(e.Created, now) + renderFiles(files, true, "")
	}
	for _, warning := range e.Profile.Warnings {
		text += ui.Wrap("Warning: "+ui.Printable(warning), "")
	}
	return text
}

func settingOrNone(v any) string {
	if v == nil {
		return "not set"
	}
	return ui.Setting(v)
}
