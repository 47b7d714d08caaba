package main

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// bashNeeds stands before bash's script, which calls functions of the package
// bash-completion and would otherwise fail at the first Tab.
const bashNeeds = `if ! declare -F _init_completion >/dev/null && ! declare -F _get_comp_words_by_ref >/dev/null; then
    echo 'tokenctl: its completion needs the package bash-completion, loaded before this' >&2
fi
`

// mendCompletion has what cobra makes for shells fit the rest of tokenctl.
func (a *app) mendCompletion(root *cobra.Command, args []string) {
	if len(args) == 0 {
		return
	}
	switch args[0] {
	case cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		plainFlags(root)
	case "completion":
		root.InitDefaultCompletionCmd(args...)
		bash, _, err := root.Find([]string{"completion", "bash"})
		if err == nil && bash.Name() == "bash" {
			bash.PreRunE = func(*cobra.Command, []string) error { return a.out.answer([]byte(bashNeeds)) }
		}
	}
}

// plainFlags takes the backquotes out of what flags say of themselves: help
// makes a name of what is between them, shells show them.
func plainFlags(root *cobra.Command) {
	for _, c := range slices.Concat([]*cobra.Command{root}, root.Commands()) {
		for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			flags.VisitAll(func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
		}
	}
}
