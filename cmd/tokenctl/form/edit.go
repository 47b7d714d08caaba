package form

import (
	"cmp"
	"context"
	"errors"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// SubmitText hands tokend another text for the file of the profile of s.Env, and shows
// what changed. If the secret is sent elsewhere then, SubmitText asks for that again.
func (s *Submission) SubmitText(ctx context.Context, old token.ProfileText, text string) error {
	if text == old.Text {
		return s.Say("Nothing changed.")
	}
	s.request.Name, s.request.Text, s.request.Revision = s.Profile, text, old.Revision
	s.request.Secrets = map[string]token.Secret{}
	err := s.submit(ctx, (*ipc.Client).Edit, renderEdited)
	if e, ok := errors.AsType[*token.Error](err); ok && e.Topic == token.SecretAgain && len(s.files) == 0 {
		if _, failed := s.wantSecrets(ctx); failed == nil {
			s.Note(ui.Printable(e.Message) + ".")
			return s.submit(ctx, (*ipc.Client).Edit, renderEdited)
		}
	}
	return err
}

// renderEdited shows what an edit changed.
func renderEdited(edited token.Created, files []string, now time.Time) string {
	text := "Changed in " + ui.Printable(edited.Profile.Name) + ":\n"
	if len(edited.Changes) == 0 {
		text += "  comments or the layout, no setting\n"
	}
	for _, c := range edited.Changes {
		line := c.Setting + ": changed"
		if c.Old != nil || c.New != nil {
			line = c.Setting + ": " + cmp.Or(ui.Setting(c.Old), "not set") + " -> " + cmp.Or(ui.Setting(c.New), "not set")
		}
		text += ui.Wrap(ui.Printable(line), "  ")
	}
	if edited.Checked {
		text += renderCheck(edited, now) + renderFiles(files, true, "")
	}
	return text
}
