// Package ipc is how tokenctl and other programs of this machine talk to
// tokend: where the socket is, who may be at either end of it, what crosses it
// (docs/protocol.md), and a client. tokenctl starts with every call, so the
// package stays small; the server's side is in ipcserver.
package ipc

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tokend/providers/token"
)

// The routes. A profile's name, escaped as a path segment, follows those that
// end in a slash.
const (
	// AnyTokenPath is for the profile that claims a URL, InvalidatePath for
	// whichever profile a token is of.
	AnyTokenPath   = "/v1/token"
	TokenPath      = AnyTokenPath + "/"
	InvalidatePath = "/v1/invalidate"
	ExchangePath   = "/v1/exchange/"
	ProfilesPath   = "/v1/profiles"
	ProfilePath    = ProfilesPath + "/"
	ProvidersPath  = "/v1/providers"
	StatusPath     = "/v1/status"
	ReloadPath     = "/v1/reload"
	KeystorePath   = "/v1/keystore"
	UnlockPath     = KeystorePath + "/unlock"
	MigratePath    = KeystorePath + "/migrate"
	DoctorPath     = "/v1/doctor"
	SignPath       = "/v1/sign/"
	VerifyPath     = "/v1/verify/"
	AuthorizePath  = "/v1/authorize/"
	EventsPath     = "/v1/events"
	MetricsPath    = "/metrics"

	// InvalidateSuffix and RotateSuffix follow the name.
	InvalidateSuffix = "/invalidate"
	RotateSuffix     = "/rotate"
)

// MaxBody bounds the body of a request, in bytes, and MaxAnswer that of an
// answer: a status tells of all profiles, of which there may be tens of
// thousands.
const (
	MaxBody   = 1 << 20
	MaxAnswer = 64 << 20
)

// HTTPStatus is the status that an error with this code is answered with.
func HTTPStatus(c token.Code) int {
	switch c {
	case token.ErrInvalid:
		return 400
	case token.ErrDenied:
		return 403
	case token.ErrNotFound:
		return 404
	case token.ErrExists:
		return 409
	case token.ErrRejected:
		return 502
	case token.ErrUnavailable, token.ErrLocked, token.ErrKeystore:
		return 503
	}
	return 500
}

// A Refusal is the answer's body when a request fails.
type Refusal struct {
	Error *token.Error `json:"error"`
	Trace []token.Step `json:"trace,omitempty"`
}

// ProfileList answers GET /v1/profiles.
type ProfileList struct {
	Profiles []token.ProfileStatus `json:"profiles"`
}

// ProviderList answers GET /v1/providers.
type ProviderList struct {
	Providers []token.Provider `json:"providers"`
}

// Exchange is the body of POST /v1/exchange/NAME.
type Exchange struct {
	Registry string `json:"registry"`
}

// Exchanged answers it. It holds a secret in the open.
type Exchanged struct {
	RefreshToken string `json:"refresh_token"`
}

// DecodeExchange reads the body of POST /v1/exchange/NAME strictly.
func DecodeExchange(body []byte) (registry string, err error) {
	var in Exchange
	if err := decodeStrict(body, &in); err != nil {
		return "", err
	}
	return in.Registry, checkURL(in.Registry)
}

// DecodeKeystoreChoice reads the body of POST /v1/keystore/migrate strictly.
func DecodeKeystoreChoice(body []byte) (token.KeystoreChoice, error) {
	var choice token.KeystoreChoice
	err := decodeStrict(body, &choice)
	return choice, err
}

// MaxName leaves room for any name that a profile could have, in bytes.
const MaxName = 128

// CheckName refuses what cannot be a profile's name on the wire. Which names
// there may be is for the daemon to say.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName || strings.Contains(name, "/") || !printable(name) {
		return invalid("name", "%.*q is no profile name", MaxName, name)
	}
	return nil
}

