package providers

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"tokend/providers/jose"
	"tokend/providers/token"
)

// prepareClientSecret removes the newline that ends a file from client_secret.
// Other characters of that kind are a sign that something else was copied.
func prepareClientSecret(a *token.CreateProfile) error {
	given, ok := a.Secrets["client_secret"]
	if !ok {
		return invalid("client_secret", "client_secret is missing")
	}
	text := strings.TrimRight(given.Reveal(), "\r\n")
	switch {
	case text == "":
		return invalid("client_secret", "client_secret is empty")
	case strings.Contains(text, "-----BEGIN "):
		return invalid("client_secret", "client_secret is a PEM file; use the text of a secret")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }): // a space is allowed (RFC 6749 §A.2)
		return invalid("client_secret", "client_secret contains a line break or an invisible character")
	case strings.TrimSpace(text) != text:
		return invalid("client_secret", "client_secret begins or ends with a space, which is a sign of a slip in copying")
	}
	a.Secrets["client_secret"] = token.NewSecret(text)
	return nil
}

// prepareKey turns the private_key that was handed in into what is kept, and
// checks that it goes with the algorithm.
func prepareKey(a *token.CreateProfile, algorithm string) error {
	given, ok := a.Secrets["private_key"]
	if !ok {
		return invalid("private_key", "private_key is missing")
	}
	if err := jose.CheckAlgorithm(algorithm); err != nil {
		return invalid("algorithm", "%v", err)
	}
	key, err := jose.ParseKey(given.Reveal())
	if err == nil {
		err = jose.CheckKey(algorithm, key)
	}
	if err != nil {
		return invalid("private_key", "private_key is %v", err)
	}
	a.Secrets["private_key"], err = jose.MarshalKey(key)
	return err
}

// handedIn lists which of the named secrets were handed in, in their order.
func handedIn(a *token.CreateProfile, names ...string) string {
	names = slices.DeleteFunc(names, func(name string) bool { return a.Secrets[name].IsZero() })
	return strings.Join(names, " ")
}
