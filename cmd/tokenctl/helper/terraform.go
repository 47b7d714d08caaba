package helper

import (
	"context"
	"strings"
)

// terraform serves the credentials helpers of Terraform and OpenTofu.
func terraform(ctx context.Context, c *Call) error {
	if len(c.Args) != 2 {
		return bad("terraform calls this program with get, store or forget and a host")
	}
	host := c.Args[1]
	switch c.Args[0] {
	case "get":
	case "store", "forget":
		return bad("tokend keeps the credentials of its profiles only; terraform login and logout cannot change them")
	default:
		return bad("terraform-credentials-tokend has no command %q", c.Args[0])
	}
	if host == "" || strings.ContainsAny(host, "/@?# \\") {
		return bad("%q is not a host", host)
	}
	g, err := c.get(ctx, "https://"+host, keptLife)
	if err != nil {
		return err
	}
	text, err := bearer(g)
	if err != nil {
		return err
	}
	return c.writeJSON(map[string]string{"token": text})
}
