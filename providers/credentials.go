package providers

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tokend/providers/jose"
	"tokend/providers/token"
	"tokend/providers/token/erase"
)

// assertionSettings are those of every kind whose assertion is not fixed.
type assertionSettings struct {
	Passphrase secretField `toml:"passphrase" doc:"passphrase of the private key, if it is encrypted"`
	Algorithm  string      `toml:"algorithm" default:"RS256" doc:"signature: RS256, PS256, ES256 (or 384, 512), EdDSA or Ed25519"`
	KeyID      string      `toml:"key_id" doc:"kid in the assertion's header"`
	Lifetime   duration    `toml:"assertion_lifetime" default:"5m" doc:"how long an assertion is valid"`
	Backdate   duration    `toml:"backdate" default:"30s" doc:"how far iat is in the past, for clocks that differ"`
}

func (s assertionSettings) assertion(claims map[string]any) (jose.Assertion, error) {
	if err := jose.CheckAlgorithm(s.Algorithm); err != nil {
		return jose.Assertion{}, invalid("algorithm", "%v", err)
	}
	if s.Lifetime <= s.Backdate {
		return jose.Assertion{}, invalid("assertion_lifetime", "assertion_lifetime counts from the back-dated iat and must be longer than backdate")
	}
	header := map[string]any{}
	if s.KeyID != "" {
		header["kid"] = s.KeyID
	}
	return jose.Assertion{
		Algorithm: s.Algorithm, Header: header, Claims: claims,
		Start: "iat", Backdate: time.Duration(s.Backdate), Lifetime: time.Duration(s.Lifetime), Unique: true,
	}, nil
}

// sign makes an assertion with the profile's key.
func (e Env) sign(ctx context.Context, a jose.Assertion, extra map[string]any) (signed token.Secret, err error) {
	err = e.withKey(ctx, func(key crypto.Signer) error {
		claims := a.ClaimsAt(time.Now(), extra)
		show := func(value any) string { return token.Printable(fmt.Sprint(value), maxQuote) }
		token.TraceOf(ctx).Add("assertion", "signed by %s: %s", a.Algorithm, listed(claims, shownClaims, nil, show))
		signed, err = a.Sign(key, claims)
		return err
	})
	return signed, err
}

// withKey reads the profile's private key, calls use with it, and leaves none of
// it in memory.
func (e Env) withKey(ctx context.Context, use func(crypto.Signer) error) error {
	return erase.Do(func() error {
		kept, err := e.Secret(ctx, "private_key")
		if err != nil {
			return err
		}
		key, err := jose.ParseKey(kept.Reveal())
		if err != nil {
			return &token.Error{Code: token.ErrInvalid, Topic: "kept-key", Field: "private_key",
				Message: fmt.Sprintf("the private_key in the keystore is %v", err)}
		}
		return use(key)
	})
}

// prepareClientSecret removes the newline that ends a file from client_secret.
// Other characters of that kind are a sign that something else was copied.
func prepareClientSecret(a *token.CreateProfile) error {
	text := strings.TrimRight(a.Secrets["client_secret"].Reveal(), "\r\n")
	switch {
	case text == "":
		return invalid("client_secret", "client_secret is missing or empty")
	case strings.Contains(text, "-----BEGIN "):
		return invalid("client_secret", "client_secret is a PEM file; use the text of a secret")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }): // a space is allowed (RFC 6749 §A.2)
		return invalid("client_secret", "client_secret contains a line break or an invisible character")
	case strings.TrimSpace(text) != text || len(strings.Trim(text, `"'`)) < len(text)-1:
		return invalid("client_secret", "client_secret begins or ends with a space, or is in quotes, probably from copying")
	}
	a.Secrets["client_secret"] = token.NewSecret(text)
	return nil
}

// prepareKey turns the private_key that was handed in into what is kept, and
// checks that it goes with the algorithm, or with that of the settings if they have one.
func prepareKey(a *token.CreateProfile, algorithm string) error {
	given, ok := a.Secrets["private_key"]
	if !ok {
		return invalid("private_key", "private_key is missing")
	}
	algorithm = cmp.Or(token.Settings(a.Settings).Text("algorithm"), algorithm)
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

// decryptKeys decrypts the private key among the secrets, in a file of its own or
// with its certificate, and removes its passphrase.
func decryptKeys(secrets map[string]token.Secret) error {
	passphrase := strings.TrimRight(secrets["passphrase"].Reveal(), "\r\n")
	delete(secrets, "passphrase")
	for _, field := range []string{"private_key", "certificate"} {
		given, ok := secrets[field]
		if !ok {
			continue
		}
		text, err := jose.Decrypt(given.Reveal(), passphrase)
		switch {
		case errors.Is(err, jose.ErrPassword):
			return invalid("passphrase", "passphrase is missing, or not that of the encrypted key in %s", field)
		case err != nil:
			return invalid(field, "%s is %v", field, err)
		}
		secrets[field] = token.NewSecret(text)
	}
	return nil
}

// handedIn lists which of the named secrets were handed in, in their order.
func handedIn(a *token.CreateProfile, names ...string) string {
	names = slices.DeleteFunc(names, func(name string) bool { return a.Secrets[name].IsZero() })
	return strings.Join(names, " ")
}
