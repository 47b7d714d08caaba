package helper

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// pnpm serves pnpm's tokenHelper, which passes no arguments and takes the
// value of an Authorization header.
func pnpm(ctx context.Context, c *Call) error {
	if len(c.Args) > 0 {
		return bad("pnpm calls this program without arguments")
	}
	if c.Profile == "" {
		return bad("the program's name must end in the profile's: pnpm-credential-tokend-NAME (tokenctl setup pnpm makes it)")
	}
	g, err := c.get(ctx, "", keptLife)
	if err != nil {
		return err
	}
	value, err := authorization(g)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.Out, value)
	return err
}

// rclone serves rclone's bearer_token_command, which takes the token alone and is
// run again after a 401.
func rclone(ctx context.Context, c *Call) error {
	if len(c.Args) > 0 || len(c.Hosts) > 1 {
		return bad("this helper takes --profile NAME or --host URL, and no other argument")
	}
	g, err := c.get(ctx, strings.Join(c.Hosts, ""), keptLife)
	if errors.Is(err, errNotMine) {
		err = bad("no profile covers %s", c.Hosts[0])
	}
	if err != nil {
		return err
	}
	text, err := bearer(g)
	if err == nil {
		_, err = fmt.Fprintln(c.Out, text)
	}
	return err
}
