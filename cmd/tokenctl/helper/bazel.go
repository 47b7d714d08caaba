package helper

import (
	"context"
	"strings"

	"tokend/providers/token/format"
)

// bazel serves Bazel's credential helper protocol, which others speak too
// (EngFlow's credential helper specification).
func bazel(ctx context.Context, c *Call) (any, error) {
	if len(c.Args) != 1 || c.Args[0] != "get" {
		return nil, bad("bazel calls this program with get")
	}
	text, err := c.input()
	if err != nil {
		return nil, err
	}
	var request struct{ URI string }
	if err := unmarshal(text, &request, "bazel's request"); err != nil {
		return nil, err
	}
	target, isGRPC := strings.CutPrefix(request.URI, "grpcs://")
	if isGRPC {
		target = "https://" + target
	}
	g, err := c.get(ctx, target, minLife)
	if err != nil {
		return nil, err
	}
	name, value, err := format.Header(g)
	answer := map[string]any{"headers": map[string][]string{name: {value}}}
	if ends := expires(g); ends != "" {
		answer["expires"] = ends
	}
	return answer, err
}
