package helper

import (
	"context"
	"strings"
	"time"

	"tokend/providers/token/format"
)

// bazel serves Bazel's credential helper protocol, which others speak too
// (EngFlow's credential helper specification).
func bazel(ctx context.Context, c *Call) error {
	if len(c.Args) != 1 || c.Args[0] != "get" {
		return bad("bazel calls this program with get")
	}
	text, err := c.input()
	if err != nil {
		return err
	}
	var request struct {
		URI string `json:"uri"`
	}
	if err := unmarshal(text, &request, "bazel's request"); err != nil {
		return err
	}
	if request.URI == "" {
		return bad("bazel's request names no uri")
	}
	target := request.URI
	if rest, ok := strings.CutPrefix(target, "grpcs://"); ok {
		target = "https://" + rest
	}
	g, err := c.get(ctx, target, minLife)
	if err != nil {
		return err
	}
	var answer struct {
		Headers map[string][]string `json:"headers,omitempty"`
		// Expires has whole seconds: Bazel reads no fraction.
		Expires string `json:"expires,omitempty"`
	}
	if isUnmatched(g) {
		return c.writeJSON(answer)
	}
	name, value, err := format.Header(g)
	if err != nil {
		return err
	}
	answer.Headers = map[string][]string{name: {value}}
	if !g.Expiry.IsZero() {
		answer.Expires = g.ServeUntil().UTC().Format(time.RFC3339)
	}
	return c.writeJSON(answer)
}
