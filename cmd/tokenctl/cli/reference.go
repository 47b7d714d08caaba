package cli

import (
	"context"
	"encoding/json"
)

// ReferenceCommand is the hidden command that prints a Reference as JSON, for
// the man pages and docs/reference. So they say what the help says, and no
// program links what makes pages.
const ReferenceCommand = "__reference"

// A Reference describes a command and those below it.
type Reference struct {
	// Name is the command from the program on: "tokenctl get".
	Name string `json:"name"`
	// Usage is the usage line.
	Usage string `json:"usage"`
	Short string `json:"short"`
	// Long begins with examples, which are indented.
	Long     string          `json:"long"`
	Flags    []FlagReference `json:"flags"`
	Commands []Reference     `json:"commands"`
}

// A FlagReference describes a flag.
type FlagReference struct {
	Name      string `json:"name"`
	Shorthand string `json:"shorthand,omitempty"`
	// Value names what the flag takes, empty if it takes nothing.
	Value string `json:"value,omitempty"`
	Doc   string `json:"doc"`
	// Default is empty if it goes without saying.
	Default string `json:"default,omitempty"`
	// Group is the heading, empty for the usual one.
	Group string `json:"group,omitempty"`
}

func (p *Program) printReference(context.Context, *Call) error {
	e := json.NewEncoder(p.Out)
	e.SetIndent("", "\t")
	e.SetEscapeHTML(false)
	return e.Encode(p.start().reference()) // without the commands that every program has
}

func (c *Call) reference() Reference {
	r := Reference{Name: c.Path, Usage: c.usage(), Short: c.Command.Short, Long: c.Command.Long}
	for _, flag := range c.Flags.list {
		r.Flags = append(r.Flags, flag.FlagReference)
	}
	for _, sub := range c.subcommands() {
		below := *c
		below.enter(sub)
		r.Commands = append(r.Commands, below.reference())
	}
	return r
}
