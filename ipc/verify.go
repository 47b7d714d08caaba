package ipc

import (
	"unicode/utf8"

	"tokend/providers/token"
)

// A Verification is the body of POST /v1/verify/NAME. It holds a secret in the
// open.
type Verification struct {
	Token  string `json:"token"`
	Remote bool   `json:"remote,omitempty"`
}

func newVerification(raw token.Secret, remote bool) (Verification, error) {
	switch {
	case raw.IsZero():
		return Verification{}, invalid("token", "token is empty")
	case !utf8.ValidString(raw.Reveal()): // JSON would carry another one
		return Verification{}, invalid("token", "the token is not UTF-8")
	}
	return Verification{raw.Reveal(), remote}, nil
}

// verdictAnswer is the answer of POST /v1/verify/NAME. That it says "valid",
// either way, is what makes it one.
type verdictAnswer struct {
	token.Verdict
	Valid *bool `json:"valid"`
}
