package providers

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"tokend/providers/token"
)

// prepareClientSecret cleans the client_secret that was handed in: a file ends
// with a newline that is no part of it. Anything else of the kind is a sign
// that something else was copied.
func prepareClientSecret(a *token.CreateProfile) error {
	given, ok := a.Secrets["client_secret"]
	if !ok {
		return invalid("client_secret", "client_secret is missing")
	}
	text := strings.TrimRight(given.Reveal(), "\r\n")
	switch {
	case text == "":
		return invalid("client_secret", "client_secret is empty")
	case !utf8.ValidString(text):
		return invalid("client_secret", "client_secret is no text")
	case strings.Contains(text, "-----BEGIN "):
		return invalid("client_secret", "client_secret is a PEM file; a secret's text is needed")
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }):
		return invalid("client_secret", "client_secret has a space, a line break or an invisible character in it")
	}
	a.Secrets["client_secret"] = token.NewSecret(text)
	return nil
}

// oneOf finds which of the named secrets was handed in; it must be exactly one.
func oneOf(a *token.CreateProfile, names ...string) (string, error) {
	found := ""
	for _, name := range names {
		if _, ok := a.Secrets[name]; !ok {
			continue
		}
		if found != "" {
			return "", invalid(name, "%s and %s are both given; one of them is enough", found, name)
		}
		found = name
	}
	if found == "" {
		return "", invalid(names[0], "one of these is needed: %s", strings.Join(names, ", "))
	}
	return found, nil
}

// said is a string setting of an addition, or what holds where it is not said.
func said(a *token.CreateProfile, name, otherwise string) string {
	if s, ok := a.Settings[name].(string); ok {
		return s
	}
	return otherwise
}
