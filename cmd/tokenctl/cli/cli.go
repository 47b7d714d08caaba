// Package cli is the command line of tokend and tokenctl: a tree of commands
// whose flags are those of package flag and may follow arguments, help,
// completions for shells, and a description of it all for the man pages. Only
// the command that is called builds its flags: programs launch tokenctl for
// every request of theirs.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"tokend/providers/token"
)

// A Program is a tree of commands, to which help and completion are added.
type Program struct {
	// Root is called when no command is named.
	Root *Command
	// Shared defines the flags of every command.
	Shared func(*Flags)
	// Out takes help and completions.
	Out io.Writer
	// Version returns what --version prints.
	Version func() string
	// UnknownFlag may word the error for a flag that does not exist. A nil
	// result, or a nil UnknownFlag, means the usual words.
	UnknownFlag func(c *Call, name string) error
}

// A Command is one word of the command line and what it does.
type Command struct {
	Name string
	// Args are the arguments in the usage line: "NAME [FILE]".
	Args string
	// Short is one line, without a period.
	Short string
	// Long begins with examples, indented by two spaces.
	Long string
	// Hidden commands are in no help, completion or page.
	Hidden bool
	// RawArgs are not searched for flags.
	RawArgs bool
	// FlagsFirst: what follows the first argument is not searched for flags.
	FlagsFirst bool
	// Flags defines the flags of this command.
	Flags func(*Flags)
	// Check checks the arguments. If it is nil, the command takes none.
	Check func(context.Context, *Call) error
	// Complete lists what may follow the arguments so far. If it is nil,
	// shells complete names of files.
	Complete Completer
	// Run does it. If it is nil, the command prints its help.
	Run func(context.Context, *Call) error
	// Commands are the subcommands, in the order of the help.
	Commands []*Command
	// New makes the command when it is needed, from which all but its Name is
	// taken. With many commands this saves the time to make them all.
	New func() *Command
}

// A Call is a command with the flags and arguments that were given.
type Call struct {
	Command *Command
	// Path is the command from the program on: "tokenctl keystore migrate".
	Path  string
	Flags *Flags
	Args  []string
	// Dash is how many arguments stand before "--", -1 if there is none.
	Dash int

	lacking *Flag // which came last, without its value
}

// Name is the command as it is typed after the program.
func (c *Call) Name() string {
	if _, name, ok := strings.Cut(c.Path, " "); ok {
		return name
	}
	return c.Path
}

// ErrUsage is the cause of errors about how a command was typed.
var ErrUsage = errors.New("wrong usage")

// Usage returns an error about how a command was typed.
func Usage(format string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(format, args...), Cause: ErrUsage}
}

// AnyArgs is a Check that accepts any arguments.
func AnyArgs(context.Context, *Call) error { return nil }

// Execute runs the command that args name. The Call is never nil, so that an
// error can be explained by it.
func (p *Program) Execute(ctx context.Context, args []string) (*Call, error) {
	switch {
	case len(args) == 0:
	case args[0] == completeCommand:
		return p.start(), p.printCandidates(args[1:])
	case args[0] == ReferenceCommand:
		e := json.NewEncoder(p.Out)
		e.SetIndent("", "\t")
		e.SetEscapeHTML(false)
		return p.start(), e.Encode(p.reference(p.start())) // without the commands that every program has
	}
	c, err := p.parse(args)
	if err != nil {
		return c, err
	}
	switch {
	case c.Flags.Changed("help"):
		return c, p.print(c.Help())
	case c.Path == p.Root.Name && c.Flags.Changed(versionFlag):
		return c, p.print(p.Version() + "\n")
	case c.Command.Check == nil:
		if len(c.Args) > 0 && len(c.Command.Commands) > 0 {
			err = Usage("there is no command %q%s", c.Args[0], DidYouMean(c.Args[0], texts(c.subcommandCandidates())))
		} else if len(c.Args) > 0 {
			err = Usage("%s takes no arguments, but got %q", c.Name(), c.Args[0])
		}
	default:
		err = c.Command.Check(ctx, c)
	}
	switch {
	case err != nil:
		return c, err
	case c.Command.Run == nil:
		return c, p.print(c.Help())
	}
	return c, c.Command.Run(ctx, c)
}

func (p *Program) print(text string) error {
	_, err := io.WriteString(p.Out, text)
	return err
}

// parse finds the command that args name and parses its flags.
func (p *Program) parse(args []string) (*Call, error) {
	c := p.start(p.builtins()...)
	for {
		if c.Command.RawArgs {
			c.Args = args
			return c, nil
		}
		if err := c.parseFlags(p, args); err != nil {
			return c, err
		}
		i := slices.IndexFunc(c.Command.Commands, func(sub *Command) bool { return len(c.Args) > 0 && sub.Name == c.Args[0] })
		switch {
		case i < 0, c.Flags.Changed("help"):
			return c, nil
		case c.Args[0] == helpCommand:
			args, c.Args = append(c.Args[1:], "--help"), nil
		default:
			args = c.Args[1:]
			c.enter(p, c.Command.Commands[i].made())
		}
	}
}

// versionFlag is a flag of the root alone.
const versionFlag = "version"

// start is the call of the root, before its flags are parsed.
func (p *Program) start(builtins ...*Command) *Call {
	root := *p.Root
	root.Commands = slices.Concat(root.Commands, builtins)
	if p.Version != nil {
		root.Flags = func(f *Flags) { f.BoolVar(new(bool), versionFlag, false, "print the version") }
	}
	c := &Call{}
	c.enter(p, &root)
	return c
}

// made is the command itself, for one that is made when it is needed.
func (c *Command) made() *Command {
	if c.New == nil {
		return c
	}
	return c.New()
}

// enter goes on to a subcommand of the command.
func (c *Call) enter(p *Program, sub *Command) {
	isRoot := c.Command == nil
	c.Command, c.Args, c.Dash = sub, nil, -1
	c.Path = strings.TrimPrefix(c.Path+" "+sub.Name, " ")
	c.Flags = p.newFlags(sub, isRoot)
}

// subcommands are the subcommands that are not hidden.
func (c *Call) subcommands() (list []*Command) {
	for _, sub := range c.Command.Commands {
		if sub = sub.made(); !sub.Hidden {
			list = append(list, sub)
		}
	}
	return list
}

// DidYouMean continues a message with the nearest candidate, if one is near.
func DidYouMean(typed string, candidates []string) string {
	if near := token.Nearest(typed, candidates); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}
