package main

import (
	"fmt"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
)

// A manual is what all pages have in common.
type manual struct {
	version string
	date    time.Time
	roots   []cli.Reference
}

// page is the page of a command, in man(7).
func (m manual) page(c cli.Reference) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 %s %q\n", escape(strings.ToUpper(pageName(c))), m.date.Format(time.DateOnly), escape("tokend "+m.version))
	b.WriteString(".nr HY 0\n.ad l\n") // no hyphens but those that one types
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escape(pageName(c)), escape(lowerFirst(c.Short)))
	b.WriteString(".SH SYNOPSIS\n" + verbatim(c.Usage))
	examples, rest := cutExamples(c.Long)
	if examples != "" {
		b.WriteString(".SH EXAMPLES\n" + verbatim(examples))
	}
	if rest != "" {
		b.WriteString(".SH DESCRIPTION\n" + prose(rest))
	}
	b.WriteString(".SH OPTIONS\n" + options(c.Flags))
	if len(c.Commands) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range c.Commands {
			b.WriteString(tagged(pageRef(sub), sub.Short))
		}
	}
	b.WriteString(".SH SEE ALSO\n" + m.seeAlso(c) + "\n")
	return b.String()
}

// pageRef refers to the page of a command.
func pageRef(c cli.Reference) string { return bold(pageName(c)) + "(1)" }

// seeAlso names the programs' pages but c's own, and where there is more.
func (m manual) seeAlso(c cli.Reference) string {
	var list []string
	for _, root := range m.roots {
		if root.Name != c.Name {
			list = append(list, pageRef(root))
		}
	}
	return strings.Join(append(list, "/usr/share/doc/tokend"), ",\n")
}

// cutExamples takes the examples off the front of a command's text.
func cutExamples(text string) (examples, rest string) {
	lines := strings.SplitAfter(text, "\n")
	n := 0
	for n < len(lines) && indented(lines[n]) {
		n++
	}
	return strings.Join(lines[:n], ""), strings.TrimSpace(strings.Join(lines[n:], ""))
}

func indented(line string) bool { return strings.HasPrefix(line, "  ") }

// prose makes paragraphs of text. Indented lines stay as they are.
func prose(text string) string {
	var b, block strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case indented(line):
			block.WriteString(line)
			continue
		case block.Len() > 0:
			b.WriteString(verbatim(block.String()))
			block.Reset()
		}
		if strings.TrimSpace(line) == "" {
			b.WriteString(".PP\n")
		} else {
			b.WriteString(escape(line))
		}
	}
	if block.Len() > 0 {
		b.WriteString(verbatim(block.String()))
	}
	return strings.TrimSuffix(b.String(), "\n") + "\n"
}

// verbatim shows text as it is, indented.
func verbatim(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(escape(strings.TrimPrefix(line, "  ")))
	}
	return ".RS 2\n.EX\n" + strings.TrimSuffix(b.String(), "\n") + "\n.EE\n.RE\n"
}

// options are the flags, under their headings.
func options(flags []*cli.Flag) string {
	var headings []string
	groups := map[string]string{}
	for _, f := range flags {
		if groups[f.Group] == "" {
			headings = append(headings, f.Group)
		}
		groups[f.Group] += option(f)
	}
	var b strings.Builder
	for _, heading := range headings {
		if heading != "" {
			b.WriteString(".SS " + escape(heading) + "\n")
		}
		b.WriteString(groups[heading])
	}
	return b.String()
}

func option(f *cli.Flag) string {
	term := bold("--" + f.Name)
	if f.Letter != "" {
		term = bold("-"+f.Letter) + ", " + term
	}
	if f.Value != "" {
		term += ` \fI` + escape(f.Value) + `\fR`
	}
	doc := f.Doc
	if f.Default != "" {
		doc += " (default " + f.Default + ")"
	}
	return tagged(term, doc)
}

// tagged is a paragraph that explains a term, which is escaped already.
func tagged(term, text string) string {
	return ".TP\n" + term + "\n" + escape(strings.ReplaceAll(text, "\n", " ")) + "\n"
}

func bold(text string) string { return `\fB` + escape(text) + `\fR` }

// escape has roff show one or more lines as they are: backslashes, characters
// that it would take for typographical ones, and requests.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return strings.ReplaceAll(text, "\n.", "\n\\&.")
}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}
