package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Flags are the flags of a command. A usage text names the flag's value
// between backquotes.
type Flags struct {
	list []*Flag
	// shared are those of list that the commands below have too.
	shared  []*Flag
	heading string
	// mixed: flags may follow arguments.
	mixed bool
	// dash is how many arguments stand before "--", -1 if there is none.
	dash int
}

// A Flag is a flag of a command.
type Flag struct {
	FlagReference
	set      func(text string) error
	complete Completer
	given    bool
}

// InheritedFlags is the heading of flags of the commands above.
const InheritedFlags = "Flags of every command"

// enter returns the flags of a command below the one that has f.
func (f *Flags) enter(c *Command) *Flags {
	own := &Flags{dash: -1}
	own.mixed = len(c.Commands) == 0 && !c.FlagsFirst // what follows a subcommand is its own
	if c.Flags != nil {
		c.Flags(own)
	}
	own.heading = ""
	if n := len(own.list); c.Shared != nil {
		c.Shared(own)
		own.shared = slices.Clone(own.list[n:])
	}
	own.BoolVarP(new(bool), "help", "h", false, "show this help")
	slices.SortStableFunc(own.list, func(a, b *Flag) int { return cmp.Compare(min(1, len(a.Group)), min(1, len(b.Group))) })
	for _, above := range f.shared {
		flag := *above
		flag.Group = InheritedFlags
		own.list = append(own.list, &flag)
		own.shared = append(own.shared, above)
	}
	return own
}

// Heading has the flags that are defined from now on stand under text.
func (f *Flags) Heading(text string) { f.heading = text }

// Complete has shells complete the flag's value by list.
func (f *Flags) Complete(flag string, list Completer) { f.Lookup(flag).complete = list }

// Lookup returns the flag of that name, nil if there is none.
func (f *Flags) Lookup(name string) *Flag {
	return f.find(func(flag *Flag) bool { return flag.Name == name })
}

func (f *Flags) find(is func(*Flag) bool) *Flag {
	if i := slices.IndexFunc(f.list, is); i >= 0 {
		return f.list[i]
	}
	return nil
}

// Changed reports whether a flag was given.
func (f *Flags) Changed(name string) bool {
	flag := f.Lookup(name)
	return flag != nil && flag.given
}

// ArgsLenAtDash is how many arguments stand before "--", -1 if there is none.
func (f *Flags) ArgsLenAtDash() int { return f.dash }

// add defines a flag. Help leaves out a default that goes without saying.
func (f *Flags) add(name, short, standard, usage string, set func(text string) error) *Flag {
	flag := &Flag{FlagReference: FlagReference{Name: name, Shorthand: short, Default: standard, Group: f.heading}, set: set}
	_, value, _ := strings.Cut(usage, "`")
	flag.Value, _, _ = strings.Cut(value, "`")
	flag.Doc = strings.ReplaceAll(usage, "`", "")
	f.list = append(f.list, flag)
	return flag
}

// StringVar defines a flag for a text.
func (f *Flags) StringVar(p *string, name, standard, usage string) {
	f.StringVarP(p, name, "", standard, usage)
}

// StringVarP is StringVar with a short name.
func (f *Flags) StringVarP(p *string, name, short, standard, usage string) {
	*p = standard
	flag := f.add(name, short, standard, usage, func(text string) error { *p = text; return nil })
	flag.Value = cmp.Or(flag.Value, "TEXT")
}

// ListVar defines a flag that may be repeated.
func (f *Flags) ListVar(p *[]string, name, usage string) {
	f.add(name, "", "", usage, func(text string) error { *p = append(*p, text); return nil })
}

// BoolVar defines a flag without a value.
func (f *Flags) BoolVar(p *bool, name string, standard bool, usage string) {
	f.BoolVarP(p, name, "", standard, usage)
}

// BoolVarP is BoolVar with a short name.
func (f *Flags) BoolVarP(p *bool, name, short string, standard bool, usage string) {
	*p = standard
	f.add(name, short, "", usage, func(text string) (err error) {
		if *p, err = strconv.ParseBool(text); err != nil {
			return errors.New("it takes true or false, or no value")
		}
		return nil
	})
}

// Text defines a flag that calls read with its text, which help calls kind.
func (f *Flags) Text(name, kind, usage string, read func(text string) error) {
	flag := f.add(name, "", "", usage, func(text string) error {
		if text == "" {
			return errors.New("the value is empty")
		}
		return read(text)
	})
	flag.Value = kind
}

