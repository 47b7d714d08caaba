package token

import (
	"crypto/subtle"
	"fmt"
	"strings"
)

// redacted is all that a Secret ever shows of itself.
const redacted = "[secret]"

// A Secret is text that must not be seen: a token, a client secret, a private
// key. No formatting verb, logger or encoder prints it. Only Reveal returns the
// text, and docs/security.md lists the files that call it.
//
// The text is behind a pointer because printers that use reflection ignore
// methods on unexported fields: they print an address instead.
type Secret struct{ text *string }

// NewSecret makes a Secret of text, the zero Secret of an empty one.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the text is empty.
func (s Secret) IsZero() bool { return s.text == nil || *s.text == "" }

// Equal compares two secrets in a time that depends only on their lengths.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o.Reveal())) == 1
}

// String and the methods below show that there is a secret, and nothing of it.
func (s Secret) String() string { return redacted }

// Format handles all verbs, %#v and those that do not apply too.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText handles JSON and other encoders, and loggers. Code that must write the
// text calls Reveal.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText reads a JSON string: reading a secret leaks nothing.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = NewSecret(string(b))
	return nil
}

// IsWord reports whether s is visible ASCII without spaces, as a header can hold it.
func (s Secret) IsWord() bool {
	return !s.IsZero() && !strings.ContainsFunc(s.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' })
}
