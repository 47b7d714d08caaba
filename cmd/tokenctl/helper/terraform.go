package helper

import (
	"context"
	"strings"
)

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
