package main

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A document is one of the project's Markdown files, as the tests of the
// documentation see it. What they need to know stands in comments, which
// readers do not see:
//
//	<!-- scene: desktop clms -->    what is there before the first command
//
// and before a block, which its last such lines are about:
//
//	<!-- file: land.py -->          the block is a file; later commands use it
//	<!-- fails: 5 -->               the command ends with this exit status
//	<!-- types: a line -->          what a person answers at the terminal
//	<!-- until: Ctrl-C ends -->     once this is on the screen, Ctrl-C is typed
//	<!-- meanwhile: a command -->   is run elsewhere, again and again, until then
//	<!-- run by: TestX -->          a test of its own runs it, or a script
//	<!-- not run: why -->           nothing runs it
//
// A comment alone says what happens between two commands:
//
//	<!-- portal: register me@example.com rock.pem -->
//
// Commands are blocks that are indented, or fenced as sh. A block that is
// fenced as output is what the commands before it print, where … stands for
// anything in a line, and a line of … for any lines.
type document struct {
	path   string // from the root of the repository
	text   string
	scene  []string
	blocks []block
}

// A block is a block of code, or a step at a portal.
type block struct {
	line     int // in the document, of its first line
	language string
	text     string
	marks    map[string]string
}

// marks are those that blocks can have.
var marks = []string{"file", "fails", "types", "until", "meanwhile", "run by", "not run"}

// portalStep is the language of a step at a portal.
const portalStep = "portal"

// documents are all of them.
func documents(t *testing.T) (all []document) {
	t.Helper()
	files := []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			files = append(files, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		}
		return err
	})
	check(t, err)
	for _, file := range files {
		text := read(t, root, file)
		d := document{path: file, text: text}
		d.parse(t)
		all = append(all, d)
	}
	return all
}

var (
	comment  = regexp.MustCompile(`^\s*<!-- ([a-z ]+): (.+) -->$`)
	fence    = regexp.MustCompile("^( *)```([a-z]*)$")
	listItem = regexp.MustCompile(`^ *([-*]|\d+\.) `)
)

// parse finds the blocks of a document.
func (d *document) parse(t *testing.T) {
	t.Helper()
	lines := strings.Split(d.text, "\n")
	pending := map[string]string{}
	var inList, afterBlank bool
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch m, f := comment.FindStringSubmatch(line), fence.FindStringSubmatch(line); {
		case m != nil:
			d.note(t, i+1, m[1], m[2], pending)
		case f != nil:
			end := i + 1
			for end < len(lines) && strings.TrimSpace(lines[end]) != "```" {
				end++
			}
			d.blocks = append(d.blocks, block{i + 2, f[2], outdented(lines[i+1:end], len(f[1])), pending})
			pending = map[string]string{}
			i = end
		case afterBlank && strings.HasPrefix(line, depth(inList)):
			end := i
			for end < len(lines) && (strings.HasPrefix(lines[end], depth(inList)) || strings.TrimSpace(lines[end]) == "") {
				end++
			}
			d.blocks = append(d.blocks, block{i + 1, "sh", outdented(lines[i:end], len(line)-len(strings.TrimLeft(line, " "))), pending})
			pending = map[string]string{}
			i = end - 1
			afterBlank = true
			continue
		case line != "":
			if len(pending) > 0 {
				t.Errorf("%s:%d: no block after the mark %v", d.path, i+1, pending)
				pending = map[string]string{}
			}
			inList = listItem.MatchString(line) || inList && strings.HasPrefix(line, " ")
		}
		afterBlank = strings.TrimSpace(line) == "" || comment.MatchString(line)
	}
}

// depth is how code is indented.
func depth(inList bool) string {
	if inList {
		return "      "
	}
	return "    "
}

func (d *document) note(t *testing.T, line int, word, value string, pending map[string]string) {
	t.Helper()
	switch {
	case word == "scene":
		d.scene = strings.Fields(value)
	case word == portalStep:
		d.blocks = append(d.blocks, block{line, portalStep, value, map[string]string{}})
	case slices.Contains(marks, word):
		pending[word] = value
	default:
		t.Errorf("%s:%d: there is no mark %q", d.path, line, word)
	}
}

// outdented takes the indentation from lines.
func outdented(lines []string, n int) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line[min(n, len(line)):] + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
