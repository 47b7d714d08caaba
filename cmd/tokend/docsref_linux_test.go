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

// A piece is what stands in a document as code: a block, or a span in the text.
type piece struct {
	at, language, text string
}

var (
	fences       = regexp.MustCompile("(?m)^ *```.*$")
	continuation = regexp.MustCompile(`\\\n\s*`)
	separator    = regexp.MustCompile(`\|\||&&|[|;&()<>\n]| -- |  +`)
	setting      = regexp.MustCompile(`(?m)^([a-z_0-9]+) = `)
	longName     = regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)+$`)
	// spans are in backquotes, in quotation marks on man pages, and flags as they stand.
	spans = []*regexp.Regexp{regexp.MustCompile("`([^`]+)`"), regexp.MustCompile(`"(token(?:ctl|d)\s[^"]+)"`), regexp.MustCompile(`(?:^|[\s(])(--[a-z][a-z-]+)`)}
	// foreign are names of other programs.
	foreign = strings.Fields(`--fail-with-body --netrc-file --next --resolve --unix-socket --exec-interactive-mode --long --sdk-auth --secret --security-opt
		--experimental_credential_helper forward_auth underscores_in_headers unrestricted_auth`)
)

// pieces are those of a document: the changelog's of the next release alone.
func (d document) pieces() (all []piece) {
	end := len(d.text)
	if d.path == "CHANGELOG.md" {
		end = len(strings.Join(strings.SplitAfterN(d.text, "\n## ", 3)[:2], ""))
	}
	lines := strings.Split(d.text[:end], "\n")
	for _, b := range d.blocks {
		for i := range strings.Count(b.text, "\n") {
			lines[min(b.line-1+i, len(lines)-1)] = ""
		}
		if b.language == "sh" || b.language == "toml" || b.language == "text" && strings.HasPrefix(b.text, "token") {
			all = append(all, piece{fmt.Sprintf("%s:%d", d.path, b.line), b.language, b.text})
		}
	}
	prose := fences.ReplaceAllString(strings.Join(lines, "\n"), "")
	for _, pattern := range spans {
		for _, m := range pattern.FindAllStringSubmatchIndex(prose, -1) {
			all = append(all, piece{fmt.Sprintf("%s:%d", d.path, 1+strings.Count(prose[:m[2]], "\n")), "span", strings.Join(strings.Fields(prose[m[2]:m[3]]), " ")})
		}
		prose = pattern.ReplaceAllStringFunc(prose, func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
	}
	return all
}

// commands are the simple commands of a piece, without variables for them.
func (p piece) commands() (all [][]string) {
	for _, part := range separator.Split(continuation.ReplaceAllString(p.text, " "), -1) {
		words := strings.Fields(part)
		if i := slices.IndexFunc(words, func(w string) bool { return w[0] == '-' || !strings.Contains(w, "=") }); i >= 0 {
			all = append(all, words[i:])
		}
	}
	return all
}

// Every command, flag, setting and topic that the documentation names exists: a flag
// with its command or, alone, with one that the page names.
func TestDocsNameWhatExists(t *testing.T) {
	trees := map[string]cli.Reference{"tokenctl": commandTree(t, "tokenctl"), "tokend": commandTree(t, "tokend")}
	settings, names, count := map[string]bool{}, map[string]bool{}, 0
	eachSource(t, func(_, source string) {
		for _, m := range regexp.MustCompile(`(toml|gauge)(?::|\()"(\w+)|([a-z]+(?:_[a-z0-9]+)+)`).FindAllStringSubmatch(source, -1) {
			settings[m[2]], names[m[2]+m[3]], names["tokend_"+m[2]+m[3]] = true, true, true
		}
	})
	for _, d := range documents(t) {
		flags, alone := slices.Clone(foreign), []piece{}
		for _, p := range d.pieces() {
			for _, m := range setting.FindAllStringSubmatch(p.text, -1) {
				if !settings[m[1]] && !slices.Contains(foreign, m[1]) && p.language != "sh" {
					t.Errorf("%s: there is no setting %s", p.at, m[1])
				}
			}
			if p.language == "span" && longName.MatchString(p.text) && !names[p.text] && !slices.Contains(foreign, p.text) {
				t.Errorf("%s: nothing in the programs is called %s", p.at, p.text)
			}
			for _, words := range p.commands() {
				if flag, _, _ := strings.Cut(words[0], "="); len(flag) > 2 && flag[:2] == "--" {
					alone = append(alone, piece{p.at, "flag", flag})
				}
				tree, ours := trees[words[0]]
				if !ours {
					continue
				}
				c, fault := lookUp(tree, words[1:])
				if count++; fault != "" {
					t.Errorf("%s: %s: %s", p.at, strings.Join(words, " "), fault)
				}
				for _, f := range c.Flags {
					flags = append(flags, "--"+f.Name)
				}
			}
		}
		for _, p := range alone {
			if !slices.Contains(flags, p.text) {
				t.Errorf("%s: no command that this page names has a flag %s", p.at, p.text)
			}
		}
	}
	if count < 300 {
		t.Errorf("only %d commands were found", count)
	}
}

// name is what a command's name looks like, and placeholders and values do not.
var name = regexp.MustCompile(`^[a-z][a-z-]*$`)

// lookUp returns the command that words name, and what of them does not exist, or "".
func lookUp(c cli.Reference, words []string) (_ cli.Reference, fault string) {
	for i, word := range words {
		switch flag, _, _ := strings.Cut(word, "="); {
		case strings.HasPrefix(flag, "--") && len(flag) > 2:
			known := slices.ContainsFunc(c.Flags, func(f *cli.Flag) bool { return "--"+f.Name == flag })
			if !known && c.Name != "tokenctl helper" { // that one reads its flags itself
				return c, c.Name + " has no flag " + flag
			}
		case c.Name == "tokenctl explain":
			topic := strings.Trim(strings.Join(words[i:], " "), `'"`)
			if out, err := exec.Command("tokenctl", "explain", topic).CombinedOutput(); err != nil && !strings.Contains(topic, "TOPIC") {
				return c, string(out)
			}
			return c, ""
		case name.MatchString(word) && len(c.Commands) > 0:
			i := slices.IndexFunc(c.Commands, func(sub cli.Reference) bool { return sub.Name == c.Name+" "+word })
			switch {
			case word == "completion" || word == "help":
				return c, ""
			case i < 0:
				return c, "there is no command " + word
			}
			c = c.Commands[i]
		}
	}
	return c, ""
}

// The help of every command begins with an example, which the command takes.
func TestHelpBeginsWithAnExample(t *testing.T) {
	behind := regexp.MustCompile(`  +\S.*|[|&;<>].*`) // what the example is for, or where the shell goes on
	var check func(cli.Reference)
	check = func(c cli.Reference) {
		first, _, _ := strings.Cut(c.Long, "\n")
		words, isExample := strings.CutPrefix(first, "  "+c.Name)
		out, err := exec.Command("sh", "-c", c.Name+" --help "+behind.ReplaceAllString(words, "")).CombinedOutput()
		if !isExample || err != nil {
			t.Errorf("%s --help begins with %q: %s", c.Name, first, out)
		}
		for _, sub := range c.Commands {
			check(sub)
		}
	}
	check(commandTree(t, "tokend"))
	check(commandTree(t, "tokenctl"))
}
