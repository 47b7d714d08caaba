package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tokend/cmd/tokenctl/cli"
)

// commandTree is what a program says of its commands.
func commandTree(t *testing.T, program string) (c cli.Reference) {
	t.Helper()
	out, err := exec.Command(program, cli.ReferenceCommand).Output()
	if err == nil {
		err = json.Unmarshal(out, &c)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", program, cli.ReferenceCommand, err)
	}
	return c
}

// The reference pages say what the programs say: go generate ./docs
func TestDocsReferenceIsThatOfThePrograms(t *testing.T) {
	for _, program := range []string{"tokenctl", "tokend"} {
		file := filepath.Join(root, "docs", "reference", program+".md")
		want := referencePage(commandTree(t, program))
		if *update {
			check(t, os.WriteFile(file, []byte(want), 0o644))
			continue
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != want {
			t.Errorf("docs/reference/%s.md is not what %s says of itself (%v); go generate ./docs writes it", program, program, err)
		}
	}
}

// referencePage is the page of a program.
func referencePage(c cli.Reference) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nEvery command and flag, as `--help` and the man pages have them. This page is made\nby `go generate ./docs`.\n\n", c.Name)
	for _, sub := range c.Commands {
		writeContents(&b, sub, "")
	}
	writeCommand(&b, c)
	return b.String()
}

func writeContents(b *strings.Builder, c cli.Reference, indent string) {
	fmt.Fprintf(b, "%s- [%s](#%s): %s\n", indent, c.Name, strings.ReplaceAll(c.Name, " ", "-"), c.Short)
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

func flagRow(f cli.FlagReference) string {
	term := "`--" + strings.TrimSpace(f.Name+" "+f.Value) + "`"
	if f.Shorthand != "" {
		term = "`-" + f.Shorthand + "`, " + term
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

// A typed command is one that a document has people type.
type typedCommand struct {
	at    string
	words []string
}

var (
	codeSpan     = regexp.MustCompile("`(token(?:ctl|d) [^`]+)`")
	continuation = regexp.MustCompile(`\\\n\s*`)
	separator    = regexp.MustCompile(`\|\||&&|[|;&()<>\n]| -- |  +`)
)

// typedCommands are those of the two programs, in blocks and in the text.
func typedCommands(d document) (all []typedCommand) {
	take := func(at, text string) {
		for _, piece := range separator.Split(continuation.ReplaceAllString(text, " "), -1) {
			words := strings.Fields(piece)
			for len(words) > 0 && strings.Contains(words[0], "=") { // variables for it
				words = words[1:]
			}
			if len(words) > 0 && (words[0] == "tokenctl" || words[0] == "tokend") {
				all = append(all, typedCommand{at, words})
			}
		}
	}
	for _, b := range d.blocks {
		if b.language == "sh" || b.language == "text" && strings.HasPrefix(b.text, "token") {
			take(fmt.Sprintf("%s:%d", d.path, b.line), b.text)
		}
	}
	for i, line := range strings.Split(d.text, "\n") {
		for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
			take(fmt.Sprintf("%s:%d", d.path, i+1), m[1])
		}
	}
	return all
}

// Commands and flags in the documentation are there in the programs.
func TestDocsNameCommandsThatExist(t *testing.T) {
	trees := map[string]cli.Reference{"tokenctl": commandTree(t, "tokenctl"), "tokend": commandTree(t, "tokend")}
	count := 0
	for _, d := range documents(t) {
		for _, typed := range typedCommands(d) {
			count++
			if fault := lookUp(trees[typed.words[0]], typed.words[1:]); fault != "" {
				t.Errorf("%s: %s: %s", typed.at, strings.Join(typed.words, " "), fault)
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d commands were found", count)
	}
}

// name is what a command's name looks like, and placeholders and values do not.
var name = regexp.MustCompile(`^[a-z][a-z-]*$`)

// lookUp returns what does not exist of a typed command, or "".
func lookUp(c cli.Reference, words []string) string {
	for _, word := range words {
		switch flag, _, _ := strings.Cut(word, "="); {
		case strings.HasPrefix(flag, "--") && len(flag) > 2:
			known := slices.ContainsFunc(c.Flags, func(f cli.FlagReference) bool { return "--"+f.Name == flag })
			if !known && c.Name != "tokenctl helper" { // that one reads its flags itself
				return c.Name + " has no flag " + flag
			}
		case name.MatchString(word) && len(c.Commands) > 0:
			i := slices.IndexFunc(c.Commands, func(sub cli.Reference) bool { return sub.Name == c.Name+" "+word })
			if i >= 0 {
				c = c.Commands[i]
			} else if word != "completion" && word != "help" {
				return "there is no command " + word
			}
		}
	}
	return ""
}
