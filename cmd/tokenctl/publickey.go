package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tokend/providers/token"
)

const publicKeyHelp = `  tokenctl public-key rock
  tokenctl public-key rock --pending > new-key.pem

Prints the public key of a profile in PEM, as the service wants it registered:
that of the key in force, or with --pending that of the new key of a rotation,
which waits to be registered.`

func (a *app) publicKeyCommand() *cobra.Command {
	var pending bool
	c := &cobra.Command{
		Use:               "public-key NAME",
		Short:             "Print the public key to register with the service",
		Long:              publicKeyHelp,
		Args:              a.oneProfile,
		ValidArgsFunction: a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.profileStatus(c, args[0])
			if err != nil {
				return err
			}
			return a.publicKey(p, pending)
		},
	}
	c.Flags().BoolVar(&pending, "pending", false, "that of the new key, which waits to be registered")
	return c
}

func (a *app) publicKey(p token.ProfileStatus, pending bool) error {
	if !pending {
		key, ok := publicKeyIn(p.Settings)
		if !ok {
			return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("the profile %s (%s) has no public key to register", p.Name, p.Provider)}
		}
		if p.Pending != nil {
			a.note([]string{"This is the key in force. A new one waits to be registered: " + typed("tokenctl public-key", printable(word(p.Name)), "--pending")})
		}
		return a.out.answer([]byte(key))
	}
	key, ok := pendingKey(p)
	if !ok {
		return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("the profile %s has no new key that waits to be registered", p.Name)}
	}
	return a.out.answer([]byte(key))
}

// pendingKey is the public key that waits to be registered.
func pendingKey(p token.ProfileStatus) (string, bool) {
	if p.Pending == nil {
		return "", false
	}
	return publicKeyIn(p.Pending.Settings)
}

// publicKeyIn is the public key among settings, line by line as PEM has it,
// safe for a terminal.
func publicKeyIn(settings token.Settings) (string, bool) {
	text := strings.TrimSpace(settings.Text("public_key"))
	if text == "" {
		return "", false
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(printable(strings.TrimRight(line, "\r\n")) + "\n")
	}
	return b.String(), true
}
