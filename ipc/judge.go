package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"tokend/providers/token"
)

// MaxURL bounds a URL that is to be signed, in bytes.
const MaxURL = 64 << 10

func encodeRequest(r token.Request) ([]byte, error) {
	if err := checkRequest(r); err != nil {
		return nil, err
	}
	return plainJSON(r)
}

// DecodeRequest reads the body of POST /v1/sign/NAME strictly. Which URLs can
// be signed is for the provider to say.
func DecodeRequest(body []byte) (token.Request, error) {
	var r token.Request
	if err := decodeStrict(body, &r); err != nil {
		return token.Request{}, err
	}
	return r, checkRequest(r)
}

func checkRequest(r token.Request) error {
	switch {
	case r.URL == "":
		return invalid("url", "url is missing or empty")
	case len(r.URL) > MaxURL:
		return invalid("url", "the URL has more than %d bytes", MaxURL)
	case !utf8.ValidString(r.URL): // JSON would carry another one
		return invalid("url", "the URL is not UTF-8")
	}
	return nil
}

// signedAnswer is the answer of POST /v1/sign/NAME.
type signedAnswer struct {
	URL      string         `json:"url"`
	Headers  []headerAnswer `json:"headers"`
	IssuedAt time.Time      `json:"issued_at,omitzero"`
	Warning  string         `json:"warning,omitempty"`
}

type headerAnswer struct {
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
		answer.Headers = append(answer.Headers, headerAnswer{h.Name, h.Value.Reveal()})
	}
	return plainJSON(answer)
}

func (a signedAnswer) signed() token.Signed {
	s := token.Signed{URL: a.URL, Issued: a.IssuedAt, Warning: a.Warning}
	for _, h := range a.Headers {
		s.Headers = append(s.Headers, token.Header{Name: h.Name, Value: token.NewSecret(h.Value)})
	}
	return s
}

// checkSigned refuses a signed request without headers, and headers that are
// not a field name and a value of visible ASCII (RFC 9110 §5): they must not
// end a line wherever they are written.
func checkSigned(s token.Signed) error {
	if s.URL == "" || len(s.Headers) == 0 {
		return errors.New("a signed request without URL or headers")
	}
	for _, h := range s.Headers {
		if !isFieldName(h.Name) {
			return errors.New("a signed request with a header that has no valid name")
		}
		if h.Value.IsZero() || !isVisible(h.Value.Reveal()) {
			return fmt.Errorf("a signed request with no valid value for the header %s", h.Name)
		}
	}
	return nil
}

func isFieldName(s string) bool {
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && !bytes.ContainsRune([]byte("!#$%&'*+-.^_`|~"), rune(c)) {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isVisible tells of text that can be a header's value as it is: visible ASCII
// with single spaces or more between, none at the ends.
func isVisible(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s != "" && s[0] != ' ' && s[len(s)-1] != ' '
}

// A verification is the body of POST /v1/verify/NAME.
type verification struct {
	Token  token.Secret `json:"token"`
	Remote bool         `json:"remote"`
}

func encodeVerification(raw token.Secret, remote bool) ([]byte, error) {
	switch {
	case raw.IsZero():
		return nil, invalid("token", "token is empty")
	case !utf8.ValidString(raw.Reveal()): // JSON would carry another one
		return nil, invalid("token", "the token is not UTF-8")
	}
	return plainJSON(struct {
		Token  string `json:"token"`
		Remote bool   `json:"remote,omitempty"`
	}{raw.Reveal(), remote})
}

// DecodeVerification reads the body of POST /v1/verify/NAME strictly. An empty
// token is refused: it is a variable that was not set.
func DecodeVerification(body []byte) (raw token.Secret, remote bool, err error) {
	var in verification
	if err := decodeStrict(body, &in); err != nil {
		return token.Secret{}, false, err
	}
	if in.Token.IsZero() {
		return token.Secret{}, false, invalid("token", "token is missing or empty")
	}
	return in.Token, in.Remote, nil
}

// verdictAnswer is the answer of POST /v1/verify/NAME. That it says "valid",
// either way, is what makes it one.
type verdictAnswer struct {
	token.Verdict
	Valid *bool `json:"valid"`
}

// plainJSON is v as JSON with &, < and > as they are, for those who read the
// answer without a JSON parser's help.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
