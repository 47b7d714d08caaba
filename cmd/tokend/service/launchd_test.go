package service

import (
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"tokend/daemon/profile"
)

// plistValues reads a property list's dictionary: keys, and what follows each,
// as text.
func plistValues(t *testing.T, plist string) map[string]string {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(plist))
	values := map[string]string{}
	var key string
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return values
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, plist)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch name := start.Name.Local; name {
		case "plist", "dict", "array":
		case "true", "false":
			values[key] += name
		case "key", "string", "integer":
			var text string
			check(t, decoder.DecodeElement(&text, &start))
			if name == "key" {
				key = text
			} else {
				values[key] += text + "|"
			}
		default:
			t.Fatalf("a property list has no <%s>", name)
		}
	}
}

// The jobs of launchd say what tokend promises of a service, and take paths for
// what they are. Case 35 of the threat model.
func TestLaunchdJobs(t *testing.T) {
	usual := "/Users/USER/Library/Application Support/tokend/"
	for _, dir := range []string{usual, "/A & B/<string>/\"q\" 'q'/</string>/]]>/"} {
		for _, system := range []bool{false, true} {
			d := Definition{System: system, Program: dir + "bin/tokend", Socket: dir + "tokend.sock",
				Dirs: profile.Dirs{Config: dir + "config", State: dir + "state"}}
			args := []string{d.Program, "run", "--config", d.Dirs.Config, "--state", d.Dirs.State, "--socket", d.Socket}
			if system {
				args = []string{d.Program, "run", "--system", "--socket", d.Socket}
			}
			want := map[string]string{
				"Label": "tokend|", "ProgramArguments": strings.Join(args, "|") + "|", "RunAtLoad": "true", "SuccessfulExit": "false",
				"ThrottleInterval": "10|", "ProcessType": "Interactive|", "Umask": "63|", "Core": "0|", "StandardErrorPath": dir + "log|",
			}
			text, err := d.plist(dir + "log")
			check(t, err)
			if got := plistValues(t, text); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		}
	}
}
