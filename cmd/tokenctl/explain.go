package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tokend/docs"
	"tokend/providers/token"
)

const explainHelp = `  tokenctl explain AADSTS7000215
  tokenctl explain "No associated key found"
  tokenctl explain

Explains an error: what it means, why it happens and what to do. The topic is
what tokenctl and tokend's log name with the error; words of the error do too.
Without one, lists all topics. Needs neither tokend nor a network.`

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [TOPIC]",
		Short: "Explain an error",
		Long:  explainHelp,
		Args:  cobra.ArbitraryArgs,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			for _, t := range docs.ErrorTopics() {
				for _, name := range t.Names {
					names = append(names, cobra.CompletionWithDesc(name, t.Summary()))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			topics := docs.ErrorTopics()
			if len(args) == 0 {
				return a.out.answer([]byte(a.topicList(topics)))
			}
			topic, err := findTopic(topics, strings.Join(args, " "))
			if err != nil {
				return err
			}
			text := a.out.paint(good, strings.Join(topic.Names, ", ")) + "\n\n" + unmarked(topic.Text) + "\n"
			return a.out.answer([]byte(text))
		},
	}
}

// topicList is a line for each topic, under the headings of its groups.
func (a *app) topicList(topics []docs.Topic) string {
	var b strings.Builder
	names, group := 0, ""
	for _, t := range topics {
		names = max(names, len(t.Names[0]))
	}
	for _, t := range topics {
		if t.Group != group {
			b.WriteString(strings.Repeat("\n", min(1, len(group))) + a.out.paint(faint, t.Group+":") + "\n")
			group = t.Group
		}
		b.WriteString("  " + t.Names[0] + strings.Repeat(" ", names-len(t.Names[0])+2) +
			cut(unmarked(t.Summary()), width-names-4) + "\n")
	}
	return b.String()
}

// findTopic finds the topic that words name: by its name, by a text of an
// issuer's that it quotes, or by a name that stands in words, the last one
// first.
func findTopic(topics []docs.Topic, words string) (docs.Topic, error) {
	words = strings.Join(strings.Fields(words), " ")
	var names []string
	for _, t := range topics {
		for _, name := range t.Names {
			if strings.EqualFold(name, words) {
				return t, nil
			}
			names = append(names, name)
		}
	}
	for _, t := range topics {
		for _, quoted := range quotes(t.Text) {
			if containsFold(words, quoted) || len(words) >= len("POST only") && containsFold(quoted, words) {
				return t, nil
			}
		}
	}
	heard := strings.FieldsFunc(words, func(r rune) bool { return strings.ContainsRune(" :;,()[]\"'", r) })
	for _, word := range slices.Backward(heard) {
		for _, t := range topics {
			if slices.ContainsFunc(t.Names, func(name string) bool { return strings.EqualFold(name, word) }) {
				return t, nil
			}
		}
	}
	return docs.Topic{}, &token.Error{Code: token.ErrNotFound, Field: topicField,
		Message: fmt.Sprintf("there is no topic %q%s", cut(words, 60), cmp.Or(didYouMean(words, names), topicsWith(words, names)))}
}

// topicsWith names the topics that have a word in their names, as those of a
// provider have.
func topicsWith(word string, names []string) string {
	found := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return word == "" || !containsFold(name, word) })
	if len(found) == 0 || len(found) > 10 {
		return ""
	}
	return "; there are " + strings.Join(found, ", ")
}

// topicField is the Field of an error about a topic that is not there.
const topicField = "topic"

// unmarked is a text as it reads without markup: what stands between backquotes
// keeps quotes where it is of several words.
func unmarked(text string) string {
	parts := strings.Split(text, "`")
	for i, part := range parts {
		if i%2 == 1 && strings.ContainsAny(part, " \n") {
			parts[i] = `"` + part + `"`
		}
	}
	return strings.Join(parts, "")
}

// quotes are what a text has between backquotes, commands left out.
func quotes(text string) (found []string) {
	for i, part := range strings.Split(strings.ReplaceAll(text, "\n", " "), "`") {
		if i%2 == 1 && strings.Contains(part, " ") && !strings.HasPrefix(part, "tokenctl ") && !strings.HasPrefix(part, "tokend ") {
			found = append(found, part)
		}
	}
	return found
}

func containsFold(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
