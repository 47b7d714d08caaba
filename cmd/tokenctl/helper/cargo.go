package helper

import (
	"bufio"
	"context"
	"errors"
	"strings"
)

// A cargoRequest is one line of cargo's credential provider protocol, version
// 1 (The Cargo Book, Credential Provider Protocol).
type cargoRequest struct {
	V        int `json:"v"`
	Registry struct {
		IndexURL string `json:"index-url"`
	} `json:"registry"`
	Kind string   `json:"kind"`
	Args []string `json:"args"`
}

// A cargoError is an error as cargo reads it.
type cargoError struct {
	Kind     string   `json:"kind"`
	Message  string   `json:"message,omitempty"`
	CausedBy []string `json:"caused-by,omitempty"`
}

// A cargoToken is the answer to get.
type cargoToken struct {
	Kind       string `json:"kind"`
	Token      string `json:"token"`
	Cache      string `json:"cache"`
	Expiration int64  `json:"expiration,omitempty"`
	// AnyOperation: the token is good for reading and publishing alike.
	AnyOperation bool `json:"operation_independent"`
}

// cargo serves cargo's credential-provider. It answers line by line until cargo
// closes its end; errors are answers, and the exit status is 0.
func cargo(ctx context.Context, c *Call) error {
	if len(c.Args) != 1 || c.Args[0] != "--cargo-plugin" {
		return bad("cargo calls this program with --cargo-plugin")
	}
	if err := c.writeJSON(map[string][]int{"v": {1}}); err != nil {
		return err
	}
	lines := bufio.NewScanner(c.In)
	lines.Buffer(nil, maxInput)
	for lines.Scan() {
		if err := c.writeJSON(cargoAnswer(ctx, c, lines.Bytes())); err != nil {
			return err
		}
	}
	if lines.Err() != nil {
		return bad("cargo's request has more than %d bytes", maxInput)
	}
	return nil
}

func cargoAnswer(ctx context.Context, c *Call, line []byte) any {
	t, kind, err := cargoCall(ctx, *c, line)
	switch {
	case err != nil:
		words := strings.Split(strings.TrimSpace(c.Explain(err)), "\n")
		for i := range words {
			words[i] = strings.TrimSpace(words[i])
		}
		return map[string]cargoError{"Err": {Kind: "other", Message: "tokend: " + words[0], CausedBy: words[1:]}}
	case kind != "":
		return map[string]cargoError{"Err": {Kind: kind}}
	}
	return map[string]cargoToken{"Ok": t}
}

// cargoCall answers one request: with a token, or the kind of error by which
// cargo knows to go on to its next provider.
func cargoCall(ctx context.Context, c Call, line []byte) (t cargoToken, kind string, err error) {
	var r cargoRequest
	if err := unmarshal(line, &r, "cargo's request"); err != nil {
		return t, "", err
	}
	if r.V != 1 {
		return t, "", bad("cargo speaks version %d of the protocol, and this is version 1", r.V)
	}
	if r.Kind != "get" {
		return t, "operation-not-supported", nil
	}
	for args := r.Args; len(args) > 0; args = args[2:] {
		if len(args) < 2 || args[0] != "--profile" || args[1] == "" {
			return t, "", bad("in cargo's configuration, this provider takes --profile NAME and nothing else")
		}
		c.Profile = args[1]
	}
	if r.Registry.IndexURL == "" {
		return t, "", bad("cargo's request names no registry")
	}
	g, err := c.get(ctx, strings.TrimPrefix(r.Registry.IndexURL, "sparse+"), minLife)
	if errors.Is(err, errNotMine) {
		return t, "url-not-supported", nil
	}
	if err != nil {
		return t, "", err
	}
	value, err := authorization(g)
	if err != nil {
		return t, "", err
	}
	t = cargoToken{Kind: "get", Token: value, Cache: "never", AnyOperation: true}
	if !g.Expiry.IsZero() {
		t.Cache, t.Expiration = "expires", g.ServeUntil().Unix()
	}
	return t, "", nil
}
