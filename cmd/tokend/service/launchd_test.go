package service

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"tokend/daemon/profile"
)

// plistWords returns the texts and truths of a property list, in order.
func plistWords(t *testing.T, plist string) (words []string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(plist))
	for {
		found, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return words
		}
		check(t, err)
		switch found := found.(type) {
		case xml.CharData:
			if text := strings.TrimSpace(string(found)); text != "" {
				words = append(words, text)
			}
		case xml.StartElement:
			if name := found.Name.Local; name == "true" || name == "false" {
				words = append(words, name)
			}
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
			want := slices.Concat([]string{"Label", "tokend", "ProgramArguments"}, args, []string{
				"RunAtLoad", "true", "KeepAlive", "SuccessfulExit", "false", "ThrottleInterval", "10", "ProcessType", "Interactive",
				"Umask", "63", "HardResourceLimits", "Core", "0", "StandardErrorPath", dir + "log"})
			text, err := d.plist(dir + "log")
			check(t, err)
			if got := plistWords(t, text); !slices.Equal(got, want) {
				t.Errorf("got %q\nwant %q", got, want)
			}
		}
	}
}
