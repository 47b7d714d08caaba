package docs

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEveryTopicSaysWhatWhyAndWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	topics := ErrorTopics()
	if len(topics) < 50 {
		t.Fatalf("%d topics were found", len(topics))
	}
	for _, topic := range topics {
		for _, name := range topic.Names {
			if name == "" || strings.ContainsAny(name, " `[") || seen[name] {
				t.Errorf("%q is no name, or stands twice", name)
			}
			seen[name] = true
		}
		paragraphs := strings.Split(topic.Text, "\n\n")
		if len(paragraphs) != 3 || !strings.HasPrefix(paragraphs[1], "Why: ") || !strings.HasPrefix(paragraphs[2], "Do: ") {
			t.Errorf("%s has not what it means, Why: and Do:", topic.Names[0])
		}
		for line := range strings.Lines(topic.Text) {
			if utf8.RuneCountInString(line) > 81 {
				t.Errorf("%s: a line has more than 80 characters: %s", topic.Names[0], line)
			}
		}
	}
}
