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

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tokend/cmd/tokend/service"
)

// setUpAndStart sets up as c's flags say, and has tokend run as a service then.
// A setup of the system's service gives up root's rights, which starting takes,
// so it is made by a process of its own.
func setUpAndStart(c *cobra.Command, at *places) error {
	args := []string{"setup"}
	c.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != startFlag {
			args = append(args, "--"+f.Name+"="+f.Value.String())
		}
	})
	if err := setUpApart(c.Context(), args, c.OutOrStdout()); err != nil {
		return err
	}
	r := serviceRequest{at: at, user: !at.system, out: c.OutOrStdout()}
	return r.install(c.Context())
}

// setUpApart runs tokend with args, and passes on what it says, but for what is
// to be done next: that is done.
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
		why, _, _ := strings.Cut(strings.TrimSpace(wrong.String()), "\n  See: ") // which is said at the end
		return service.StartError{Status: ended.ExitCode(), Text: strings.TrimPrefix(why, "tokend: ")}
	}
	return err
}
