package main

import (
	"testing"

	"tokend/cmd/tokenctl/ui"
	"tokend/docs"
	"tokend/providers/token"
)

func TestExplainFindsTopics(t *testing.T) {
	for words, want := range map[string]string{
		"AADSTS7000215": "AADSTS7000215",
		"aadsts1002012": "AADSTS70011",
		"Only RS256 signature algorithm is supported": "clms-algorithm",
		"no associated key":                           "clms-unknown-key",
		"tokenctl: h refused the request: invalid_client: the client secret has expired (AADSTS7000222)":      "AADSTS7000222",
		"tokenctl: h refused the request: invalid_grant: The token is not yet valid (iat)":                    "clock",
		`{"error":{"code":"rejected","topic":"clms-signature","message":"h refused the request"}}`:            "clms-signature",
		"tokenctl: h refused the request: invalid_grant: JWT subject\n doesn't match user_id of service key.": "clms-subject",
		"keyring-locked": "keyring-locked",
	} {
		if got, err := findTopic(words); err != nil || got.Names[0] != want {
			t.Errorf("%s: %v, %v; want %s", words, got.Names, err, want)
		}
	}
	for _, topic := range docs.ErrorTopics() {
		for _, name := range topic.Names {
			if got, err := findTopic(name); err != nil || got.Names[0] != topic.Names[0] {
				t.Errorf("%s: %v, %v", name, got.Names, err)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	r := call(t, "/nonexistent", nil, "explain", "clms-algorithm")
	r.wants(t, ui.ExitOK, "clms-algorithm\n\nCLMS says \"Only RS256", "")
	call(t, "/nonexistent", nil, "explain").wants(t, ui.ExitOK, "Microsoft Entra ID:\n  AADSTS7000215  ", "")
	call(t, "/nonexistent", nil, "explain", "clms-algoritm").wants(t, ui.ExitNotFound, "", `there is no topic "clms-algoritm"; did you mean clms-algorithm?`)
	call(t, "/nonexistent", nil, "explain", "e").wants(t, ui.ExitNotFound, "", "there is no topic \"e\"; tokenctl explain")
}

func TestAnErrorNamesItsTopic(t *testing.T) {
	b := newBackend()
	b.err = &token.Error{Code: token.ErrRejected, Topic: "AADSTS7000215", OAuth: "invalid_client", Message: "h refused"}
	socket := serve(t, b)
	r := call(t, socket, nil, "get", "azure")
	r.wants(t, ui.ExitRejected, "", "\n  See: tokenctl explain AADSTS7000215\n")
}
