package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tokend/cmd/tokenctl/setup"
	"tokend/providers/token"
)

const setupText = `  tokenctl setup git https://dev.azure.com/org
  tokenctl setup git https://dev.azure.com/org --write
  tokenctl setup docker example.azurecr.io --write
  tokenctl setup kubectl --profile aks --undo

Shows what has to change in a tool's configuration so that it asks tokend for
credentials. --write makes the change, --undo takes it back. What somebody else
wrote is never changed. HOST is what the profile has in its hosts.

Tools:
`

func (a *app) setupCommand() *cobra.Command {
	var names []cobra.Completion
	text := setupText
	for _, t := range setup.Tools {
		names = append(names, cobra.CompletionWithDesc(t.Name, t.Doc))
		text += fmt.Sprintf("  %-10s %s\n", t.Name, t.Doc)
	}
	var w setup.Wish
	var write, undo bool
	c := &cobra.Command{
		Use:               "setup TOOL [HOST]",
		Short:             "Have another tool ask tokend for credentials",
		Long:              text,
		ValidArgsFunction: cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := a.readWish(c, &w, args)
			if err != nil {
				return err
			}
			if write && undo {
				return usage("--write and --undo exclude each other")
			}
			changes, err := t.Changes(w)
			switch {
			case err != nil:
				return err
			case undo:
				return a.undoSetup(changes)
			case write:
				return a.writeSetup(t, changes)
			}
			return a.showSetup(changes)
		},
	}
	f := c.Flags()
	f.StringVar(&w.Profile, "profile", "", "ask for the tokens of `NAME` alone")
	f.BoolVar(&write, "write", false, "make the change")
	f.BoolVar(&undo, "undo", false, "take the change back")
	return c
}

// readWish reads what is to be set up, and warns if tokend has nothing for it.
func (a *app) readWish(c *cobra.Command, w *setup.Wish, args []string) (setup.Tool, error) {
	if len(args) == 0 {
		return setup.Tool{}, usage("say which tool; there are %s", strings.Join(toolNames(), ", "))
	}
	t, ok := setup.Named(args[0])
	if !ok {
		return t, usage("there is no tool %q%s; there are %s", args[0], didYouMean(args[0], toolNames()), strings.Join(toolNames(), ", "))
	}
	if len(args) > 2 {
		return t, usage("setup takes a tool and a host and got %d arguments", len(args))
	}
	var err error
	if w.Self, err = os.Executable(); err != nil {
		return t, err
	}
	profiles := a.profiles(c.Context())
	if len(args) == 2 {
		w.Host = strings.TrimPrefix(args[1], "sparse+")
		if !strings.Contains(w.Host, "://") {
			w.Host = "https://" + w.Host
		}
		w.Host = strings.TrimSuffix(w.Host, "/")
		if err := token.CheckHost(w.Host); err != nil {
			return t, usage("%v", err)
		}
		claims := claimants(profiles, w)
		if w.Profile == "" && t.NeedsProfile && len(claims) == 1 {
			w.Profile = claims[0]
		}
		if len(claims) == 0 {
			a.note([]string{fmt.Sprintf("No profile claims %s yet: add it to the hosts of one, in its file, and run tokenctl reload; or give --host %s to tokenctl add.", w.Host, w.Host)})
		}
	}
	switch {
	case t.NeedsHost && w.Host == "":
		return t, usage("say for which host: tokenctl setup %s HOST%s", t.Name, hostsOf(profiles))
	case t.NeedsProfile && w.Profile == "":
		return t, usage("name the profile with --profile")
	}
	return t, nil
}

func toolNames() (names []string) {
	for _, t := range setup.Tools {
		names = append(names, t.Name)
	}
	return names
}

// claimants are the profiles that have something for a wish's host.
func claimants(profiles []token.ProfileStatus, w *setup.Wish) (names []string) {
	for _, p := range profiles {
		under := func(h string) bool { return token.Covers([]string{w.Host}, h) }
		if (w.Profile == "" || w.Profile == p.Name) && (token.Covers(p.Hosts, w.Host) || slices.ContainsFunc(p.Hosts, under)) {
			names = append(names, p.Name)
		}
	}
	return names
}

// hostsOf lists the hosts that there are profiles for.
func hostsOf(profiles []token.ProfileStatus) string {
	var hosts []string
	for _, p := range profiles {
		hosts = append(hosts, p.Hosts...)
	}
	if len(hosts) == 0 {
		return ""
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	return "; the profiles have " + strings.Join(hosts, ", ")
}

func (a *app) showSetup(changes []setup.Change) error {
	todo := false
	for _, change := range changes {
		done, err := change.Done()
		if err == nil && done {
			continue
		}
		todo = true
		a.out.print(printableLines(change.Show()))
		if err != nil {
			a.note([]string{"As it is, that would not do: " + err.Error()})
		}
	}
	if !todo {
		a.note([]string{"It is set up already."})
		return nil
	}
	a.note([]string{"To make this change: the same command with --write."})
	return nil
}

func (a *app) writeSetup(t setup.Tool, changes []setup.Change) error {
	// All are looked at before one is made.
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
		a.out.print(printableLines(change.Show()))
	}
	if !made {
		a.note([]string{"It is set up already."})
		return nil
	}
	a.note([]string{fmt.Sprintf("%s asks tokend now. To take that back: the same command with --undo.", t.Name)})
	return nil
}

func (a *app) undoSetup(changes []setup.Change) error {
	var failed error
	for _, change := range slices.Backward(changes) {
		failed = errors.Join(failed, change.Undo())
	}
	if failed == nil {
		a.note([]string{"It is not set up any more."})
	}
	return failed
}

// printableLines is printable for text of several lines.
func printableLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.ReplaceAll(printable(strings.TrimSuffix(line, "\n")), "\\t", "\t") + "\n")
	}
	return b.String()
}
