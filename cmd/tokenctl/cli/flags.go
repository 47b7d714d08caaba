package cli

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Flags are the flags of a command: those of package flag, in the order of the
// help, under headings, and with a letter for some. A usage text names the flag's
// value between backquotes.
type Flags struct {
	set     *flag.FlagSet
	list    []*Flag
	heading string
	// refused is why a value was refused. Package flag quotes the value beside it,
	// which may be a secret.
	refused error
}

// A Flag is a flag of a command.
type Flag struct {
	Name   string `json:"name"`
	Letter string `json:"shorthand,omitempty"`
	// Value names what the flag takes, empty if it takes nothing.
	Value string `json:"value,omitempty"`
	Doc   string `json:"doc"`
	// Default is empty if it goes without saying.
	Default string `json:"default,omitempty"`
	// Group is the heading, empty for the usual one.
	Group string `json:"group,omitempty"`

	complete Completer
	given    bool
}

// InheritedFlags is the heading of flags of the commands above.
const InheritedFlags = "Flags of every command"

// newFlags returns the flags of a command: its own, and those of all commands,
// which the root has among its own.
func (p *Program) newFlags(c *Command, isRoot bool) *Flags {
	f := &Flags{set: flag.NewFlagSet(c.Name, flag.ContinueOnError), list: make([]*Flag, 0, 16)}
	f.set.SetOutput(io.Discard)
	if c.Flags != nil {
		c.Flags(f)
	}
	f.heading = ""
	if isRoot && p.Shared != nil {
		p.Shared(f)
	}
	f.BoolVar(new(bool), "help, h", false, "show this help")
	slices.SortStableFunc(f.list, func(a, b *Flag) int { return cmp.Compare(min(1, len(a.Group)), min(1, len(b.Group))) })
	if f.heading = InheritedFlags; !isRoot && p.Shared != nil {
		p.Shared(f)
	}
	return f
}

// Heading has the flags that are defined from now on stand under text.
func (f *Flags) Heading(text string) { f.heading = text }

// Complete has shells complete the flag's value by list.
func (f *Flags) Complete(flag string, list Completer) { f.Lookup(flag).complete = list }

// Lookup returns the flag of that name or letter, nil if there is none.
func (f *Flags) Lookup(name string) *Flag {
	i := slices.IndexFunc(f.list, func(flag *Flag) bool { return name != "" && (flag.Name == name || flag.Letter == name) })
	if i < 0 {
		return nil
	}
	return f.list[i]
}

// Changed reports whether a flag was given.
func (f *Flags) Changed(name string) bool {
	flag := f.Lookup(name)
	return flag != nil && flag.given
}

// add defines a flag, whose text read takes. Its name may end in a comma and a
// letter that stands for it. It takes a value if Value names one, or Doc between
// backquotes.
func (f *Flags) add(flag Flag, read func(text string) error) {
	if name, letter, ok := strings.Cut(flag.Name, ", "); ok {
		flag.Name, flag.Letter = name, letter
	}
	if _, value, ok := strings.Cut(flag.Doc, "`"); ok {
		flag.Value, _, _ = strings.Cut(value, "`")
		flag.Doc = strings.ReplaceAll(flag.Doc, "`", "") // for people
	}
	flag.Group = f.heading
	f.list = append(f.list, &flag)
	define := f.set.Func
	if flag.Value == "" {
		define = f.set.BoolFunc
	}
	for _, name := range []string{flag.Name, flag.Letter} {
		if name == "" {
			continue
		}
		define(name, "", func(text string) error {
			flag.given = true
			err := read(text)
			if err != nil {
				f.refused = Usage("--%s: %v", flag.Name, err)
			}
			return err
		})
	}
}

// StringVar defines a flag for a text. What *p is already goes before standard.
func (f *Flags) StringVar(p *string, name, standard, usage string) {
	*p = cmp.Or(*p, standard)
	f.add(Flag{Name: name, Value: "TEXT", Default: standard, Doc: usage}, func(text string) error { *p = text; return nil })
}

// ListVar defines a flag that may be repeated.
func (f *Flags) ListVar(p *[]string, name, usage string) {
	f.add(Flag{Name: name, Doc: usage}, func(text string) error { *p = append(*p, text); return nil })
}

// BoolVar defines a flag without a value.
func (f *Flags) BoolVar(p *bool, name string, standard bool, usage string) {
	*p = *p || standard
	f.add(Flag{Name: name, Doc: usage}, func(text string) (err error) {
		if *p, err = strconv.ParseBool(text); err != nil {
			return errors.New("it takes true or false, or no value")
		}
		return nil
	})
}

// Text defines a flag that calls read with its text, which help calls kind.
func (f *Flags) Text(name, kind, usage string, read func(text string) error) {
	f.add(Flag{Name: name, Value: kind, Doc: usage}, func(text string) error {
		if text == "" {
			return errors.New("the value is empty")
		}
		return read(text)
	})
}

