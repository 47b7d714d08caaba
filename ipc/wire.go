// Package ipc is how tokenctl and other programs of this machine talk to
// tokend: where the socket is, who may be at either end of it, what crosses it
// (docs/protocol.md), and a client. tokenctl starts with every call, so the
// package stays small; the server's side is in ipcserver.
package ipc

import (
	"fmt"
	"net/url"
	"strings"

	"tokend/providers/token"
)

// The routes. A profile's name follows those that end in a slash.
const (
	// AnyTokenPath finds the profile by a URL, InvalidatePath by a token.
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
	AuditPath      = "/v1/audit"
	MetricsPath    = "/metrics"

	// These follow the name.
	InvalidateSuffix = "/invalidate"
	RotateSuffix     = "/rotate"
	RenameSuffix     = "/rename"
	DigestSuffix     = "/digests"
	TextSuffix       = "/text"
)

// AskerHeader says who asks a helper: the Again and the Key of a token.Asker. tokend
// takes no notice of one that it cannot read.
const AskerHeader = "Tokend-Asker"

// WarnHeader says that a person reads what the caller of GET /v1/token prints. It is no
// parameter, because an older tokend refuses those that it does not know.
const WarnHeader = "Tokend-Warn"

// MaxBody bounds the body of a request, in bytes, and MaxAnswer that of an
// answer: a status lists all profiles, and there may be tens of thousands.
const (
	MaxBody   = 1 << 20
	MaxAnswer = 64 << 20
)

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

// Renaming is the body of POST /v1/profiles/NAME/rename.
type Renaming struct {
	Name string `json:"name"`
}

// Exchange is the body of POST /v1/exchange/NAME.
type Exchange struct {
	Registry string `json:"registry"`
}

// Exchanged answers it. It holds a secret in the open.
type Exchanged struct {
	RefreshToken string `json:"refresh_token"`
}

func encodeQuery(q token.Query, resource string) string {
	var pairs string
	add := func(name, value string, isSet bool) {
		if isSet {
			pairs += "&" + name + "=" + url.QueryEscape(value)
		}
	}
	add("scope", q.Scope, q.Scope != "")
	add("audience", q.Audience, q.Audience != "")
	add("resource", resource, resource != "")
	add("url", q.URL, q.URL != "")
	add("min_ttl", q.MinTTL.String(), q.MinTTL != 0)
	add("fresh", "true", q.Fresh)
	add("second_header", "true", q.Second)
	add("trace", "true", q.Trace != nil)
	return strings.TrimPrefix(pairs, "&")
}

// A ProfileBody is a token.CreateProfile on its way to the daemon, with its secrets
// in the open. JSON strings are text, so a secret that may be none (a PFX file) goes
// as base64; the server takes both.
type ProfileBody struct {
	token.CreateProfile
	SecretsBase64 map[string][]byte `json:"secrets_base64,omitempty"`
}

func newProfileBody(p token.CreateProfile) ProfileBody {
	body := ProfileBody{CreateProfile: p, SecretsBase64: map[string][]byte{}}
	for name, secret := range p.Secrets {
		body.SecretsBase64[name] = []byte(secret.Reveal())
	}
	body.Secrets = nil
	return body
}

func invalid(field, format string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}
