package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
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
			known := slices.ContainsFunc(c.Flags, func(f *cli.Flag) bool { return "--"+f.Name == flag })
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
