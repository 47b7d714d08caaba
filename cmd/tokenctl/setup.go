package main

import (
	"cmp"
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

Shows the change to a tool's configuration that lets it ask tokend for
credentials. --write makes the change, --undo reverts it. setup never changes
what others wrote. HOST is one of the profile's hosts.

Tools:
`

func setupCommand(e *ui.Env) *cli.Command {
	text := setupText
	var tools []cli.Candidate
	for _, t := range setup.Tools {
		tools = append(tools, cli.Candidate{Text: t.Name, Doc: t.Doc})
		text += fmt.Sprintf("  %-10s %s\n", t.Name, t.Doc)
	}
	var r setup.Request
	var write, undo bool
	return &cli.Command{
		Name:     "setup",
		Args:     "TOOL [HOST]",
		Short:    "Let another tool ask tokend for credentials",
		Long:     text,
		Check:    cli.AnyArgs,
		Complete: cli.First(func() []cli.Candidate { return tools }),
		Flags: func(f *cli.Flags) {
			f.StringVar(&r.Profile, "profile", "", "use the tokens of profile `NAME` only")
			f.BoolVar(&write, "write", false, "make the change")
			f.BoolVar(&undo, "undo", false, "revert the change")
			f.Complete("profile", e.CompleteProfiles)
		},
		Run: func(ctx context.Context, c *cli.Call) error {
			if write && undo {
				return cli.Usage("use --write or --undo, not both")
			}
			t, err := readSetup(ctx, e, &r, c.Args)
			if err != nil {
				return err
			}
			changes, err := t.Changes(r)
			if err != nil {
				return err
			}
			if undo {
				for _, change := range slices.Backward(changes) {
					err = errors.Join(err, change.Undo())
				}
				if err == nil {
					e.Note("The setup is removed.")
				}
				return err
			}
			return makeSetup(e, t, r, changes, write)
		},
	}
}

// readSetup reads what to set up, and warns if tokend has no profile for it.
func readSetup(ctx context.Context, e *ui.Env, r *setup.Request, args []string) (setup.Tool, error) {
	var names []string
	for _, t := range setup.Tools {
		names = append(names, t.Name)
	}
	if len(args) == 0 || len(args) > 2 {
		return setup.Tool{}, cli.Usage("Which tool, and for most of them which host? There are %s", strings.Join(names, ", "))
	}
	i := slices.Index(names, args[0])
	if i < 0 {
		return setup.Tool{}, cli.Usage("there is no tool %q%s; there are %s", args[0], cli.DidYouMean(args[0], names), strings.Join(names, ", "))
	}
	t, err := setup.Tools[i], error(nil)
	if r.Self, err = os.Executable(); err != nil {
		return t, err
	}
	if len(args) == 2 {
		if err := readHost(ctx, e, t, r, args[1]); err != nil {
			return t, err
		}
	}
	if err := r.Find(); err != nil {
		return t, err
	}
	switch {
	case t.NeedsHost && r.Host == "":
		return t, cli.Usage("Which host? tokenctl setup %s HOST", t.Name)
	case t.NeedsProfile && r.Profile == "":
		return t, cli.Usage("Which profile? Name it with --profile")
	}
	return t, nil
}

// readHost reads the host, and the profile if the tool needs one and there is
// only one for that host.
func readHost(ctx context.Context, e *ui.Env, t setup.Tool, r *setup.Request, host string) error {
	r.Host = strings.TrimPrefix(host, "sparse+")
	if !strings.Contains(r.Host, "://") {
		r.Host = "https://" + r.Host
	}
	r.Host = token.WithoutUser(strings.TrimSuffix(r.Host, "/"))
	if _, err := token.ParseHost(r.Host); err != nil {
		return cli.Usage("%v", err)
	}
	var matches []string
	for _, p := range e.Profiles(ctx) { // whose hosts cover that one, or are below it
		isBelow := func(h string) bool { return token.Covers([]string{r.Host}, h) }
		wanted, _, _ := strings.Cut(r.Profile, "/")
		if hosts := p.AllHosts(); (wanted == "" || wanted == p.Name) && (token.Covers(hosts, r.Host) || slices.ContainsFunc(hosts, isBelow)) {
			matches = append(matches, p.Name)
		}
	}
	if r.Profile == "" && t.NeedsProfile && len(matches) == 1 {
		r.Profile = matches[0]
	}
	if len(matches) == 0 {
		e.Notef("No profile covers %s yet: add it to hosts in a profile's file and run tokenctl reload; or give --host %s to tokenctl add.", r.Host, r.Host)
	}
	return nil
}

// makeSetup shows what is not in place yet of the changes, and makes it if it is
// to write.
func makeSetup(e *ui.Env, t setup.Tool, r setup.Request, changes []setup.Change, write bool) error {
	var missing []setup.Change
	var conflict error
	for _, change := range changes {
		done, err := change.Done()
		conflict = cmp.Or(conflict, err)
		if !done || err != nil {
			missing = append(missing, change)
		}
	}
	if write && conflict != nil { // all are checked before one is made
		return conflict
	}
	for _, change := range missing {
		if write {
			if err := change.Make(); err != nil {
				return err
			}
			if done, err := change.Done(); err != nil || !done {
				return cmp.Or(err, fmt.Errorf("this change was made but is not in effect: %s", change.Show))
			}
		}
		for line := range strings.Lines(change.Show) {
			e.Out.Print(ui.Printable(strings.TrimSuffix(line, "\n")) + "\n")
		}
	}
	lacks, fix := "", ""
	if t.Missing != nil {
		lacks, fix = t.Missing(r)
	}
	switch {
	case lacks != "" && (len(missing) == 0 || write):
		e.Notef("%s does not ask tokend yet: %s %s", t.Name, lacks, ui.Typed(fix))
	case len(missing) == 0:
		e.Note("It is set up already.")
	case write:
		e.Notef("%s asks tokend now. To revert it, run the command again with --undo.", t.Name)
	case conflict != nil:
		e.Note("This cannot be done: " + conflict.Error())
	default:
		e.Note("To make this change, run the command again with --write.")
	}
	return nil
}
