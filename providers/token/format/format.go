// Package format writes tokens in the forms that programs read.
package format

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokend/providers/token"
)

// A Format writes a token. Its errors wrap ErrUnfit: the token cannot be written
// in this form.
type Format func(g token.Grant, now time.Time) ([]byte, error)

// Names are the names of the formats, the default first.
var Names = [...]string{"token", "header", "json", "env", "curl", "netrc"}

// Named returns the format of a name, nil if there is none.
func Named(name string) Format {
	return map[string]Format{"token": Token, "header": HeaderLine, "json": JSON, "env": Env, "curl": Curl, "netrc": Netrc}[name]
}

// ErrUnfit is the Cause of an error for a token that a format cannot write.
var ErrUnfit = errors.New("unfit for this format")

// Token writes the token and a newline.
func Token(g token.Grant, _ time.Time) ([]byte, error) {
	if err := cmp.Or(checkText(g), checkSecond(g)); err != nil {
		return nil, err
	}
	return []byte(g.Secret.Reveal() + "\n"), nil
}

// perHeader writes a line for each header that a request needs.
func perHeader(g token.Grant, line func(header string) string) ([]byte, error) {
	name, value, err := Header(g)
	if err != nil {
		return nil, err
	}
	text := line(name + ": " + value)
	if g.Second.Name != "" {
		text += line(g.Second.Name + ": " + g.Second.Value.Reveal())
	}
	return []byte(text), nil
}

// Header returns the header that presents the token as its profile says, by
// default Authorization: Bearer (RFC 6750 §2.1).
func Header(g token.Grant) (name, value string, err error) {
	if user, ok := g.Present.User(); ok {
		if err := checkText(g); err != nil {
			return "", "", err
		}
		return "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+g.Secret.Reveal())), nil
	}
	if name, ok := g.Present.Header(); ok {
		return name, g.Secret.Reveal(), checkText(g)
	}
	return "Authorization", "Bearer " + g.Secret.Reveal(), checkBearer(g)
}

// HeaderLine writes each header as a line.
func HeaderLine(g token.Grant, _ time.Time) ([]byte, error) {
	return perHeader(g, func(header string) string { return header + "\n" })
}

// JSON writes the answer of GET /v1/token/NAME, as a line.
func JSON(g token.Grant, now time.Time) ([]byte, error) {
	return append(AppendJSON(nil, g, now), '\n'), nil
}

// Env writes shell assignments, in quotes that nothing in a token can end.
func Env(g token.Grant, _ time.Time) ([]byte, error) {
	if err := checkText(g); err != nil {
		return nil, err
	}
	lines := "ACCESS_TOKEN=" + ShellQuote(g.Secret.Reveal()) + "\n"
	if !g.Expiry.IsZero() {
		lines += "ACCESS_TOKEN_EXPIRES_AT=" + ShellQuote(g.Expiry.UTC().Format(time.RFC3339)) + "\n"
	}
	if g.Second.Name != "" {
		lines += "SECOND_SECRET=" + ShellQuote(g.Second.Value.Reveal()) + "\n"
	}
	return []byte(lines), nil
}

// Curl writes a line for each header for curl -K, which all versions of curl read. curl drops an
// Authorization header, and no other, when a redirect leads to another host.
func Curl(g token.Grant, _ time.Time) ([]byte, error) {
	return perHeader(g, func(header string) string { return "header = " + CurlQuote(header) + "\n" })
}

// Netrc writes a netrc line for programs that know only Basic authentication.
// The profile must name its user, and the caller a URL. A line is for all of a
// machine: it says neither scheme nor port nor path.
func Netrc(g token.Grant, _ time.Time) ([]byte, error) {
	user, ok := g.Present.User()
	if !ok {
		return nil, unfit(`a netrc file is for Basic authentication, and this profile names no user: set present = "basic:USER" in its file`)
	}
	u, err := url.Parse(g.Host)
	if err != nil || u.Hostname() == "" {
		return nil, unfit("a netrc line is for one machine: say which with --url")
	}
	if u.Scheme != "https" || u.Port() != "" && u.Port() != "443" || strings.Trim(u.Path, "/") != "" {
		return nil, unfit("a netrc line is for all of a machine, and would send the token past %s; use the format curl or header", g.Host)
	}
	// Whitespace ends a field, and no quoting is understood everywhere.
	if err := cmp.Or(checkText(g), checkSecond(g)); err != nil {
		return nil, err
	}
	if strings.ContainsAny(user+g.Secret.Reveal(), " \"\\#") {
		return nil, unfit("the user or the token contains characters that a netrc line cannot")
	}
	return []byte("machine " + u.Hostname() + " login " + user + " password " + g.Secret.Reveal() + "\n"), nil
}

