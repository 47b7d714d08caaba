package form

import (
	"cmp"
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

// A RotateRequest is what the command line says about a new credential.
type RotateRequest struct {
	Credentials
	registered, abandon bool
}

// Flags defines the flags of rotate.
func (r *RotateRequest) Flags(f *cli.Flags) {
	f.BoolVar(&r.registered, "registered", false, "the new public key is registered: use the new key")
	f.BoolVar(&r.abandon, "abandon", false, "drop the new key that is not registered yet")
	r.Credentials.Flags(f)
}

// Rotate gives a profile a new key or secret.
func Rotate(ctx context.Context, e *ui.Env, name string, r RotateRequest) error {
	step, err := r.step()
	if err != nil {
		return err
	}
	s := newSubmission(e, token.Provider{}, name, r.Credentials)
	s.send, s.render = (*ipc.Client).Rotate, renderRotated
	if step != "" {
		s.request.Step = step
		s.render = func(created token.Created, _ []string, _ time.Time) string { return renderStep(step, created) }
		return s.submit(ctx)
	}
	if s.provider, err = providerOf(ctx, e, name); err != nil {
		return err
	}
	if len(secretChoices(s.provider)) == 0 {
		return cli.Usage("a profile of %s has no key or secret", s.provider.Name)
	}
	if err := s.readFiles(r.files); err != nil {
		return err
	}
	if _, second := s.request.Secrets[secondSecret.Name]; !second || len(s.request.Secrets) > 1 { // only that is new
		err = s.complete()
	}
	if err != nil {
		return err
	}
	return s.submit(ctx)
}

// step is the second step of a rotation, if the flags ask for one.
func (r RotateRequest) step() (string, error) {
	switch {
	case !r.registered && !r.abandon:
		return "", nil
	case r.registered && r.abandon:
		return "", cli.Usage("--registered and --abandon exclude each other")
	case len(r.files) > 0 || r.noCheck || !r.expires.IsZero():
		return "", cli.Usage("--registered and --abandon are about the new key that tokend has already; give no other with them")
	case r.registered:
		return token.StepRegistered, nil
	}
	return token.StepAbandon, nil
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
		listed("Saved", created.Kept) + renderPublicKey(name+" --pending", key, "in place of the old one") +
		"As soon as it is registered: tokenctl rotate " + name + " --registered\n" +
		"To drop it: tokenctl rotate " + name + " --abandon\n"
}

// renderStep says what came of the second step of a rotation.
func renderStep(step string, created token.Created) string {
	name := ui.Printable(created.Profile.Name)
	if step == token.StepAbandon {
		return "The new key of " + name + " is dropped; the old one stays in use.\n"
	}
	return "The new key of " + name + " is in use; the old one is dropped.\n" + listed("Saved", created.Kept)
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

// providerOf describes the provider of a profile by its secrets: a new credential
// changes no settings.
func providerOf(ctx context.Context, e *ui.Env, name string) (p token.Provider, err error) {
	status, err := e.ProfileStatus(ctx, name)
	if err != nil {
		return p, err
	}
	providers, err := Providers(ctx, e)
	for _, p := range providers {
		if p.Name == status.Provider {
			p.Fields = slices.DeleteFunc(p.Fields, func(f token.Field) bool { return !f.Secret })
			return p, nil
		}
	}
	return p, cmp.Or(err, cli.Usage("tokend does not know the provider %q of this profile", status.Provider))
}
