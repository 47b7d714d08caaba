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

// CheckVerification refuses a request to verify nothing, which is a variable that
// was not set, and a token that cannot cross the socket.
func CheckVerification(v Verification) error {
	switch {
	case v.Token == "":
		return invalid("token", "token is missing or empty")
	case !utf8.ValidString(v.Token): // JSON would carry another one
		return invalid("token", "the token is not UTF-8")
	}
	return nil
}

// verdictAnswer is the answer of POST /v1/verify/NAME. That it says "valid",
// either way, is what makes it one.
type verdictAnswer struct {
	token.Verdict
	Valid *bool `json:"valid"`
}
