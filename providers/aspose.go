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
	if strings.ContainsAny(s.BaseURL, "?#") {
		return nil, invalid("base_url", "base_url must not contain a '?' or '#'")
	}
	e, err := newEndpoint("base_url", strings.TrimRight(s.BaseURL, "/")+"/connect/token", s.endpointSettings, env)
	if err != nil {
		return nil, err
	}
	e.explain = explainAspose
	e.api = strings.TrimRight(s.BaseURL, "/")
	return &minter{endpoint: e, grantType: grantClientCredentials, aim: noTargets("aspose"), prove: secretInForm(s.ClientID, env)}, nil
}

func (s *asposeSettings) prepare(a *token.CreateProfile) error { return prepareClientSecret(a) }

// explainAspose: the server sends nothing but the code, and one code means that
// either half of the credential is wrong.
func explainAspose(r refusal) explanation {
	if r.oauth == "invalid_client" {
		return explanation{topic: "aspose-invalid-client"}
	}
	return explanation{}
}
