package providers

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tokend/providers/jose"
	"tokend/providers/strictjson"
	"tokend/providers/token"
	"tokend/providers/token/input"
)

// clmsSettings come with the service key; you need to write none.
type clmsSettings struct {
	ServiceKey secretField `toml:"service_key" need:"yes" doc:"file with the service key (JSON) from land.copernicus.eu"`
	ClientID   string      `toml:"client_id" need:"service_key" doc:"client_id of the service key"`
	UserID     string      `toml:"user_id" need:"service_key" doc:"user_id of the service key"`
	TokenURI   string      `toml:"token_uri" need:"service_key" sends:"yes" doc:"token_uri of the service key"`
	Key        secretField `toml:"private_key" doc:"private key in PEM or DER, instead of the service key"`
	Passphrase secretField `toml:"passphrase" doc:"passphrase of the private key, if it is encrypted"`
	endpointSettings
}

func (s *clmsSettings) open(env Env) (any, error) {
	u, err := checkURL("token_uri", s.TokenURI, "")
	if err != nil {
		return nil, err
	}
	// The server refuses nbf and scope, and an iat a second ahead of its own clock;
	// its documentation allows an exp of an hour after iat at most.
	a := jose.Assertion{
		Algorithm: "RS256",
		Claims:    map[string]any{"iss": s.ClientID, "sub": s.UserID, "aud": s.TokenURI},
		Start:     "iat", Backdate: 30 * time.Second, Lifetime: time.Hour,
	}
	return s.newMinter("token_uri", s.TokenURI, env, minter{
		grantType: grantJWTBearer, aim: noTargets("clms"), prove: signedGrant(env, a, nil), explain: explainCLMS,
		apis: []string{"https://" + u.Host}, // the portal issues the tokens itself
	})
}

func (s *clmsSettings) prepare(a *token.CreateProfile) error {
	switch handedIn(a, "service_key", "private_key") {
	case "service_key":
	case "private_key":
		return prepareKey(a, "RS256")
	default:
		return invalid("service_key", "give either a service_key or a private_key")
	}
	k, err := parseServiceKey(a.Secrets["service_key"].Reveal())
	if err != nil {
		return err
	}
	if id := cmp.Or(token.Settings(a.Settings).Text("client_id"), k.Text("client_id")); id != k.Text("client_id") {
		return invalid("client_id", "client_id is %q in the settings and %q in the service key", id, k.Text("client_id"))
	}
	// You may want another subject or server than the key names.
	for _, name := range []string{"client_id", "user_id", "token_uri"} {
		a.Settings[name] = cmp.Or(token.Settings(a.Settings).Text(name), k.Text(name))
	}
	a.Secrets = map[string]token.Secret{"private_key": token.NewSecret(k.Text("private_key"))}
	if err := prepareKey(a, "RS256"); err != nil {
		return invalid("service_key", "in the service key, %v", err)
	}
	return nil
}

// parseServiceKey parses the JSON file from CLMS, which has more members than
// tokend needs.
func parseServiceKey(text string) (strictjson.Object, error) {
	m, err := strictjson.Parse([]byte(text))
	switch {
	case err != nil && strings.Contains(text, "-----BEGIN ") && !strings.HasPrefix(strings.TrimSpace(text), "{"):
		return nil, invalid("service_key", "the service key is a PEM file; use the whole JSON file")
	case err != nil:
		return nil, invalid("service_key", "the service key is %s", cmp.Or(input.What(text), err.Error()))
	}
	for _, name := range []string{"client_id", "user_id", "token_uri", "private_key"} {
		if m.Text(name) == "" {
			return nil, invalid("service_key", "the service key has no %s", name)
		}
	}
	return m, nil
}

// explainCLMS knows the server's texts, because its refusals differ in nothing
// else.
func explainCLMS(r *refusal) {
	for topic, texts := range map[string][]string{
		"clms-request":     {"POST only", "Missing 'grant_type'", "Only grant type ", "Missing 'assertion'"},
		"clms-algorithm":   {"Only RS256 signature algorithm is supported"},
		"clms-unknown-key": {"No associated key found"},
		"clms-signature":   {"Signature verification failed"},
		"clms-issuer":      {"JWT issuer doesn't match client_id of service key"},
		"clms-audience":    {"Audience doesn't match", `Token is missing the "aud" claim`},
		"clms-subject":     {"JWT subject doesn't match user_id of service key"},
		"clms-claims":      {"Missing 'exp' claim", "Missing 'iat' claim", "The 'nbf' claim is not ", "Scopes are not supported yet"},
		topicClock: {"The token is not yet valid (iat)", "JWT issue time is in the future", "JWT was issued more than an hour in the past",
			"Signature has expired", "JWT expiration is more than a day in the future"},
	} {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.HasPrefix(r.description, text) }) {
			r.topic = topic
		}
	}
}