// CheckTarget refuses a scope that is none by RFC 6749 §3.3 (printable ASCII
// without " and \, separated by spaces), and an audience that holds control
// characters.
func CheckTarget(t token.Target) error {
	for _, c := range []byte(t.Scope) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return invalid("scope", "a scope cannot hold %q", c)
		}
	}
	if !printable(t.Audience) {
		return invalid("audience", "an audience cannot hold control characters")
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func encodeQuery(q token.Query) string {
	values := url.Values{}
	if q.Scope != "" {
		values.Set("scope", q.Scope)
	}
	if q.Audience != "" {
		values.Set("audience", q.Audience)
	}
	if q.MinTTL != 0 {
		values.Set("min_ttl", q.MinTTL.String())
	}
	if q.Fresh {
		values.Set("fresh", "true")
	}
	if q.URL != "" {
		values.Set("url", q.URL)
	}
	if q.Trace != nil {
		values.Set("trace", "true")
	}
	return values.Encode()
}

// DecodeQuery reads the query of GET /v1/token and /v1/token/NAME strictly.
func DecodeQuery(raw string) (token.Query, error) {
	var q token.Query
	if raw == "" {
		return q, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, invalid("", "the query is not in the form name=value&name=value")
	}
	for name, v := range values {
		if len(v) != 1 {
			return q, invalid(name, "%q is given %d times", name, len(v))
		}
		switch name {
		case "scope":
			q.Scope = v[0]
		case "audience":
			q.Audience = v[0]
		case "min_ttl":
			q.MinTTL, err = parseTTL(v[0])
		case "fresh":
			q.Fresh, err = parseFlag(name, v[0])
		case "trace":
			var wanted bool
			if wanted, err = parseFlag(name, v[0]); wanted {
				q.Trace = token.NewTrace()
			}
		case "url":
			q.URL, err = v[0], checkURL(v[0])
		default:
			err = invalid(name, "unknown query parameter %q", name)
		}
		if err != nil {
			return q, err
		}
	}
	return q, CheckTarget(q.Target)
}

// parseTTL takes a duration as Go writes it (5m, 1h30m) or plain seconds.
func parseTTL(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseUint(s, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	ttl, err := time.ParseDuration(s)
	if err != nil || ttl < 0 {
		return 0, invalid("min_ttl", "min_ttl must be seconds or a duration such as 5m, and is %q", s)
	}
	return ttl, nil
}

// checkURL refuses what no profile could claim because it is no URL.
func checkURL(text string) error {
	if err := token.CheckURL(text); err != nil {
		return invalid("url", "%v", err)
	}
	return nil
}

func parseFlag(name, s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, invalid(name, "%s must be true or false, and is %q", name, s)
	}
	return s == "true", nil
}

// tokenAnswer is what format.AppendJSON writes.
type tokenAnswer struct {
	AccessToken token.Secret `json:"access_token"`
	TokenType   string       `json:"token_type"`
	Scope       string       `json:"scope"`
	ExpiresAt   time.Time    `json:"expires_at"`
	IssuedAt    time.Time    `json:"issued_at"`
	RenewAt     time.Time    `json:"renew_at"`

	Profile string             `json:"profile"`
	Present token.Presentation `json:"present"`
	Host    string             `json:"host"`
}

func (a tokenAnswer) grant() token.Grant {
	return token.Grant{
		Token: token.Token{
			Secret: a.AccessToken, Type: a.TokenType, Scope: a.Scope,
			Issued: a.IssuedAt, Expiry: a.ExpiresAt, RenewAt: a.RenewAt,
		},
		Profile: a.Profile, Present: a.Present, Host: a.Host,
	}
}

// An invalidation is the body of POST …/invalidate. None, or one without a
// token, means the current token, whatever it is; without a profile there has
// to be one.
type invalidation struct {
	AccessToken *token.Secret `json:"access_token"`
}

func encodeInvalidation(t token.Secret) ([]byte, error) {
	if t.IsZero() {
		return nil, nil
	}
	return json.Marshal(struct {
		AccessToken string `json:"access_token"`
	}{t.Reveal()})
}

// DecodeInvalidation reads the body of POST …/invalidate strictly. An empty
// token is refused: it is a variable that was not set, not a wish.
func DecodeInvalidation(body []byte) (token.Secret, error) {
	if len(body) == 0 {
		return token.Secret{}, nil
	}
	var in invalidation
	if err := decodeStrict(body, &in); err != nil {
		return token.Secret{}, err
	}
	switch {
	case in.AccessToken == nil:
		return token.Secret{}, nil
	case in.AccessToken.IsZero():
		return token.Secret{}, invalid("access_token", "access_token is empty")
	}
	return *in.AccessToken, nil
}

// additionBody is a token.CreateProfile on its way to the daemon, with its secrets
// in the open. JSON strings are text, so a secret that is not (a PFX file)
// goes as base64.
type additionBody struct {
	token.CreateProfile
	Secrets       map[string]string `json:"secrets,omitempty"`
	SecretsBase64 map[string][]byte `json:"secrets_base64,omitempty"`
}

func encodeAddition(a token.CreateProfile) ([]byte, error) {
	out := additionBody{CreateProfile: a}
	for name, secret := range a.Secrets {
		if text := secret.Reveal(); utf8.ValidString(text) {
			put(&out.Secrets, name, text)
		} else {
			put(&out.SecretsBase64, name, []byte(text))
		}
	}
	return json.Marshal(out)
}

// DecodeAddition reads the body of POST /v1/profiles and …/rotate strictly.
func DecodeAddition(body []byte) (token.CreateProfile, error) {
	var in additionBody
	if err := decodeStrict(body, &in); err != nil {
		return token.CreateProfile{}, err
	}
	a := in.CreateProfile
	for name, text := range in.Secrets {
		put(&a.Secrets, name, token.NewSecret(text))
	}
	for name, octets := range in.SecretsBase64 {
		if _, twice := a.Secrets[name]; twice {
			return token.CreateProfile{}, invalid("secrets_base64."+name, "%q is in secrets and in secrets_base64", name)
		}
		put(&a.Secrets, name, token.NewSecret(string(octets)))
	}
	if err := plainNumbers(a.Settings); err != nil {
		return token.CreateProfile{}, err
	}
	return a, nil
}

func put[V any](m *map[string]V, name string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[name] = v
}
