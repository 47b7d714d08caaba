package main

import (
	"slices"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
)

const rotateHelp = `  tokenctl rotate clms --service-key new-key.json
  tokenctl rotate azure --client-secret-file - --secret-expires 2027-01-31
  tokenctl rotate azure             asks for the new secret

Gives a profile a new key or secret. A token is obtained with it before the old
one is dropped; if that fails, the old one stays in use. The settings stay as
they are in the profile's file.`

func (a *app) rotateCommand() *cobra.Command {
	var cr credential
	c := &cobra.Command{
		Use:               "rotate NAME",
		Short:             "Give a profile a new key or secret",
		Long:              rotateHelp,
		Args:              a.oneProfile,
		ValidArgsFunction: a.completeProfiles,
		RunE:              func(c *cobra.Command, args []string) error { return a.rotate(c, args[0], cr) },
	}
	c.Flags().SortFlags = false
	cr.flags(c.Flags())
	return c
}

func (a *app) rotate(c *cobra.Command, name string, cr credential) error {
	p, err := a.providerOf(c, name)
	if err != nil {
		return err
	}
	secrets, from, err := a.read(cr)
	if err != nil {
		return err
	}
	if err := checkSecrets(p, secrets); err != nil {
		return err
	}
	if t, ok := a.terminal(); ok {
		asked, err := a.askSecrets(t, p, secrets)
		if err != nil {
			return err
		}
		from = append(from, asked...)
	}
	if len(secrets) == 0 {
		return usage("missing: %s", secretFlags(p))
	}
	return a.hand(c, (*ipc.Client).Rotate, cr, from, token.Addition{Name: name, Secrets: secrets})
}

// providerOf describes the provider of a profile.
func (a *app) providerOf(c *cobra.Command, name string) (token.Provider, error) {
	status, err := a.profileStatus(c, name)
	if err != nil {
		return token.Provider{}, err
	}
	kinds, err := a.providers(c)
	if err != nil {
		return token.Provider{}, err
	}
	i := slices.IndexFunc(kinds, func(p token.Provider) bool { return p.Name == status.Provider })
	if i < 0 {
		return token.Provider{}, usage("tokend does not know the provider %q of this profile", status.Provider)
	}
	return kinds[i], nil
}
