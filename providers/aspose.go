package providers

import (
	"regexp"
	"strings"

	"tokend/providers/token"
)

type asposeSettings struct {
	ClientID string      `toml:"client_id" need:"yes" doc:"client ID of the application in the dashboard"`
	Secret   secretField `toml:"client_secret" need:"yes" doc:"client secret of the application"`
	BaseURL  string      `toml:"base_url" default:"https://api.aspose.cloud" sends:"yes" doc:"the API's base URL, another for GroupDocs or your own server (http on this machine)"`
	endpointSettings
}

func (s *asposeSettings) open(env Env) (any, error) {
	if _, err := checkURL("base_url", s.BaseURL, "?#"); err != nil {
		return nil, err
	}
	base := strings.TrimRight(asposeAPI.ReplaceAllString(s.BaseURL, ""), "/")
	return s.newMinter("base_url", base+"/connect/token", env, minter{
		grantType: grantClientCredentials, aim: noTargets("aspose"), prove: clientSecret(s.ClientID, authPost, env),
		explain: func(r *refusal) {
			if r.oauth == "invalid_client" { // all that the server says, whichever half of the credential is wrong
				r.topic = "aspose-invalid-client"
			}
		},
		apis: []string{base},
	})
}

// asposeAPI is what follows the base in the URLs of the API, with which people
// paste it: a version and a path, or the token endpoint.
var asposeAPI = regexp.MustCompile(`(/v[0-9]+(\.[0-9]+)*(/.*)?|/connect/token/?)$`)

// asposeSecret is the form of a client secret; an ID is a GUID.
var asposeSecret = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (s *asposeSettings) prepare(a *token.CreateProfile) error {
	if err := prepareClientSecret(a); err != nil {
		return err
	}
	if asposeSecret.MatchString(token.Settings(a.Settings).Text("client_id")) && guid.MatchString(a.Secrets["client_secret"].Reveal()) {
		return invalid("client_id", "client_id and client_secret are swapped: the ID is the one with hyphens. If the secret was on the command line or in a file, others may have seen it: make a new one in the dashboard")
	}
	return nil
}
