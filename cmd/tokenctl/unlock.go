package main

import (
	"context"
	"errors"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const unlockHelp = `  tokenctl unlock

Has the desktop ask for the keyring's password, and waits until it is unlocked.
Then everything that waits for the keyring is tried at once. tokend also notices
within a minute when you unlock the keyring in another way.`

func unlockCommand(e *ui.Env) *cli.Command {
	wait := time.Minute
	return &cli.Command{
		Name:  "unlock",
		Short: "Have the OS keyring ask for its password",
		Long:  unlockHelp,
		Flags: func(f *cli.Flags) {
			f.Var((*cli.Span)(&wait), "timeout", "how long to wait for an answer to the prompt, as `TIME`")
		},
		Run: func(ctx context.Context, _ *cli.Call) error { return unlock(ctx, e, wait) },
	}
}

func unlock(ctx context.Context, e *ui.Env, wait time.Duration) error {
	d, err := e.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ui.Patience+wait)
	defer cancel()
	err = d.Unlock(ctx)
	if isPrompting(err) && wait > 0 {
		e.Err.Print("The keyring asks for its password. Waiting for the answer ...\n")
		err = awaitUnlocked(ctx, d, err, wait)
	}
	if err != nil {
		return err
	}
	return e.Out.Answer("The keyring is unlocked.\n")
}

// isPrompting reports whether there is a prompt that a person can answer.
func isPrompting(err error) bool {
	var e *token.Error
	return errors.As(err, &e) && e.Code == token.ErrLocked && e.Topic == "keyring-prompt"
}

// awaitUnlocked waits for the prompt's answer, and has tokend notice it.
func awaitUnlocked(ctx context.Context, d *ipc.Client, err error, wait time.Duration) error {
	limit := time.After(wait)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for isPrompting(err) {
		select {
		case <-limit:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		st, failed := d.Keystore(ctx)
		if failed != nil {
			return failed
		}
		if st.State == "ok" {
			err = d.Unlock(ctx)
		}
	}
	return err
}
