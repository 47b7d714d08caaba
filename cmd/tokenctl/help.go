package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tokend/cmd/tokenctl/reference"
)

// width is how wide help, hints and tables are.
const width = 80

// flagGroup annotates a flag with the heading that it stands under in help.
const flagGroup = reference.FlagGroup

// help prints a command's help: examples first, flags last.
func (a *app) help(c *cobra.Command, _ []string) {
	var b strings.Builder
	text := c.Long
	if text == "" {
		text = c.Short
	}
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", strings.TrimRight(text, "\n"), c.UseLine())
	if c.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				fmt.Fprintf(&b, "  %-*s %s\n", c.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	writeFlags(&b, c)
	a.out.print(b.String())
}

// writeFlags writes the flags of c under their headings.
func writeFlags(b *strings.Builder, c *cobra.Command) {
	var headings []string
	groups := map[string]*pflag.FlagSet{}
	c.LocalFlags().SortFlags = false
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		heading := "Flags"
		if said := f.Annotations[flagGroup]; len(said) > 0 {
			heading = said[0]
		}
		if groups[heading] == nil {
			groups[heading] = pflag.NewFlagSet(heading, pflag.ContinueOnError)
			groups[heading].SortFlags = false
			headings = append(headings, heading)
		}
		groups[heading].AddFlag(f)
	})
	for _, heading := range headings {
		fmt.Fprintf(b, "\n%s:\n%s", heading, groups[heading].FlagUsagesWrapped(width))
	}
	if c.HasAvailableInheritedFlags() {
		fmt.Fprintf(b, "\n%s:\n%s", reference.Inherited, c.InheritedFlags().FlagUsagesWrapped(width))
	}
}
