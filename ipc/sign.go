package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"tokend/providers/token"
)

// CheckRequest refuses a request for a signature that cannot cross the socket.
// Which URLs can be signed is for the provider to say.
func CheckRequest(r token.Request) error {
	switch {
	case r.URL == "":
		return invalid("url", "url is missing or empty")
	case !utf8.ValidString(r.URL): // JSON would carry another one
		return invalid("url", "the URL is not UTF-8")
	}
	return nil
}

// signedAnswer is the answer of POST /v1/sign/NAME.
type signedAnswer struct {
	URL      string      `json:"url"`
	Headers  []fieldLine `json:"headers"`
	IssuedAt time.Time   `json:"issued_at,omitzero"`
	Warning  string      `json:"warning,omitempty"`
}

type fieldLine struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// EncodeSigned writes the answer to a request for a signature. It reveals the
// headers' values, and refuses what would not be one header line each.
func EncodeSigned(s token.Signed) ([]byte, error) {
	if err := checkSigned(s); err != nil {
		return nil, err
	}
	answer := signedAnswer{URL: s.URL, IssuedAt: s.Issued.UTC().Truncate(time.Second), Warning: s.Warning}
	for _, h := range s.Headers {
		answer.Headers = append(answer.Headers, fieldLine{h.Name, h.Value.Reveal()})
	}
	return PlainJSON(answer)
}

func (a signedAnswer) signed() (token.Signed, error) {
	s := token.Signed{URL: a.URL, Issued: a.IssuedAt, Warning: a.Warning}
	for _, h := range a.Headers {
		s.Headers = append(s.Headers, token.Header{Name: h.Name, Value: token.NewSecret(h.Value)})
	}
	return s, checkSigned(s)
}

// checkSigned refuses a signed request without headers, and headers that are
// not a field name and a value of visible ASCII (RFC 9110 §5): they must not
// end a line wherever they are written.
func checkSigned(s token.Signed) error {
	if s.URL == "" || len(s.Headers) == 0 {
		return errors.New("a signed request without URL or headers")
	}
	for _, h := range s.Headers {
		if h.Name == "" || strings.Trim(h.Name, fieldNameChars) != "" {
			return errors.New("a signed request with a header that has no valid name")
		}
		if !IsVisible(h.Value.Reveal()) {
			return fmt.Errorf("a signed request with no valid value for the header %s", h.Name)
		}
	}
	return nil
}

// fieldNameChars are those of a header's name.
const fieldNameChars = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// IsVisible reports whether text can be a header's value as it is: visible ASCII
// with single spaces or more between, none at the ends.
func IsVisible(s string) bool {
	invisible := func(r rune) bool { return r < ' ' || r > '~' }
	return s != "" && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, invisible)
}

// PlainJSON is v as JSON with &, < and > as they are, for programs that read it
// without a JSON parser's help.
func PlainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// CheckVerification refuses a request to verify nothing, which is a variable that
// was not set, and a token that cannot cross the socket.
func CheckVerification(p token.Presented) error {
	switch {
	case p.Token.IsZero():
		return invalid("token", "token is missing or empty")
	case !utf8.ValidString(p.Token.Reveal() + p.Consent.Reveal()): // JSON would carry another one
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
