package helper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"strings"
)

// cargo serves cargo's credential-provider, version 1 (The Cargo Book, Credential
// Provider Protocol). It answers line by line until cargo
// closes its end; errors are answers, and the exit status is 0.
func cargo(ctx context.Context, c *Call) (any, error) {
	if err := c.write(map[string][]int{"v": {1}}); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(c.In)
	lines.Buffer(nil, maxInput)
	for lines.Scan() {
		if err := c.write(cargoAnswer(ctx, c, lines.Bytes())); err != nil {
			return nil, err
		}
	}
	if lines.Err() != nil {
		return nil, bad("cargo's request has more than %d bytes", maxInput)
	}
	return nil, nil
}

// errNotGet means that cargo asks for what we do not do, such as a login.
var errNotGet = errors.New("not a request for a token")

// cargoAnswer is a token, or the kind of error by which cargo knows to go on to
// its next provider, or an error in words.
func cargoAnswer(ctx context.Context, c *Call, line []byte) any {
	answer, err := cargoGet(ctx, *c, line)
	problem := map[string]any{}
	switch {
	case err == nil:
		return map[string]any{"Ok": answer}
	case errors.Is(err, errNotMine):
		problem["kind"] = "url-not-supported"
	case errors.Is(err, errNotGet):
		problem["kind"] = "operation-not-supported"
	default:
		lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(c.Explain(err), "\n  ", "\n")), "\n")
		problem["kind"], problem["message"], problem["caused-by"] = "other", "tokend: "+lines[0], lines[1:]
	}
	return map[string]any{"Err": problem}
}

// cargoGet answers one request with a token.
func cargoGet(ctx context.Context, c Call, line []byte) (any, error) {
	var r struct {
		Kind     string
		Args     []string
		Registry struct {
			IndexURL string `json:"index-url"`
		}
	}
	if json.Unmarshal(line, &r) != nil {
		return nil, bad("cargo's request is not valid JSON of the expected kind")
	}
	if r.Kind != "get" {
		return nil, errNotGet
	}
	if len(r.Args) == 2 && r.Args[0] == "--profile" && r.Args[1] != "" {
		c.Profile = r.Args[1]
	} else if len(r.Args) > 0 {
		return nil, bad("in cargo's configuration, this provider takes --profile NAME and nothing else")
	}
	if r.Registry.IndexURL == "" {
		return nil, bad("cargo's request names no registry")
	}
	g, value, err := c.getAs(ctx, authorization, strings.TrimPrefix(r.Registry.IndexURL, "sparse+"), minLife)
	// operation_independent: the token is good for reading and publishing alike.
	answer := map[string]any{"kind": "get", "token": value, "cache": "never", "operation_independent": true}
	if !g.Expiry.IsZero() {
		answer["cache"], answer["expiration"] = "expires", g.ServeUntil().Unix()
	}
	return answer, err
}