// Span defines a flag for a length of time: "10m", or seconds. Its default is
// what *d is before; help leaves out zero.
func (f *Flags) Span(d *time.Duration, name, usage string) {
	standard := ""
	if *d != 0 {
		standard = d.String()
	}
	f.add(name, "", standard, usage, func(text string) error {
		seconds, err := strconv.ParseUint(text, 10, 31)
		*d = time.Duration(seconds) * time.Second
		if err != nil {
			*d, err = time.ParseDuration(text)
		}
		if err != nil || *d < 0 {
			return fmt.Errorf("%q is not a time such as 90s, 10m or 2h", text)
		}
		return nil
	})
}

// Parse takes the flags that define defines from args, and returns the arguments.
// It is for programs that are not a Program.
func Parse(name string, args []string, define func(*Flags)) ([]string, error) {
	c := &Call{Flags: &Flags{}}
	c.enter(&Command{Name: name, Flags: define})
	err := c.parseFlags(&Program{}, args)
	return c.Args, err
}

// parseFlags takes the flags of the command from args, as getopt_long of GNU
// does, but that no long name may be cut short. Its errors quote no values: they
// may be secrets.
func (c *Call) parseFlags(p *Program, args []string) error {
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "--":
			c.Flags.dash = len(c.Args)
			c.Args = append(c.Args, args...)
			return nil
		case len(word) < 2 || word[0] != '-':
			c.Args = append(c.Args, word)
			if !c.Flags.mixed {
				c.Args = append(c.Args, args...)
				return nil
			}
			continue
		}
		flag, value, joined := c.Flags.named(word)
		switch {
		case flag == nil:
			return p.unknownFlag(c, word)
		case joined:
		case flag.Value == "":
			value = "true"
		case len(args) == 0:
			c.lacking = flag
			return Usage("--%s needs a value", flag.Name)
		default:
			value, args = args[0], args[1:]
		}
		flag.given = true
		if err := flag.set(value); err != nil {
			return Usage("--%s: %v", flag.Name, err)
		}
	}
	return nil
}

// named finds the flag that a word names, and the value in the same word:
// --name=value, -nvalue.
func (f *Flags) named(word string) (flag *Flag, value string, joined bool) {
	if name, ok := strings.CutPrefix(word, "--"); ok {
		name, value, joined = strings.Cut(name, "=")
		return f.Lookup(name), value, joined
	}
	short, value := word[1:2], word[2:]
	flag = f.find(func(flag *Flag) bool { return flag.Shorthand == short })
	if flag != nil && flag.Value == "" && value != "" {
		return nil, "", false // short names are not written together here
	}
	return flag, strings.TrimPrefix(value, "="), value != ""
}

// unknownFlag is the error for a flag that the command does not have.
func (p *Program) unknownFlag(c *Call, word string) error {
	name, _, _ := strings.Cut(word, "=")
	long, ok := strings.CutPrefix(name, "--")
	if !ok {
		return Usage("%s has no flag %s", c.Name(), string([]rune(word)[:2]))
	}
	if p.UnknownFlag != nil {
		if err := p.UnknownFlag(c, long); err != nil {
			return err
		}
	}
	var names []string
	for _, flag := range c.Flags.list {
		names = append(names, "--"+flag.Name)
	}
	return Usage("%s has no flag %s%s", c.Name(), name, DidYouMean(name, names))
}

// Help is a command's help: examples first, flags last.
func (c *Call) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", strings.TrimRight(cmp.Or(c.Command.Long, c.Command.Short), "\n"), c.usage())
	if commands := c.subcommands(); len(commands) > 0 {
		longest := 0
		for _, sub := range commands {
			longest = max(longest, len(sub.Name))
		}
		b.WriteString("\nCommands:\n")
		for _, sub := range commands {
			b.WriteString(Item(fmt.Sprintf("  %-*s  ", longest, sub.Name), sub.Short))
		}
	}
	for rest := c.Flags.list; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Group == rest[0].Group {
			n++
		}
		fmt.Fprintf(&b, "\n%s:\n", cmp.Or(rest[0].Group, "Flags"))
		writeFlags(&b, rest[:n])
		rest = rest[n:]
	}
	return b.String()
}

// writeFlags writes a line for each flag, longer ones on several.
func writeFlags(b *strings.Builder, flags []*Flag) {
	longest := 0
	var heads []string
	for _, flag := range flags {
		head := "      --" + flag.Name
		if flag.Shorthand != "" {
			head = "  -" + flag.Shorthand + ", --" + flag.Name
		}
		heads = append(heads, strings.TrimRight(head+" "+flag.Value, " "))
		longest = max(longest, utf8.RuneCountInString(heads[len(heads)-1]))
	}
	for i, flag := range flags {
		doc := flag.Doc
		if flag.Default != "" {
			doc += " (default: " + flag.Default + ")"
		}
		b.WriteString(Item(fmt.Sprintf("%-*s   ", longest, heads[i]), doc))
	}
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
