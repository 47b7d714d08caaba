package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const rotateHelp = `  tokenctl rotate clms --service-key new-key.json
  tokenctl rotate azure --client-secret-file - --secret-expires 2027-01-31
  tokenctl rotate azure             asks for the new secret

Gives a profile a new key or secret. A token is obtained with it before the old
one is dropped; if that fails, the old one stays in use. The settings stay as
they are in the profile's file.

Where the service must know the public key (datarock), tokend makes the new key
and keeps the old one in use until you say that the new one is registered:
  tokenctl rotate rock              prints the new public key
  tokenctl rotate rock --registered puts the new key in use, drops the old one
  tokenctl rotate rock --abandon    drops the new key`

// A turn is what rotate was asked for.
type turn struct {
	credential          credential
	registered, abandon bool
}

func (a *app) rotate(c *cli.Call, name string, w turn) error {
	step, err := w.step()
	if err != nil {
		return err
	}
	if step != "" {
		return a.hand(c, (*ipc.Client).Rotate, toldStep(step), w.credential, handing{addition: token.CreateProfile{Name: name, Step: step}})
	}
	p, err := a.providerOf(c, name)
	if err != nil {
		return err
	}
	secrets, from, err := a.newSecrets(p, w.credential)
	if err != nil {
		return err
	}
	return a.hand(c, (*ipc.Client).Rotate, toldRotated, w.credential, handing{p, from, token.CreateProfile{Name: name, Secrets: secrets}})
}

// step is the second step of a rotation, if that is what was asked for.
func (w turn) step() (string, error) {
	alone := len(w.credential.files) == 0 && !w.credential.noCheck && w.credential.expires.IsZero()
	switch {
	case w.registered && w.abandon:
		return "", cli.Usage("--registered and --abandon exclude each other")
	case (w.registered || w.abandon) && !alone:
		return "", cli.Usage("--registered and --abandon are about the key that waits, and take no other")
	case w.registered:
		return token.StepRegistered, nil
	case w.abandon:
		return token.StepAbandon, nil
	}
	return "", nil
}

// newSecrets reads or asks for what replaces the provider's secrets; none if
// tokend makes the new one.
func (a *app) newSecrets(p token.Provider, cr credential) (secrets map[string]token.Secret, from []keyFile, err error) {
	if len(secretChoices(p)) == 0 {
		return nil, nil, cli.Usage("a profile of %s has no key or secret", p.Name)
	}
	if secrets, from, err = a.read(p, cr); err != nil {
		return nil, nil, err
	}
	if err := checkSecrets(p, secrets); err != nil {
		return nil, nil, err
	}
	if t, ok := a.Terminal(); ok {
		asked, err := a.askSecrets(t, p, secrets)
		if err != nil {
			return nil, nil, err
		}
		from = append(from, asked...)
	}
	if len(secrets) == 0 && needsSecret(p) {
		return nil, nil, cli.Usage("missing: %s", secretFlags(p))
	}
	return secrets, from, nil
}

// toldRotated says what became of a rotation, or what is left to do if the new
// key waits.
func toldRotated(added token.Created, files []string, now time.Time) string {
	p := added.Profile
	key, waits := pendingKey(p)
	if !waits {
		return toldProfile(added, "has its new secret or key, untested", files, now)
	}
	name := ui.Printable(ui.Word(p.Name))
	var b strings.Builder
	fmt.Fprintf(&b, "The profile %s has a new key, which waits; the old one stays in use.\n", ui.Printable(p.Name))
	b.WriteString(toldKept(added))
	b.WriteString("Register this public key in the service's settings, in place of the old one\n" +
		"(\"tokenctl public-key " + name + " --pending\" prints it again):\n" + key)
	b.WriteString("As soon as it is registered: tokenctl rotate " + name + " --registered\n" +
		"To drop it: tokenctl rotate " + name + " --abandon\n")
	return b.String()
}

// toldStep says what became of the second step of a rotation.
func toldStep(step string) telling {
	return func(added token.Created, _ []string, _ time.Time) string {
		name := ui.Printable(added.Profile.Name)
		if step == token.StepAbandon {
			return "The new key of " + name + " is dropped; the old one stays in use.\n"
		}
		return "The new key of " + name + " is in use; the old one is dropped.\n" + toldKept(added)
	}
}

// providerOf describes the provider of a profile.
func (a *app) providerOf(c *cli.Call, name string) (token.Provider, error) {
	status, err := a.ProfileStatus(a.ctx, name)
	if err != nil {
		return token.Provider{}, err
	}
	kinds, err := a.providers(c)
	if err != nil {
		return token.Provider{}, err
	}
	i := slices.IndexFunc(kinds, func(p token.Provider) bool { return p.Name == status.Provider })
	if i < 0 {
		return token.Provider{}, cli.Usage("tokend does not know the provider %q of this profile", status.Provider)
	}
	return kinds[i], nil
}
