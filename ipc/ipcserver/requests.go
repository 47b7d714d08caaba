package ipcserver

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tokend/ipc"
	"tokend/providers/token"
)

var errQuery = invalid("", "the query is not in the form name=value&name=value")

// decodeQuery reads the query of GET /v1/token and /v1/token/NAME strictly.
func decodeQuery(raw string) (q token.Query, resource string, err error) {
	if raw == "" {
		return q, "", nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, "", errQuery
	}
	for name, v := range values {
		if len(v) != 1 {
			return q, "", invalid(name, "%q is given %d times", name, len(v))
		}
		switch name {
		case "scope":
			q.Scope = v[0]
		case "audience":
			q.Audience = v[0]
		case "resource":
			resource, err = v[0], token.CheckName(v[0])
		case "min_ttl":
			q.MinTTL, err = parseTTL(v[0])
		case "fresh":
			q.Fresh, err = parseFlag(name, v[0])
		case "second_header":
			q.Second, err = parseFlag(name, v[0])
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
			return q, "", err
		}
	}
	return q, resource, checkTarget(q.Target)
}

// parseTTL takes a duration as Go writes it (5m, 1h30m) or plain seconds.
func parseTTL(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseUint(s, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	ttl, err := time.ParseDuration(s)
	if err != nil || ttl < 0 {
		return 0, invalid("min_ttl", "min_ttl must be seconds or a duration such as 5m, not %q", s)
	}
	return ttl, nil
}

// checkURL refuses what is not a URL that a profile's hosts could cover.
func checkURL(text string) error {
	if _, err := token.ParseURL(text); err != nil {
		return invalid("url", "%v", err)
	}
	return nil
}

func parseFlag(name, s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, invalid(name, "%s must be true or false, not %q", name, s)
	}
	return s == "true", nil
}

// checkTarget refuses a scope that RFC 6749 §3.3 does not allow (printable ASCII
// without " and \, separated by spaces), and an audience that holds control
// characters.
func checkTarget(t token.Target) error {
	for _, c := range []byte(t.Scope) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return invalid("scope", "a scope cannot hold %q", c)
		}
	}
	unseen := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.ValidString(t.Audience) || strings.ContainsFunc(t.Audience, unseen) {
		return invalid("audience", "an audience cannot hold control characters")
	}
	return nil
}

// profileOf reads the body of POST /v1/profiles and …/rotate.
func profileOf(in ipc.ProfileBody) (token.CreateProfile, error) {
	p := in.CreateProfile
	if p.Secrets == nil && len(in.SecretsBase64) > 0 {
		p.Secrets = map[string]token.Secret{}
	}
	for name, octets := range in.SecretsBase64 {
		if _, twice := p.Secrets[name]; twice {
			return token.CreateProfile{}, invalid("secrets_base64."+name, "%q is in secrets and in secrets_base64", name)
		}
		p.Secrets[name] = token.NewSecret(string(octets))
	}
	_, err := plainNumbers(p.Settings)
	return p, err
}

// decodeWatch reads the query of GET /v1/events strictly.
func decodeWatch(raw string) (profiles []string, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errQuery
	}
	profiles = values["profile"]
	for name := range values {
		if name != "profile" {
			return nil, invalid(name, "unknown query parameter %q", name)
		}
	}
	for _, name := range profiles {
		if err := token.CheckName(name); err != nil {
			return nil, err
		}
	}
	return profiles, nil
}
