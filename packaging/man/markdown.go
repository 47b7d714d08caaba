package main

import (
	"fmt"
	"strings"

	"tokend/cmd/tokenctl/cli"
)

// markdown is the page of docs/reference about a program.
func markdown(c cli.Reference) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nEvery command and flag, as `--help` and the man pages have them. This page is made\nby `go generate ./docs`.\n\n", c.Name)
	for _, sub := range c.Commands {
		writeContents(&b, sub, "")
	}
	writeCommand(&b, c)
	return b.String()
}

func writeContents(b *strings.Builder, c cli.Reference, indent string) {
	fmt.Fprintf(b, "%s- [%s](#%s): %s\n", indent, c.Name, pageName(c), c.Short)
	for _, sub := range c.Commands {
		writeContents(b, sub, indent+"  ")
	}
}

func writeCommand(b *strings.Builder, c cli.Reference) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n\n```text\n%s\n```\n", c.Name, strings.TrimSuffix(c.Short, "."), c.Usage)
	for _, paragraph := range strings.Split(strings.Trim(c.Long, "\n"), "\n\n") {
		// A line may introduce those that are indented below it.
		said, shown, ok := strings.Cut("\n"+paragraph, "\n  ")
		if said = strings.Trim(said, "\n"); said != "" {
			fmt.Fprintf(b, "\n%s\n", escapeMarkdown(said))
		}
		if ok {
			fmt.Fprintf(b, "\n```text\n%s\n```\n", strings.ReplaceAll(shown, "\n  ", "\n"))
		}
	}
	heading, first := "", true
	for _, f := range c.Flags {
		if f.Name == "help" {
			continue
		}
		if f.Group == cli.InheritedFlags && len(c.Commands) == 0 && !strings.Contains(c.Name, " ") {
			continue
		}
		if first || f.Group != heading {
			title := f.Group
			if title == "" {
				title = "Flag"
			}
			fmt.Fprintf(b, "\n| %s | |\n|---|---|\n", title)
		}
		heading, first = f.Group, false
		b.WriteString(flagRow(f))
	}
	for _, sub := range c.Commands {
		writeCommand(b, sub)
	}
}

func flagRow(f *cli.Flag) string {
	term := "`--" + strings.TrimSpace(f.Name+" "+f.Value) + "`"
	if f.Letter != "" {
		term = "`-" + f.Letter + "`, " + term
	}
	doc := strings.ReplaceAll(f.Doc, "\n", " ")
	if f.Default != "" {
		doc += " (default " + f.Default + ")"
	}
	return "| " + term + " | " + strings.ReplaceAll(escapeMarkdown(doc), "|", `\|`) + " |\n"
}

// escapeMarkdown keeps what looks like markup from being some.
func escapeMarkdown(text string) string {
	return strings.NewReplacer("<", "&lt;", "*", `\*`, "[", `\[`).Replace(text)
}
