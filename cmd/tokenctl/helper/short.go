package helper

import (
	"context"
	"errors"
	"strings"

	"tokend/providers/token/format"
)

// Protocols of a few lines.

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

// terraform serves the credentials helpers of Terraform and OpenTofu.
func terraform(ctx context.Context, c *Call) (any, error) {
	if len(c.Args) != 2 {
		return nil, bad("terraform calls this program with get, store or forget and a host")
	}
	switch command, host := c.Args[0], c.Args[1]; {
	case command == "store" || command == "forget":
		return nil, bad("tokend keeps the credentials of its profiles only; terraform login and logout cannot change them")
	case command != "get":
		return nil, bad("terraform-credentials-tokend has no command %q", command)
	case host == "" || strings.ContainsAny(host, "/@?# \\"):
		return nil, bad("%q is not a host", host)
	}
	_, text, err := c.getAs(ctx, bearer, "https://"+c.Args[1], keptLife)
	return map[string]string{"token": text}, err
}

// pnpm serves pnpm's tokenHelper, which passes no arguments and takes the
// value of an Authorization header.
func pnpm(ctx context.Context, c *Call) (any, error) {
	if len(c.Args) > 0 {
		return nil, bad("pnpm calls this program without arguments")
	}
	if c.Profile == "" {
		return nil, bad("the program's name must end in the profile's: pnpm-credential-tokend-NAME (tokenctl setup pnpm makes it)")
	}
	_, value, err := c.getAs(ctx, authorization, "", keptLife)
	return value + "\n", err
}

// rclone serves rclone's bearer_token_command, which takes the token alone and is
// run again after a 401.
func rclone(ctx context.Context, c *Call) (any, error) {
	if len(c.Args) > 0 || len(c.Hosts) > 1 {
		return nil, bad("this helper takes --profile NAME or --host URL, and no other argument")
	}
	_, text, err := c.getAs(ctx, bearer, strings.Join(c.Hosts, ""), keptLife)
	if errors.Is(err, errNotMine) {
		err = bad("no profile covers %s", c.Hosts[0])
	}
	return text + "\n", err
}
