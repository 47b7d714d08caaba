package providers

import (
	"strings"

	"tokend/providers/token"
)

type asposeSettings struct {
	ClientID string      `toml:"client_id" need:"yes" doc:"client ID of the application in the dashboard"`
	Secret   secretField `toml:"client_secret" need:"yes" doc:"client secret of the application"`
	BaseURL  string      `toml:"base_url" default:"https://api.aspose.cloud" doc:"the API's base URL, another for GroupDocs or an own server"`
	endpointSettings
}

func (s *asposeSettings) open(env Env) (any, error) {
	if _, err := checkURL("base_url", s.BaseURL, "?#"); err != nil {
		return nil, err
	}
	base := strings.TrimRight(s.BaseURL, "/")
	e, err := newEndpoint("base_url", base+"/connect/token", s.endpointSettings, env)
	if err != nil {
		return nil, err
	}
	e.explain = explainAspose
	e.apis = []string{base}
	return &minter{endpoint: e, grantType: grantClientCredentials, aim: noTargets("aspose"), prove: clientSecret(s.ClientID, authPost, env)}, nil
}

func (s *asposeSettings) prepare(a *token.CreateProfile) error { return prepareClientSecret(a) }

// explainAspose: the server sends nothing but the code, and one code means that
// either half of the credential is wrong.
func explainAspose(r *refusal) {
	if r.oauth == "invalid_client" {
		r.topic = "aspose-invalid-client"
	}
}