// ShellQuote quotes s for sh: in single quotes only the single quote is
// special.
func ShellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// CurlQuote quotes visible ASCII for a file of curl -K: in double quotes only
// they and the backslash are special.
func CurlQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// checkText refuses a token with characters that RFC 6749 appendix A.12 does not
// allow (all but printable ASCII): they could break out of a line or act on a
// terminal.
func checkText(g token.Grant) error {
	if strings.ContainsFunc(g.Secret.Reveal(), func(r rune) bool { return r < ' ' || r > '~' }) {
		return unfit("the token contains characters that RFC 6749 A.12 does not allow; only -o json can write it")
	}
	return nil
}

// checkSecond refuses a second header, for formats that hold one secret.
func checkSecond(g token.Grant) error {
	if g.Second.Name == "" {
		return nil
	}
	return unfit("this format cannot hold the second header; -o header, curl, env and json can")
}

// checkBearer refuses a token that an Authorization header cannot hold: one of
// another type, or one that is not a b64token (RFC 6750 §2.1).
func checkBearer(g token.Grant) error {
	if g.Type != "" && !strings.EqualFold(g.Type, "bearer") {
		return unfit("the token's type is %q, not Bearer; -o json writes all of it", g.Type)
	}
	const b64token = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
	text := strings.TrimRight(g.Secret.Reveal(), "=")
	if text == "" || strings.Trim(text, b64token) != "" {
		return unfit("the token contains characters that a Bearer header cannot (RFC 6750 §2.1); -o token prints it as it is")
	}
	return nil
}

func unfit(format string, args ...any) error {
	return &token.Error{Code: token.ErrInternal, Message: fmt.Sprintf(format, args...), Cause: ErrUnfit}
}

// AppendJSON appends the answer to a request for a token to b: the members of
// RFC 6749 §5.1 and tokend's own (docs/protocol.md).
func AppendJSON(b []byte, g token.Grant, now time.Time) []byte {
	text := g.Secret.Reveal()
	const others = 256 // the other members, usually
	b = append(slices.Grow(b, len(text)+len(g.Scope)+others), `{"access_token":`...)
	b = AppendString(b, text)
	b = append(b, `,"token_type":`...)
	b = AppendString(b, g.Type)
	b = AppendMember(b, `,"scope":`, g.Scope)
	if !g.Expiry.IsZero() {
		b = append(b, `,"expires_in":`...)
		b = strconv.AppendInt(b, max(0, int64(g.Expiry.Sub(now)/time.Second)), 10)
	}
	b = appendTime(b, `,"expires_at":`, g.Expiry)
	b = appendTime(b, `,"issued_at":`, g.Issued)
	b = appendTime(b, `,"renew_at":`, g.RenewAt)
	b = AppendMember(b, `,"present":`, string(g.Present))
	b = AppendMember(b, `,"host":`, g.Host)
	b = AppendMember(b, `,"second_header":`, g.Second.Name)
	b = AppendMember(b, `,"second_secret":`, g.Second.Value.Reveal())
	b = AppendMember(b, `,"warning":`, g.Warning)
	profile, resource, _ := strings.Cut(g.Profile, "/")
	b = append(b, `,"profile":`...)
	b = AppendMember(AppendString(b, profile), `,"resource":`, resource)
	return append(b, '}')
}

// appendTime writes whole seconds, which every parser of RFC 3339 reads. Cutting
// the fraction makes an expiry earlier, never later.
func appendTime(b []byte, member string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(append(b, member...), '"')
	return append(t.UTC().AppendFormat(b, time.RFC3339), '"')
}

// AppendMember appends a member of an object to b, unless s is empty.
func AppendMember(b []byte, member, s string) []byte {
	if s == "" {
		return b
	}
	return AppendString(append(b, member...), s)
}

// AppendString appends s to b as a string of JSON.
func AppendString(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always has a JSON form
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
