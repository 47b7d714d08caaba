package helper

import (
	"context"
	"fmt"
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
