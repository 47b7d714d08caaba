package helper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// rclone serves rclone's bearer_token_command, which takes the token alone and is
// run again after a 401.
func rclone(ctx context.Context, c *Call) error {
	if len(c.Args) > 0 || len(c.Hosts) > 1 {
		return bad("this helper takes --profile NAME or --host URL, and no other argument")
	}
	host := cmp.Or(slices.Concat(c.Hosts, []string{""})...)
	g, err := c.get(ctx, host, keptLife)
	if errors.Is(err, errNotMine) {
		err = bad("no profile covers %s", host)
	}
	if err != nil {
		return err
	}
	text, err := bearer(g)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.Out, text)
	return err
}
