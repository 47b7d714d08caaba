package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tokend/ipc"
	"tokend/providers/token"
)

// A format writes a profile's token for those who asked. These functions are
// where tokenctl reveals it.
type format func(profile string, t token.Token, now time.Time) ([]byte, error)

// formatNames are what -o takes, the default first.
var formatNames = [...]string{"token", "header", "json", "env", "curl"}

func formatNamed(name string) (format, error) {
	switch name {
	case "token":
		return formatToken, nil
	case "header":
		return formatHeader, nil
	case "json":
		return formatJSON, nil
	case "env":
		return formatEnv, nil
	case "curl":
		return formatCurl, nil
	}
	return nil, usage("there is no format %q; the formats are %s", name, strings.Join(formatNames[:], ", "))
}

// formatToken is the token and a newline.
func formatToken(_ string, t token.Token, _ time.Time) ([]byte, error) {
	if err := checkText(t); err != nil {
		return nil, err
	}
	return []byte(t.Secret.Reveal() + "\n"), nil
}

// formatHeader is an HTTP header line (RFC 6750 §2.1).
func formatHeader(_ string, t token.Token, _ time.Time) ([]byte, error) {
	if err := checkBearer(t); err != nil {
		return nil, err
	}
	return []byte("Authorization: Bearer " + t.Secret.Reveal() + "\n"), nil
}

// formatJSON is the answer of GET /v1/token/NAME.
func formatJSON(profile string, t token.Token, now time.Time) ([]byte, error) {
	return append(plainJSON(ipc.AppendToken(nil, profile, t, now)), '\n'), nil
}

// formatEnv is shell assignments, in quotes that nothing in a token can end.
func formatEnv(_ string, t token.Token, _ time.Time) ([]byte, error) {
	if err := checkText(t); err != nil {
		return nil, err
	}
	lines := "ACCESS_TOKEN=" + shellQuote(t.Secret.Reveal()) + "\n"
	if !t.Expiry.IsZero() {
		lines += "ACCESS_TOKEN_EXPIRES_AT=" + shellQuote(t.Expiry.UTC().Format(time.RFC3339)) + "\n"
	}
	return []byte(lines), nil
}

// formatCurl is a line for curl -K, which all versions of curl read, and which
// curl drops when a redirect leads to another host.
func formatCurl(_ string, t token.Token, _ time.Time) ([]byte, error) {
	if err := checkBearer(t); err != nil {
		return nil, err
	}
	// Nothing that a bearer token can hold needs an escape within the quotes.
	return []byte(`header = "Authorization: Bearer ` + t.Secret.Reveal() + "\"\n"), nil
}

// shellQuote quotes s for sh: in single quotes only the single quote is
// special.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// checkText refuses what no access token may hold (RFC 6749 appendix A.12:
// printable ASCII), and what would break out of a line or act on a terminal.
func checkText(t token.Token) error {
	for _, c := range []byte(t.Secret.Reveal()) {
		if c < ' ' || c > '~' {
			return unfit("the token holds characters that no access token may (RFC 6749 A.12); only -o json can write it")
		}
	}
	return nil
}

// checkBearer refuses what cannot stand in an Authorization header: a token of
// another type, and one that is no b64token (RFC 6750 §2.1).
func checkBearer(t token.Token) error {
	if t.Type != "" && !strings.EqualFold(t.Type, "bearer") {
		return unfit("the token's type is %q and not Bearer; -o json tells all of it", t.Type)
	}
	text := strings.TrimRight(t.Secret.Reveal(), "=")
	if text == "" || strings.ContainsFunc(text, notB64Token) {
		return unfit("the token holds characters that a Bearer header cannot (RFC 6750 §2.1); -o token prints it as it is")
	}
	return nil
}

func notB64Token(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-._~+/", r)
}

func unfit(format string, args ...any) error {
	return &token.Error{Code: token.ErrInternal, Message: fmt.Sprintf(format, args...), Cause: errUnfit}
}

// errUnfit marks what tokenctl itself cannot write.
var errUnfit = errors.New("unfit for this format")

// indented is v as JSON for --json.
func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return plainJSON(b.Bytes()), err
}

// plainJSON escapes the characters that JSON allows in strings and a terminal
// obeys: C1 controls, bidirectional overrides.
func plainJSON(b []byte) []byte {
	if !bytes.ContainsFunc(b, unseen) {
		return b
	}
	var out []byte
	for _, r := range string(b) {
		switch {
		case !unseen(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// unseen tells of characters that a terminal may obey in place of showing
// them. Line ends are JSON's own: within strings they are escaped already.
func unseen(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// A signFormat writes a signed request's headers.
type signFormat func(token.Signed) ([]byte, error)

// signFormats are what sign -o takes, the default first.
var signFormats = [...]string{"lines", "json", "curl"}

func signFormatNamed(name string) (signFormat, error) {
	switch name {
	case "lines":
		return formatLines, nil
	case "json":
		return formatSigned, nil
	case "curl":
		return formatSignedCurl, nil
	}
	return nil, usage("there is no format %q; the formats are %s", name, strings.Join(signFormats[:], ", "))
}

// formatLines is a line for each header. The client has made sure that each is
// one line of visible ASCII.
func formatLines(s token.Signed) ([]byte, error) {
	var b bytes.Buffer
	for _, h := range s.Headers {
		b.WriteString(h.Name + ": " + h.Value.Reveal() + "\n")
	}
	return b.Bytes(), nil
}

// formatSigned is the answer of POST /v1/sign/NAME.
func formatSigned(s token.Signed) ([]byte, error) {
	b, err := ipc.EncodeSigned(s)
	return append(plainJSON(b), '\n'), err
}

// formatSignedCurl is a file for curl -K. It has curl send the URL as it is,
// for no other one is signed: no globbing, no squashing of dot segments.
func formatSignedCurl(s token.Signed) ([]byte, error) {
	if strings.ContainsFunc(s.URL, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, unfit("the URL holds characters that do not belong in one; only -o json can write it")
	}
	var b bytes.Buffer
	b.WriteString("globoff\npath-as-is\nurl = " + curlQuote(s.URL) + "\n")
	for _, h := range s.Headers {
		b.WriteString("header = " + curlQuote(h.Name+": "+h.Value.Reveal()) + "\n")
	}
	return b.Bytes(), nil
}

// curlQuote quotes visible ASCII for a file of curl -K: in double quotes only
// they and the backslash are special.
func curlQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
