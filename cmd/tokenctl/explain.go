package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/docs"
)

const explainHelp = `  tokenctl explain AADSTS7000215
  tokenctl explain "No associated key found"
  tokenctl explain

Explains an error: what it means, why it happens and what to do. Give the topic
that tokenctl or tokend's log prints with the error, or words of the error.
Without a topic it lists them all. It works without tokend and offline.`

func explainCommand(e *ui.Env) *cli.Command {
	return &cli.Command{
		Name:  "explain",
		Args:  "[TOPIC]",
		Short: "Explain an error",
		Long:  explainHelp,
		Check: cli.AnyArgs,
		Complete: cli.First(func() (names []cli.Candidate) {
			for _, t := range docs.ErrorTopics() {
				for _, name := range t.Names {
					names = append(names, cli.Candidate{Text: name, Doc: t.Summary()})
				}
			}
			return names
		}),
		Run: func(_ context.Context, c *cli.Call) error {
			if len(c.Args) == 0 {
				return e.Out.Answer(topicList(e.Out, docs.ErrorTopics()))
			}
			topic, err := findTopic(strings.Join(c.Args, " "))
			if err != nil {
				return err
			}
			return e.Out.Answer(e.Out.Paint(ui.Good, strings.Join(topic.Names, ", ")) + "\n\n" + unmarked(topic.Text) + "\n")
		},
	}
}

// topicList is a line for each topic, under the headings of its groups.
func topicList(s ui.Screen, topics []docs.Topic) string {
	var b strings.Builder
	names, group := 0, ""
	for _, t := range topics {
		names = max(names, len(t.Names[0]))
	}
	for _, t := range topics {
		if t.Group != group {
			b.WriteString(strings.Repeat("\n", min(1, len(group))) + s.Paint(ui.Faint, t.Group+":") + "\n")
			group = t.Group
		}
		fmt.Fprintf(&b, "  %-*s  %s\n", names, t.Names[0], ui.Cut(unmarked(t.Summary()), cli.Width-names-4))
	}
	return b.String()
}

// findTopic finds the topic that words name: by its name, by an issuer's text
// that it quotes, or by a name among the words, the last one first.
func findTopic(words string) (docs.Topic, error) {
	words = strings.Join(strings.Fields(words), " ")
	if t, ok := docs.FindTopic(words); ok {
		return t, nil
	}
	var names []string
	for _, t := range docs.ErrorTopics() {
		for _, quoted := range quotes(t.Text) {
			said, known := strings.ToLower(words), strings.ToLower(quoted)
			if strings.Contains(said, known) || len(said) >= len("POST only") && strings.Contains(known, said) {
				return t, nil
			}
		}
		names = append(names, t.Names...)
	}
	parts := strings.FieldsFunc(words, func(r rune) bool { return strings.ContainsRune(" :;,()[]\"'", r) })
	for _, word := range slices.Backward(parts) {
		if t, ok := docs.FindTopic(word); ok {
			return t, nil
		}
	}
	return docs.Topic{}, &ui.Exit{Status: ui.ExitNotFound, Err: fmt.Errorf("there is no topic %q%s",
		ui.Cut(words, 60), cmp.Or(cli.DidYouMean(words, names), "; tokenctl explain lists them"))}
}

// unmarked is a text without markup: quotation marks stand for backquotes.
func unmarked(text string) string { return strings.ReplaceAll(text, "`", `"`) }

// quotes are the texts between backquotes that are not commands.
func quotes(text string) (found []string) {
	for i, part := range strings.Split(strings.ReplaceAll(text, "\n", " "), "`") {
		if i%2 == 1 && strings.Contains(part, " ") && !strings.HasPrefix(part, "tokenctl ") && !strings.HasPrefix(part, "tokend ") {
			found = append(found, part)
		}
	}
	return found
}
