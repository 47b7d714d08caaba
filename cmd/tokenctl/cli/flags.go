package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// width is how wide help is.
const width = 80

// Flags are the flags of a command. A usage text names the flag's value
// between backquotes.
type Flags struct {
	// FlagSet takes definitions, and then holds all flags of the command.
	*pflag.FlagSet
	sections []section
	// shared are the flags that the commands below have too.
	shared     *pflag.FlagSet
	completers map[string]Completer
}

// A section is the flags under one heading.
type section struct {
	heading string
	flags   *pflag.FlagSet
}

// The headings of flags that were given none.
const (
	ownFlags       = "Flags"
	InheritedFlags = "Flags of every command"
)

func newSet() *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = false
	return set
}

// enter returns the flags of a command below the one that has f.
func (f *Flags) enter(c *Command) *Flags {
	own := &Flags{shared: f.shared, completers: f.completers}
	own.Heading(ownFlags)
	if c.Flags != nil {
		c.Flags(own)
	}
	first := own.sections[0].flags
	if c.Shared != nil {
		own.shared = newSet()
		c.Shared(&Flags{FlagSet: own.shared, completers: own.completers})
		first.AddFlagSet(own.shared)
		own.shared.AddFlagSet(f.shared)
	}
	first.BoolP("help", "h", false, "show this help")
	own.sections = append(own.sections, section{InheritedFlags, f.shared})
	own.FlagSet = newSet()
	for _, s := range own.sections {
		own.AddFlagSet(s.flags)
	}
	// What follows a subcommand is its own.
	own.SetInterspersed(len(c.Commands) == 0 && !c.FlagsFirst)
	return own
}

// Heading has the flags that are defined from now on stand under text.
func (f *Flags) Heading(text string) {
	f.FlagSet = newSet()
	f.sections = append(f.sections, section{text, f.FlagSet})
}

// Complete has shells complete the flag's value by list.
func (f *Flags) Complete(flag string, list Completer) { f.completers[flag] = list }

// isSet reports whether a flag without a value was given.
func (f *Flags) isSet(name string) bool {
	flag := f.Lookup(name)
	return flag != nil && flag.Value.String() == "true"
}

// Help is a command's help: examples first, flags last.
func (c *Call) Help() string {
	var b strings.Builder
	text := c.Command.Long
	if text == "" {
		text = c.Command.Short
	}
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", strings.TrimRight(text, "\n"), c.usage())
	if commands := c.subcommands(); len(commands) > 0 {
		longest := 0
		for _, sub := range commands {
			longest = max(longest, len(sub.Name))
		}
		b.WriteString("\nCommands:\n")
		for _, sub := range commands {
			fmt.Fprintf(&b, "  %-*s  %s\n", longest, sub.Name, sub.Short)
		}
	}
	for _, s := range c.Flags.sections {
		if s.flags.HasAvailableFlags() {
			fmt.Fprintf(&b, "\n%s:\n%s", s.heading, s.flags.FlagUsagesWrapped(width))
		}
	}
	return b.String()
}

// usage is the usage line.
func (c *Call) usage() string {
	line := c.Path
	if c.Command.Args != "" {
		line += " " + c.Command.Args
	}
	if c.Command.RawArgs {
		return line
	}
	return line + " [flags]"
}

// A textFlag is a flag that calls read with its text.
type textFlag struct {
	read           func(text string) error
	kind, standard string
}

// Set implements pflag.Value.
func (t textFlag) Set(text string) error {
	if text == "" {
		return errors.New("the value is empty")
	}
	return t.read(text)
}

// String implements pflag.Value.
func (t textFlag) String() string { return t.standard }

// Type implements pflag.Value.
func (t textFlag) Type() string { return t.kind }

// Text defines a flag that calls read with its text, which help calls kind.
func (f *Flags) Text(name, kind, usage string, read func(text string) error) {
	f.Var(textFlag{read: read, kind: kind}, name, usage)
}

// Span defines a flag for a length of time: "10m", or seconds. Its default is
// what *d is before; help leaves out zero.
func (f *Flags) Span(d *time.Duration, name, usage string) {
	span := textFlag{kind: "TIME"}
	if *d != 0 {
		span.standard = d.String()
	}
	span.read = func(text string) (err error) {
		if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
			*d = time.Duration(seconds) * time.Second
			return nil
		}
		if *d, err = time.ParseDuration(text); err != nil || *d < 0 {
			return fmt.Errorf("%q is not a time such as 90s, 10m or 2h", text)
		}
		return nil
	}
	f.Var(span, name, usage)
}
