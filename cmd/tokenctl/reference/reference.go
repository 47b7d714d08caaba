// Package reference tells what commands and flags a program has, for the man
// pages: a hidden command prints them as JSON. Help and man pages thus say the
// same, and no program links what makes man pages.
package reference

import (
	"encoding/json"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Name is what the hidden command is called.
const Name = "__reference"

// FlagGroup annotates a flag with the heading that it stands under.
const FlagGroup = "group"

// Inherited is the heading of the flags that every command has.
const Inherited = "Flags of every command"

// A Command is a command with all its subcommands that people may type.
type Command struct {
	// Name is the whole of it: "tokenctl get".
	Name string `json:"name"`
	// Usage is how it is called.
	Usage string `json:"usage"`
	Short string `json:"short"`
	// Long begins with examples, which are indented.
	Long     string    `json:"long"`
	Flags    []Flag    `json:"flags"`
	Commands []Command `json:"commands"`
}

// A Flag is a flag of a command, or of all commands of the program.
type Flag struct {
	Name      string `json:"name"`
	Shorthand string `json:"shorthand,omitempty"`
	// Value names what the flag takes; empty if that is nothing.
	Value string `json:"value,omitempty"`
	Doc   string `json:"doc"`
	// Default is empty if there is none to speak of.
	Default string `json:"default,omitempty"`
	// Group is the heading that it stands under, empty for the usual one.
	Group string `json:"group,omitempty"`
}

// New makes the hidden command of a program.
func New() *cobra.Command {
	return &cobra.Command{
		Use:    Name,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "\t")
			e.SetEscapeHTML(false)
			return e.Encode(of(c.Root()))
		},
	}
}

// of describes c. cobra's own commands, help and completion, are left out.
func of(c *cobra.Command) Command {
	c.InitDefaultHelpFlag()
	d := Command{Name: c.CommandPath(), Usage: c.UseLine(), Short: c.Short, Long: c.Long}
	c.LocalFlags().SortFlags = false
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			d.Flags = append(d.Flags, flag(f))
		}
	})
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		inherited := flag(f)
		inherited.Group = Inherited
		d.Flags = append(d.Flags, inherited)
	})
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
			d.Commands = append(d.Commands, of(sub))
		}
	}
	return d
}

// noDefaults are the values that say nothing.
var noDefaults = []string{"", "0", "0s", "false", "[]"}

func flag(f *pflag.Flag) Flag {
	d := Flag{Name: f.Name, Shorthand: f.Shorthand}
	d.Value, d.Doc = pflag.UnquoteUsage(f)
	if !slices.Contains(noDefaults, f.DefValue) {
		d.Default = f.DefValue
	}
	if group := f.Annotations[FlagGroup]; len(group) > 0 {
		d.Group = group[0]
	}
	return d
}
