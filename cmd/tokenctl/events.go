package main

import (
	"context"
	"errors"
	"io"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

const eventsHelp = `  tokenctl events
  tokenctl events clms azure --follow | jq -r 'select(.error) | .error.message'

Prints events as they happen, a line of JSON for each: tokend obtained a token,
an attempt failed or was refused, a token expires, a profile was added, rotated
or removed, the keyring is locked, and so on. Without names, of all profiles.
docs/observability.md lists the events and their members.

It ends when tokend stops. With --follow it waits for tokend to come back, and
then prints an event "lost", because it may have missed some.`

// followPoll is how often --follow looks for a tokend that is back.
const followPoll = time.Second

func eventsCommand(e *ui.Env) *cli.Command {
	var follow bool
	return &cli.Command{
		Name:  "events",
		Args:  "[NAME...]",
		Short: "Print events as they happen",
		Long:  eventsHelp,
		Flags: func(f *cli.Flags) {
			f.BoolVar(&follow, "follow, f", false, "go on when tokend stops and comes back")
		},
		Check:    cli.AnyArgs,
		Complete: e.CompleteProfiles,
		Run: func(ctx context.Context, c *cli.Call) error {
			if len(c.Args) == 1 {
				e.Profile = c.Args[0]
			}
			for again := false; ; again = true {
				connected, err := printEvents(ctx, e, c.Args, again)
				stopped := err == nil || errors.Is(err, token.ErrNoDaemon)
				if !follow || !stopped || !connected && !again {
					return err
				}
				time.Sleep(followPoll)
			}
		},
	}
}

// printEvents prints events until tokend stops. It reports whether it reached
// tokend.
func printEvents(ctx context.Context, e *ui.Env, names []string, again bool) (connected bool, err error) {
	d, err := e.Client()
	if err != nil {
		return false, err
	}
	connecting, cancel := context.WithTimeout(ctx, ui.Patience)
	defer cancel()
	events, err := d.Watch(connecting, names)
	if err != nil {
		return false, err
	}
	defer events.Close()
	event := token.Event{Time: time.Now().UTC(), Kind: token.EventLost}
	if !again {
		event, err = events.Next(ctx)
	}
	for err == nil {
		if err = e.Out.AnswerLine(event); err == nil {
			event, err = events.Next(ctx)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return true, err
}
