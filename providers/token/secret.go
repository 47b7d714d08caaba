package token

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
)

// redacted is all that a Secret ever shows of itself.
const redacted = "[secret]"

// A Secret is text that must not be seen: a token, a client secret, a private
// key in DER form. No formatting verb, logger or encoder prints it; Reveal is
// the only way to its text, and docs/security.md lists who calls that.
//
// The text sits behind a pointer so that reflection-driven printers, which
// ignore methods on unexported fields, find an address and not the text.
type Secret struct{ text *string }

// NewSecret wraps text. The empty text makes the zero Secret.
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

// IsZero tells whether there is no text.
func (s Secret) IsZero() bool { return s.text == nil || *s.text == "" }

// Equal compares two secrets in a time that depends on their lengths alone.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o.Reveal())) == 1
}

// String, GoString, Format, MarshalText and MarshalJSON show that there is a
// secret and nothing of it.
func (s Secret) String() string { return redacted }

// GoString is String for %#v.
func (s Secret) GoString() string { return redacted }

// Format covers every verb, the ones that do not apply included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText covers the encoders that know no better, and text loggers.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON covers JSON encoders and loggers. Who must write the text says
// so with Reveal.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// UnmarshalJSON takes a JSON string: reading a secret is no leak.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a secret must be a JSON string")
	}
	*s = NewSecret(text)
	return nil
}
