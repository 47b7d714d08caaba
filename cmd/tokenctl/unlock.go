package main

import (
	"context"
	"errors"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

const unlockHelp = `  tokenctl unlock

Lets the desktop ask for the keyring's password, or KeePassXC for permission,
and waits for your answer. Then tokend retries at once what needs the keyring.
If you unlock the keyring in another way, tokend notices within a minute.`

// unlockPoll is how often the keystore's state is asked for.
const unlockPoll = 300 * time.Millisecond

func unlockCommand(e *ui.Env) *cli.Command {
	wait := time.Minute
	return &cli.Command{
		Name:  "unlock",
		Short: "Unlock the OS keyring",
		Long:  unlockHelp,
		Flags: func(f *cli.Flags) {
			f.Span(&wait, "timeout", "how long to wait for an answer to the prompt, as `TIME`")
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			d, err := e.Client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, ui.Patience+wait)
			defer cancel()
			err = d.Unlock(ctx)
			if isPrompting(err) && wait > 0 {
				e.Err.Print("The keyring asks you, in a window of its own. Waiting for the answer ...\n")
			}
			for limit := time.Now().Add(wait); isPrompting(err) && time.Now().Before(limit); time.Sleep(unlockPoll) {
				if st, failed := d.Keystore(ctx); failed != nil {
					return failed
				} else if st.State == "ok" { // the answer has come; tokend is to notice it
					err = d.Unlock(ctx)
				}
			}
			if err != nil {
				return err
			}
			return e.Say("The keyring is unlocked.")
		},
	}
}

// isPrompting reports whether there is a prompt that a person can answer.
func isPrompting(err error) bool {
	e, ok := errors.AsType[*token.Error](err)
	return ok && e.Code == token.ErrLocked && e.Topic == "keyring-prompt"
}
