package cli

import (
	"fmt"
	"slices"
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
	*pflag.FlagSet
	// inherited are the flags of the commands above, shared those for the
	// commands below.
	inherited, shared *pflag.FlagSet
	headings          []heading
	completers        map[string]Completer
}

// A heading stands over the flags from a position on.
type heading struct {
	from int
	text string
}

func newFlags() *Flags {
	return &Flags{FlagSet: newSet(), inherited: newSet(), shared: newSet(), completers: map[string]Completer{}}
}

func newSet() *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = false
	return set
}

// enter returns the flags of a command below the one that has f.
func (f *Flags) enter(c *Command) *Flags {
	own := newFlags()
	own.inherited.AddFlagSet(f.inherited)
	own.inherited.AddFlagSet(f.shared)
	own.completers = f.completers
	if c.Flags != nil {
		c.Flags(own)
	}
	if c.Shared != nil {
		c.Shared(&Flags{FlagSet: own.shared, completers: own.completers})
	}
	own.AddFlagSet(own.shared)
	own.BoolP("help", "h", false, "show this help")
	own.AddFlagSet(own.inherited)
	if len(c.Commands) > 0 {
		own.SetInterspersed(false) // what follows the subcommand is its own
	}
	return own
}

// Heading has the flags that are defined from now on stand under text.
func (f *Flags) Heading(text string) {
	n := 0
	f.VisitAll(func(*pflag.Flag) { n++ })
	f.headings = append(f.headings, heading{n, text})
}

// Complete has shells complete the flag's value by list.
func (f *Flags) Complete(flag string, list Completer) { f.completers[flag] = list }

// isSet reports whether a flag without a value was given.
func (f *Flags) isSet(name string) bool {
	flag := f.Lookup(name)
	return flag != nil && flag.Value.String() == "true"
}

// visit calls do for the flags that people may give.
func (f *Flags) visit(do func(*pflag.Flag)) {
	f.VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden {
			do(flag)
		}
	})
}

// A group is the flags under one heading.
type group struct {
	heading string
	flags   *pflag.FlagSet
}

// groups returns the command's own flags by their headings, and then the
// inherited ones.
func (f *Flags) groups() []group {
	var groups []group
	add := func(heading string, flag *pflag.Flag) {
		i := slices.IndexFunc(groups, func(g group) bool { return g.heading == heading })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{heading, newSet()})
		}
		groups[i].flags.AddFlag(flag)
	}
	n := 0
	f.VisitAll(func(flag *pflag.Flag) {
		heading := ownFlags
		for _, h := range f.headings {
			if h.from <= n {
				heading = h.text
			}
		}
		switch n++; {
		case flag.Hidden:
		case f.inherited.Lookup(flag.Name) != nil:
			add(InheritedFlags, flag)
		case flag.Name == "help":
			add(ownFlags, flag)
		default:
			add(heading, flag)
		}
	})
	return groups
}

// The headings of flags that were given none.
const (
	ownFlags       = "Flags"
	InheritedFlags = "Flags of every command"
)

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
	for _, g := range c.Flags.groups() {
		fmt.Fprintf(&b, "\n%s:\n%s", g.heading, g.flags.FlagUsagesWrapped(width))
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

// A Span is a flag for a length of time: "10m", or seconds.
type Span time.Duration

// Set implements pflag.Value.
func (s *Span) Set(text string) error {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		*s = Span(time.Duration(seconds) * time.Second)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a time such as 90s, 10m or 2h", text)
	}
	*s = Span(d)
	return nil
}

// String implements pflag.Value. Zero is empty, which help leaves out.
func (s *Span) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

// Type implements pflag.Value.
func (s *Span) Type() string { return "TIME" }
