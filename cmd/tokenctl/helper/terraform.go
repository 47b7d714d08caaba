package helper

import (
	"context"
	"strings"
	"time"
)

// keptLife is how much life a token needs for tools that use it for as long as
// they run.
const keptLife = 2 * time.Minute

// terraform serves the credentials helpers of Terraform and OpenTofu.
func terraform(ctx context.Context, c *Call) error {
	if len(c.Args) != 2 {
		return bad("terraform calls this program with get, store or forget and a host")
	}
	verb, host := c.Args[0], c.Args[1]
	switch verb {
	case "get":
	case "store", "forget":
		return bad("tokend keeps the credentials of its profiles only; terraform login and logout cannot change them")
	default:
		return bad("terraform-credentials-tokend has no command %q", verb)
	}
	if host == "" || strings.ContainsAny(host, "/@?# \\") {
		return bad("%q is not a host", host)
	}
	g, err := c.get(ctx, "https://"+host, keptLife)
	if err != nil {
		return err
	}
	var answer struct {
		Token string `json:"token,omitempty"`
	}
	if !isUnmatched(g) {
		if answer.Token, err = bearer(g); err != nil {
			return err
		}
	}
	return c.writeJSON(answer)
}
