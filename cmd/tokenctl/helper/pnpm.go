package helper

import (
	"context"
	"errors"
	"strings"
)

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
