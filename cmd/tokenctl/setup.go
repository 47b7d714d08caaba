package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/setup"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

const setupText = `  tokenctl setup git https://dev.azure.com/org
  tokenctl setup git https://dev.azure.com/org --write
  tokenctl setup docker example.azurecr.io --write
  tokenctl setup kubectl --profile aks --undo

Shows what has to change in a tool's configuration so that it asks tokend for
credentials. --write makes the change, --undo takes it back. setup never changes
what others wrote. HOST is one of the profile's hosts.

Tools:
`

func setupCommand(e *ui.Env) *cli.Command {
	text := setupText
	for _, t := range setup.Tools {
		text += fmt.Sprintf("  %-10s %s\n", t.Name, t.Doc)
	}
	var r setup.Request
	var write, undo bool
	return &cli.Command{
		Name:     "setup",
		Args:     "TOOL [HOST]",
		Short:    "Have another tool ask tokend for credentials",
		Long:     text,
		Check:    cli.AnyArgs,
		Complete: completeTool,
		Flags: func(f *cli.Flags) {
			f.StringVar(&r.Profile, "profile", "", "use the tokens of profile `NAME` only")
			f.BoolVar(&write, "write", false, "make the change")
			f.BoolVar(&undo, "undo", false, "take the change back")
			f.Complete("profile", e.CompleteProfiles)
		},
		Run: func(ctx context.Context, c *cli.Call) error {
			t, err := readSetup(ctx, e, &r, c.Args)
			if err != nil {
				return err
			}
			if write && undo {
				return cli.Usage("--write and --undo exclude each other")
			}
			changes, err := t.Changes(r)
			switch {
			case err != nil:
				return err
			case undo:
				return undoSetup(e, changes)
			case write:
				return writeSetup(e, t, changes)
			}
			return showSetup(e, changes)
		},
	}
}

func completeTool(args []string) (tools []cli.Candidate) {
	if len(args) > 0 {
		return nil
	}
	for _, t := range setup.Tools {
		tools = append(tools, cli.Candidate{Text: t.Name, Doc: t.Doc})
	}
	return tools
}

// readSetup reads what to set up, and warns if tokend has no profile for it.
func readSetup(ctx context.Context, e *ui.Env, r *setup.Request, args []string) (setup.Tool, error) {
	if len(args) == 0 {
		return setup.Tool{}, cli.Usage("Which tool? There are %s", strings.Join(toolNames(), ", "))
	}
	t, ok := setup.Named(args[0])
	if !ok {
		return t, cli.Usage("there is no tool %q%s; there are %s", args[0], cli.DidYouMean(args[0], toolNames()), strings.Join(toolNames(), ", "))
	}
	if len(args) > 2 {
		return t, cli.Usage("setup takes a tool and a host, not %d arguments", len(args))
	}
	var err error
	if r.Self, err = os.Executable(); err != nil {
		return t, err
	}
	profiles := e.Profiles(ctx)
	if len(args) == 2 {
		r.Host = strings.TrimPrefix(args[1], "sparse+")
		if !strings.Contains(r.Host, "://") {
			r.Host = "https://" + r.Host
		}
		r.Host = strings.TrimSuffix(r.Host, "/")
		if err := token.CheckHost(r.Host); err != nil {
			return t, cli.Usage("%v", err)
		}
		matches := matchingProfiles(profiles, r)
		if r.Profile == "" && t.NeedsProfile && len(matches) == 1 {
			r.Profile = matches[0]
		}
		if len(matches) == 0 {
			e.Notef("No profile covers %s yet: add it to hosts in a profile's file and run tokenctl reload; or give --host %s to tokenctl add.", r.Host, r.Host)
		}
	}
	switch {
	case t.NeedsHost && r.Host == "":
		return t, cli.Usage("Which host? tokenctl setup %s HOST%s", t.Name, listHosts(profiles))
	case t.NeedsProfile && r.Profile == "":
		return t, cli.Usage("Which profile? Name it with --profile")
	}
	return t, nil
}

func toolNames() (names []string) {
	for _, t := range setup.Tools {
		names = append(names, t.Name)
	}
	return names
}

// matchingProfiles are the profiles with a host that covers the request's, or
// is below it.
func matchingProfiles(profiles []token.ProfileStatus, r *setup.Request) (names []string) {
	for _, p := range profiles {
		isBelow := func(h string) bool { return token.Covers([]string{r.Host}, h) }
		if (r.Profile == "" || r.Profile == p.Name) && (token.Covers(p.Hosts, r.Host) || slices.ContainsFunc(p.Hosts, isBelow)) {
			names = append(names, p.Name)
		}
	}
	return names
}

// listHosts continues a message with the hosts that profiles have.
func listHosts(profiles []token.ProfileStatus) string {
	var hosts []string
	for _, p := range profiles {
		hosts = append(hosts, p.Hosts...)
	}
	if len(hosts) == 0 {
		return ""
	}
	slices.Sort(hosts)
	return "; your profiles have " + strings.Join(slices.Compact(hosts), ", ")
}

const isSetUp = "It is set up already."

func showSetup(e *ui.Env, changes []setup.Change) error {
	shown := false
	for _, change := range changes {
		done, err := change.Done()
		if err == nil && done {
			continue
		}
		shown = true
		e.Out.Print(printableLines(change.Show()))
		if err != nil {
			e.Note("That cannot be done as things are: " + err.Error())
		}
	}
	if shown {
		e.Note("To make this change, run the command again with --write.")
	} else {
		e.Note(isSetUp)
	}
	return nil
}

func writeSetup(e *ui.Env, t setup.Tool, changes []setup.Change) error {
	// All are checked before one is made.
	for _, change := range changes {
		if _, err := change.Done(); err != nil {
			return err
		}
	}
	made := false
	for _, change := range changes {
		if done, err := change.Done(); err != nil || done {
			continue
		}
		if err := change.Make(); err != nil {
			return err
		}
		made = true
		e.Out.Print(printableLines(change.Show()))
	}
	if made {
		e.Notef("%s asks tokend now. To take that back, run the command again with --undo.", t.Name)
	} else {
		e.Note(isSetUp)
	}
	return nil
}

func undoSetup(e *ui.Env, changes []setup.Change) error {
	var failed error
	for _, change := range slices.Backward(changes) {
		failed = errors.Join(failed, change.Undo())
	}
	if failed == nil {
		e.Note("It is not set up any more.")
	}
	return failed
}

// printableLines is Printable for text of several lines.
func printableLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.ReplaceAll(ui.Printable(strings.TrimSuffix(line, "\n")), "\\t", "\t") + "\n")
	}
	return b.String()
}
