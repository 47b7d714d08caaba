package cli

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
	Long     string      `json:"long"`
	Flags    []*Flag     `json:"flags"`
	Commands []Reference `json:"commands"`
}

func (p *Program) reference(c *Call) Reference {
	r := Reference{Name: c.Path, Usage: c.usage(), Short: c.Command.Short, Long: c.Command.Long, Flags: c.Flags.list}
	for _, sub := range c.subcommands() {
		below := *c
		below.enter(p, sub)
		r.Commands = append(r.Commands, p.reference(&below))
	}
	return r
}
