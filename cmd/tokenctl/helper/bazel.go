package helper

import (
	"context"
	"strings"
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
	var request struct{ URI string }
	if err := unmarshal(text, &request, "bazel's request"); err != nil {
		return err
	}
	target := request.URI
	if rest, ok := strings.CutPrefix(target, "grpcs://"); ok {
		target = "https://" + rest
	}
	g, err := c.get(ctx, target, minLife)
	if err != nil {
		return err
	}
	name, value, err := format.Header(g)
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Headers map[string][]string `json:"headers"`
		Expires string              `json:"expires,omitempty"`
	}{map[string][]string{name: {value}}, expires(g)})
}