// Span defines a flag for a length of time: "10m", or seconds. Its default is
// what *d is before; help leaves out zero.
func (f *Flags) Span(d *time.Duration, name, usage string) {
	flag := Flag{Name: name, Doc: usage}
	if *d != 0 {
		flag.Default = d.String()
	}
	f.add(flag, func(text string) (err error) {
		unit := ""
		if strings.Trim(text, "0123456789") == "" {
			unit = "s"
		}
		if *d, err = time.ParseDuration(text + unit); err != nil || *d < 0 {
			return fmt.Errorf("%q is not a time such as 90s, 10m or 2h", text)
		}
		return nil
	})
}

// Parse takes the flags that define defines from args, and returns the arguments.
// It is for programs that are not a Program.
func Parse(name string, args []string, define func(*Flags)) ([]string, error) {
	p := &Program{Root: &Command{Name: name, Flags: define}}
	c := p.start()
	err := c.parseFlags(p, args)
	return c.Args, err
}

// parseFlags takes the flags of the command from args. They may follow arguments,
// up to "--", unless what follows the first argument belongs to something else.
func (c *Call) parseFlags(p *Program, args []string) error {
	isMixed := len(c.Command.Commands) == 0 && !c.Command.FlagsFirst
	var behind []string
	dash := slices.Index(args, "--")
	if isMixed && dash >= 0 {
		args, behind = args[:dash], args[dash+1:]
	}
	for len(args) > 0 {
		if err := c.Flags.set.Parse(args); err != nil {
			return cmp.Or(c.Flags.refused, c.flagError(p, args, err))
		}
		args = c.Flags.set.Args()
		n := len(args)
		if isMixed {
			n = min(1, n)
		}
		c.Args, args = append(c.Args, args[:n]...), args[n:]
	}
	if isMixed && dash >= 0 {
		c.Dash = len(c.Args)
		c.Args = append(c.Args, behind...)
	}
	return nil
}

// flagError words what package flag says about a flag's name. A value that was
// refused is not its case.
func (c *Call) flagError(p *Program, args []string, err error) error {
	what, name, _ := strings.Cut(err.Error(), ": -")
	name, _, _ = strings.Cut(name, "=") // what follows may be a secret
	if flag := c.Flags.Lookup(name); flag != nil && what == "flag needs an argument" {
		c.lacking = flag
		return Usage("--%s needs a value", flag.Name)
	}
	if p.UnknownFlag != nil {
		if err := p.UnknownFlag(c, name); err != nil {
			return err
		}
	}
	typed := "-" + name
	if slices.ContainsFunc(args, func(word string) bool { return strings.HasPrefix(word, "-"+typed) }) {
		typed = "-" + typed
	}
	return Usage("%s has no flag %s%s", c.Name(), typed, DidYouMean(typed, texts(c.flagCandidates())))
}

// Help is a command's help: examples first, flags last.
func (c *Call) Help() string {
	text := fmt.Sprintf("%s\n\nUsage:\n  %s\n", strings.TrimRight(cmp.Or(c.Command.Long, c.Command.Short), "\n"), c.usage())
	var commands []Candidate
	for _, sub := range c.subcommandCandidates() {
		commands = append(commands, Candidate{"  " + sub.Text, sub.Doc})
	}
	text += itemList("Commands", commands, "  ")
	for rest := c.Flags.list; len(rest) > 0; {
		group := rest[0].Group
		var flags []Candidate
		for ; len(rest) > 0 && rest[0].Group == group; rest = rest[1:] {
			flags = append(flags, rest[0].item())
		}
		text += itemList(cmp.Or(group, "Flags"), flags, "   ")
	}
	return text
}

// itemList is a heading over items, whose texts begin in one column, after a gap.
func itemList(heading string, items []Candidate, gap string) string {
	if len(items) == 0 {
		return ""
	}
	longest := 0
	for _, item := range items {
		longest = max(longest, utf8.RuneCountInString(item.Text))
	}
	text := "\n" + heading + ":\n"
	for _, item := range items {
		text += Wrap(item.Doc, fmt.Sprintf("%-*s", longest, item.Text)+gap)
	}
	return text
}

// item is a flag as help shows it.
func (f *Flag) item() Candidate {
	head, doc := "      --"+f.Name, f.Doc
	if f.Letter != "" {
		head = "  -" + f.Letter + ", --" + f.Name
	}
	if f.Default != "" {
		doc += " (default: " + f.Default + ")"
	}
	return Candidate{strings.TrimRight(head+" "+f.Value, " "), doc}
}

// usage is the usage line.
func (c *Call) usage() string {
	words := []string{c.Path}
	if c.Command.Args != "" {
		words = append(words, c.Command.Args)
	}
	if !c.Command.RawArgs {
		words = append(words, "[flags]")
	}
	return strings.Join(words, " ")
}
