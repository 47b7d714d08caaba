package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"tokend/providers/token"
)

const eventsHelp = `  tokenctl events
  tokenctl events clms azure --follow | jq -r 'select(.error) | .error.message'

Prints what happens, as it happens, a line of JSON for each event: a token was
obtained, an attempt failed or was refused, a token expires, a profile was
added, rotated or removed, the keyring is locked, and so on. Without names, of
all profiles. docs/observability.md lists the events and their members.

Ends when tokend stops. With --follow it waits for tokend to come back; as
something may have happened meanwhile, an event "lost" comes first then.`

// comeBack is how often --follow looks whether tokend is back.
const comeBack = time.Second

func (a *app) eventsCommand() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "events [NAME...]",
		Short: "Print what happens, as it happens",
		Long:  eventsHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.profile = args[0]
			}
			return nil
		},
		ValidArgsFunction: a.completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			for again := false; ; again = true {
				connected, err := a.printEvents(c.Context(), args, again)
				isGone := err == nil || errors.Is(err, token.ErrNoDaemon)
				if !follow || !isGone || !connected && !again {
					return err
				}
				time.Sleep(comeBack)
			}
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on when tokend stops and comes back")
	return c
}

// printEvents prints events until tokend stops. It tells whether tokend was there.
func (a *app) printEvents(ctx context.Context, names []string, again bool) (connected bool, err error) {
	d, err := a.daemon()
	if err != nil {
		return false, err
	}
	connecting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	events, err := d.Watch(connecting, names)
	if err != nil {
		return false, err
	}
	defer events.Close()
	if again {
		err = a.printEvent(token.Event{Time: time.Now().UTC(), Kind: token.EventLost})
	}
	for err == nil {
		var e token.Event
		if e, err = events.Next(ctx); err == nil {
			err = a.printEvent(e)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return true, err
}

func (a *app) printEvent(e token.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return a.out.answer(append(plainJSON(line), '\n'))
}
