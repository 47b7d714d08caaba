// Package docs gives programs the parts of the documentation that they print.
package docs

//go:generate go test tokend/cmd/tokend tokend/packaging/man -count=1 -run TestDocs -update

import (
	_ "embed"
	"slices"
	"strings"
)

//go:embed errors.md
var errorsPage string

// A Topic is the text on one kind of error: what it means, why it happens and
// what to do.
type Topic struct {
	// Names are what the error is called by, the first being usual.
	Names []string
	// Group is the heading that the topic stands under.
	Group string
	// Text is the explanation, in lines of up to 80 characters.
	Text string
}

// Summary is the first sentence.
func (t Topic) Summary() string {
	paragraph, _, _ := strings.Cut(t.Text, "\n\n")
	sentence, _, more := strings.Cut(strings.ReplaceAll(paragraph, "\n", " "), ". ")
	if more {
		sentence += "."
	}
	return sentence
}

// Fix is what to do about the error, as one line; commands are between
// backquotes.
func (t Topic) Fix() string {
	_, rest, _ := strings.Cut(t.Text, "\n\nDo: ")
	paragraph, _, _ := strings.Cut(rest, "\n\n")
	return strings.Join(strings.Fields(paragraph), " ")
}

// FindTopic returns the topic of a name, in any case.
func FindTopic(name string) (Topic, bool) {
	for _, t := range ErrorTopics() {
		if slices.ContainsFunc(t.Names, func(known string) bool { return strings.EqualFold(known, name) }) {
			return t, true
		}
	}
	return Topic{}, false
}

// ErrorTopics are the topics of errors.md in order. That page is the one source
// of these texts: "## " begins a group and "### " a topic, whose names stand in
// the heading with commas between.
func ErrorTopics() []Topic {
	var topics []Topic
	groups := strings.Split(errorsPage, "\n## ")
	for _, group := range groups[1:] {
		title, rest, _ := strings.Cut(group, "\n")
		sections := strings.Split(rest, "\n### ")
		for _, section := range sections[1:] {
			names, text, _ := strings.Cut(section, "\n")
			topics = append(topics, Topic{strings.Split(names, ", "), title, strings.TrimSpace(text)})
		}
	}
	return topics
}

//go:embed configuration.md
var configurationPage string

// A Setting is a row of the providers' tables in configuration.md.
type Setting struct {
	Provider, Name string
	// Note has the words secret, needed, per resource, list and table, or a default.
	Note, Doc string
}

// Settings are the providers' settings, as configuration.md lists them.
func Settings() (settings []Setting) {
	_, page, _ := strings.Cut(configurationPage, "\n## Providers\n")
	provider := ""
	for line := range strings.Lines(page) {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			provider = strings.TrimSpace(name)
		}
		row := strings.SplitN(strings.TrimSpace(line), " | ", 3)
		if name, ok := strings.CutPrefix(row[0], "| `"); ok && len(row) == 3 {
			settings = append(settings, Setting{provider, strings.TrimSuffix(name, "`"), row[1], strings.TrimSuffix(row[2], " |")})
		}
	}
	return settings
}
