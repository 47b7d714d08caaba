package form

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// RotateFlags defines the flags of rotate.
func (s *Submission) RotateFlags(f *cli.Flags) {
	f.BoolVar(&s.request.NoCheck, "no-check", false, "do not obtain a token to prove that it works")
	f.BoolVar(&s.registered, "registered", false, "the new public key is registered: use the new key")
	f.BoolVar(&s.abandon, "abandon", false, "drop the new key that is not registered yet")
	s.SecretFlags(f)
}

// RotateArguments takes the arguments of rotate: a profile, and perhaps a file with
// its new credential.
func (s *Submission) RotateArguments(ctx context.Context, c *cli.Call) error {
	if len(c.Args) == 2 {
		if s.file, c.Args = c.Args[1], c.Args[:1]; ui.IsKey(s.file) {
			return contentForName("FILE")
		}
	}
	return s.OneProfile(ctx, c)
}

// Rotate gives the profile of s.Env a new key or secret.
func (s *Submission) Rotate(ctx context.Context) error {
	s.request.Name = s.Profile
	if err := token.CheckName(s.Profile); err != nil {
		return err
	}
	if s.registered || s.abandon {
		return s.secondStep(ctx)
	}
	profile, err := s.wantSecrets(ctx)
	if err != nil {
		return err
	}
	if s.file != "" {
		found, err := s.find(nil)
		if err != nil {
			return err
		}
		if id, of := found.Settings["client_id"], profile.Settings["client_id"]; id != nil && of != nil && !strings.EqualFold(fmt.Sprint(id), fmt.Sprint(of)) {
			return cli.Usage("%s is for the client %v, but the profile is for %v; to make a profile from it: tokenctl add", s.file, id, of)
		}
		found.Settings = nil
		s.takeFind(found)
	} else if len(s.files) == 1 && s.files[token.SecondSecret] != "" {
		s.provider.Fields = nil // only that is new
	}
	return s.submit(ctx, (*ipc.Client).Rotate, renderRotated)
}

// wantSecrets makes the secrets of the profile what is asked for.
func (s *Submission) wantSecrets(ctx context.Context) (token.ProfileStatus, error) {
	profile, err := s.ProfileStatus(ctx, s.Profile)
	if err != nil {
		return profile, err
	}
	providers, err := ui.Ask(ctx, s.Env, (*ipc.Client).Providers)
	if err != nil {
		return profile, err
	}
	s.request.Provider = profile.Provider
	if s.provider, err = s.choose(providers); err != nil {
		return profile, err
	}
	s.provider.Fields = slices.DeleteFunc(s.provider.Fields, func(f token.Field) bool { return !f.Secret }) // settings stay
	if len(secretChoices(s.provider)) == 0 {
		return profile, cli.Usage("a profile of %s has no key or secret", s.provider.Name)
	}
	return profile, nil
}

// secondStep is the second step of a rotation.
func (s *Submission) secondStep(ctx context.Context) error {
	if s.registered && s.abandon || len(s.files) > 0 || s.file != "" || s.request.NoCheck || !s.request.CredentialExpires.IsZero() {
		return cli.Usage("use --registered or --abandon alone: both are about the new key that tokend already has")
	}
	s.request.Step = token.StepAbandon
	if s.registered {
		s.request.Step = token.StepRegistered
	}
	return s.submit(ctx, (*ipc.Client).Rotate, func(created token.Created, _ []string, _ time.Time) string {
		name := ui.Printable(created.Profile.Name)
		if s.abandon {
			return "The new key of " + name + " is dropped; the old one stays in use.\n"
		}
		return "The new key of " + name + " is in use; the old one is dropped.\n" + listed("Saved", created.Kept)
	})
}

// renderRotated says what came of a rotation, and what is left to do if the new
// key has to be registered.
func renderRotated(created token.Created, files []string, now time.Time) string {
	p := created.Profile
	if p.Pending == nil {
		return renderProfile(created, files, now)
	}
	name, key := ui.Printable(ui.Word(p.Name)), PublicKey(p.Pending.Settings)
	return fmt.Sprintf("The profile %s has a new key, which is not registered yet; the old one stays in use.\n", ui.Printable(p.Name)) +
		listed("Saved", created.Kept) + renderPublicKey(name+" --pending", key, "instead of the old one") +
		"As soon as it is registered: tokenctl rotate " + name + " --registered\n" +
		"To drop it: tokenctl rotate " + name + " --abandon\n"
}

// PublicKey is the public key among settings, line by line as PEM has it, safe
// for a terminal. It is empty if there is none.
func PublicKey(settings token.Settings) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(settings.Text("public_key"))) {
		b.WriteString(ui.Printable(strings.TrimRight(line, "\r\n")) + "\n")
	}
	return b.String()
}
