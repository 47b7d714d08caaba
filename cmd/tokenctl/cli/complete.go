package cli

import (
	"context"
	"embed"
	"strings"
)

// A Candidate is a word that may come next, and what it means.
type Candidate struct{ Text, Doc string }

// A Completer lists what may follow the arguments that a command has so far.
type Completer func(args []string) []Candidate

// First is a Completer of the first argument.
func First(list func() []Candidate) Completer {
	return func(args []string) []Candidate {
		if len(args) > 0 {
			return nil
		}
		return list()
	}
}

// Words is a Completer of fixed words.
func Words(words ...string) Completer {
	return func([]string) (list []Candidate) {
		for _, word := range words {
			list = append(list, Candidate{Text: word})
		}
		return list
	}
}

// The scripts of the shells. They call completeCommand with the words up to the
// cursor, and get a line for each candidate: the word, a tab and its meaning.
// Where files fit, they get the line filesLine.
//
//go:embed complete.bash complete.zsh complete.fish
var scripts embed.FS

const (
	completeCommand = "__complete"
	filesLine       = ":files"
	helpCommand     = "help"
)

// builtins are the commands that every program has. parse takes "help COMMAND" for
// "COMMAND --help".
func (p *Program) builtins() []*Command {
	return []*Command{
		{Name: helpCommand, Args: "[COMMAND...]", Short: "Show the help of a command"},
		{
			Name: "completion", Args: "bash|zsh|fish", Short: "Print the completion script for a shell",
			Long: "  . <(" + p.Root.Name + " completion bash)\n" +
				"  " + p.Root.Name + " completion fish > ~/.config/fish/completions/" + p.Root.Name + ".fish\n\n" +
				"Prints a script that has the shell complete commands, flags and names.",
			Check: AnyArgs, Complete: Words("bash", "zsh", "fish"),
			Run: func(_ context.Context, c *Call) error {
				script, err := scripts.ReadFile("complete." + strings.Join(c.Args, " "))
				if err != nil {
					return Usage("Which shell? There are bash, zsh and fish")
				}
				return p.print(strings.ReplaceAll(string(script), "PROGRAM", p.Root.Name))
			},
		},
	}
}

func (p *Program) printCandidates(words []string) error {
	if len(words) == 0 {
		return nil
	}
	typed := words[len(words)-1]
	list, files := p.candidates(words[:len(words)-1], typed)
	if files {
		return p.print(filesLine + "\n")
	}
	var b strings.Builder
	for _, candidate := range list {
		if strings.HasPrefix(candidate.Text, typed) && !strings.ContainsAny(candidate.Text, "\t\r\n") {
			b.WriteString(candidate.Text + "\t" + strings.Join(strings.Fields(candidate.Doc), " ") + "\n")
		}
	}
	return p.print(b.String())
}

// candidates lists what typed, the last word, may become. It reports whether
// files fit instead.
func (p *Program) candidates(before []string, typed string) (list []Candidate, files bool) {
	c, err := p.parse(before)
	flag, prefix := c.lacking, ""
	if name, _, ok := strings.Cut(strings.TrimLeft(typed, "-"), "="); ok && flag == nil && strings.HasPrefix(typed, "-") && c.Dash < 0 {
		flag, prefix = c.Flags.Lookup(name), "--"+name+"="
	}
	switch {
	case flag != nil && flag.complete == nil:
		return nil, prefix == ""
	case flag != nil:
		for _, candidate := range flag.complete(c.Args) {
			list = append(list, Candidate{prefix + candidate.Text, candidate.Doc})
		}
		return list, false
	case err != nil:
		return nil, false
	case c.Command.RawArgs:
	case c.Dash >= 0:
		return nil, true
	case strings.HasPrefix(typed, "-"):
		return c.flagCandidates(), false
	case len(c.Args) == 0 && len(c.Command.Commands) > 0:
		return c.subcommandCandidates(), false
	}
	if c.Command.Complete == nil {
		return nil, c.Command.Check != nil // without a Check it takes no arguments
	}
	return c.Command.Complete(c.Args), false
}

func (c *Call) flagCandidates() (list []Candidate) {
	for _, flag := range c.Flags.list {
		list = append(list, Candidate{"--" + flag.Name, flag.Doc})
	}
	return list
}

func (c *Call) subcommandCandidates() (list []Candidate) {
	for _, sub := range c.subcommands() {
		list = append(list, Candidate{sub.Name, sub.Short})
	}
	return list
}

// texts are the words that a list offers.
func texts(list []Candidate) (words []string) {
	for _, candidate := range list {
		words = append(words, candidate.Text)
	}
	return words
}
