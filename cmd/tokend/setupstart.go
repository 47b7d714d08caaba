package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/pflag"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokend/service"
)

// setUpAndStart sets up as c's flags say, and then runs tokend as a service. Setup
// of the system's service gives up root's rights, which starting needs, so another
// process does it.
func (p *program) setUpAndStart(ctx context.Context, c *cli.Call) error {
	args := []string{"setup"}
	c.Flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != startFlag {
			args = append(args, "--"+f.Name+"="+f.Value.String())
		}
	})
	if err := setUpApart(ctx, args, p.out); err != nil {
		return err
	}
	r := serviceRequest{at: &p.at, user: !p.at.system, out: p.out}
	return r.install(ctx)
}

// setUpApart runs tokend with args, and passes on its output without the next step,
// which follows.
func setUpApart(ctx context.Context, args []string, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	var said, wrong bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, &said, &wrong
	err = cmd.Run()
	text, _, _ := strings.Cut(said.String(), "\nNext: ")
	if text = strings.TrimSuffix(text, "\n"); text != "" {
		fmt.Fprintln(out, text)
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		why, _, _ := strings.Cut(strings.TrimSpace(wrong.String()), "\n  See: ") // which is printed at the end
		return service.StartError{Status: ended.ExitCode(), Text: strings.TrimPrefix(why, "tokend: ")}
	}
	return err
}
