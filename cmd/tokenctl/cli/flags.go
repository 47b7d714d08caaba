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
	set  *flag.FlagSet
	list []*Flag
	// shared are those of list that the commands below have too.
	shared  []*Flag
	heading string
	// refused is why a value was refused. Package flag quotes the value beside it,
	// which may be a secret.
	refused error
}

// A Flag is a flag of a command.
type Flag struct {
	FlagReference
	read     func(text string) error
	complete Completer
	given    bool
}

// InheritedFlags is the heading of flags of the commands above.
const InheritedFlags = "Flags of every command"

// newFlags returns the flags of a command, given those that it has from above.
func newFlags(c *Command, above []*Flag) *Flags {
	f := &Flags{set: flag.NewFlagSet(c.Name, flag.ContinueOnError)}
	f.set.SetOutput(io.Discard)
	if c.Flags != nil {
		c.Flags(f)
	}
	f.heading = ""
	if n := len(f.list); c.Shared != nil {
		c.Shared(f)
		f.shared = slices.Clone(f.list[n:])
	}
	f.BoolVarP(new(bool), "help", "h", false, "show this help")
	slices.SortStableFunc(f.list, func(a, b *Flag) int { return cmp.Compare(min(1, len(a.Group)), min(1, len(b.Group))) })
	f.shared = append(f.shared, above...)
	f.heading = InheritedFlags
	for _, flag := range above {
		f.add(flag.FlagReference, flag.read)
	}
	return f
}

// Heading has the flags that are defined from now on stand under text.
func (f *Flags) Heading(text string) { f.heading = text }

// Complete has shells complete the flag's value by list.
func (f *Flags) Complete(flag string, list Completer) { f.Lookup(flag).complete = list }

// Lookup returns the flag of that name or letter, nil if there is none.
func (f *Flags) Lookup(name string) *Flag {
	i := slices.IndexFunc(f.list, func(flag *Flag) bool { return name != "" && (flag.Name == name || flag.Shorthand == name) })
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

// add defines a flag whose text is handed to read. It takes a value if r or its
// Doc, between backquotes, names one.
func (f *Flags) add(r FlagReference, read func(text string) error) {
	if _, value, ok := strings.Cut(r.Doc, "`"); ok {
		r.Value, _, _ = strings.Cut(value, "`")
		r.Doc = strings.ReplaceAll(r.Doc, "`", "")
	}
	r.Group = f.heading
	flag := &Flag{FlagReference: r, read: read}
	set := func(text string) error {
		flag.given = true
		err := read(text)
		if err != nil {
			f.refused = Usage("--%s: %v", r.Name, err)
		}
		return err
	}
	define := f.set.Func
	if r.Value == "" {
		define = f.set.BoolFunc
	}
	define(r.Name, "", set)
	if r.Shorthand != "" {
		define(r.Shorthand, "", set)
	}
	f.list = append(f.list, flag)
}

// StringVar defines a flag for a text.
func (f *Flags) StringVar(p *string, name, standard, usage string) {
	f.StringVarP(p, name, "", standard, usage)
}

// StringVarP is StringVar with a letter.
func (f *Flags) StringVarP(p *string, name, letter, standard, usage string) {
	*p = standard
	r := FlagReference{Name: name, Shorthand: letter, Value: "TEXT", Default: standard, Doc: usage}
	f.add(r, func(text string) error { *p = text; return nil })
}

// ListVar defines a flag that may be repeated.
func (f *Flags) ListVar(p *[]string, name, usage string) {
	f.add(FlagReference{Name: name, Doc: usage}, func(text string) error { *p = append(*p, text); return nil })
}

// BoolVar defines a flag without a value.
func (f *Flags) BoolVar(p *bool, name string, standard bool, usage string) {
	f.BoolVarP(p, name, "", standard, usage)
}

// BoolVarP is BoolVar with a letter.
func (f *Flags) BoolVarP(p *bool, name, letter string, standard bool, usage string) {
	*p = standard
	f.add(FlagReference{Name: name, Shorthand: letter, Doc: usage}, func(text string) (err error) {
		if *p, err = strconv.ParseBool(text); err != nil {
			return errors.New("it takes true or false, or no value")
		}
		return nil
	})
}

// Text defines a flag that calls read with its text, which help calls kind.
func (f *Flags) Text(name, kind, usage string, read func(text string) error) {
	f.add(FlagReference{Name: name, Value: kind, Doc: usage}, func(text string) error {
		if text == "" {
			return errors.New("the value is empty")
		}
		return read(text)
	})
}

// Span defines a flag for a length of time: "10m", or seconds. Its default is
// what *d is before; help leaves out zero.
func (f *Flags) Span(d *time.Duration, name, usage string) {
	r := FlagReference{Name: name, Doc: usage}
	if *d != 0 {
		r.Default = d.String()
	}
	f.add(r, func(text string) error {
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
			return cmp.Or(c.Flags.refused, c.flagError(p, err))
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
func (c *Call) flagError(p *Program, err error) error {
	what, typed, _ := strings.Cut(err.Error(), ": -")
	name, _, _ := strings.Cut(typed, "=") // what follows may be a secret
	if flag := c.Flags.Lookup(name); flag != nil && what == "flag needs an argument" {
		c.lacking = flag
		return Usage("--%s needs a value", flag.Name)
	}
	if p.UnknownFlag != nil {
		if err := p.UnknownFlag(c, name); err != nil {
			return err
		}
	}
	if typed = "--" + name; utf8.RuneCountInString(name) == 1 {
		typed = "-" + name
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
		text += Item(fmt.Sprintf("%-*s", longest, item.Text)+gap, item.Doc)
	}
	return text
}

// item is a flag as help shows it.
func (f *Flag) item() Candidate {
	head, doc := "      --"+f.Name, f.Doc
	if f.Shorthand != "" {
		head = "  -" + f.Shorthand + ", --" + f.Name
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
