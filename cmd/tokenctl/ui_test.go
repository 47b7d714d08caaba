package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

func TestTimesInWords(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		42 * time.Minute: "in 42 min", -3 * time.Hour: "3 h ago", 119 * time.Second: "in 119 s", 120 * time.Second: "in 2 min", 149 * time.Second: "in 2 min", 151 * time.Second: "in 3 min",
		59*time.Minute + 59*time.Second: "in 1 h", time.Minute: "in 1 min", 100 * time.Minute: "in 100 min", 2*time.Hour - time.Second: "in 2 h",
		47 * time.Hour: "in 47 h", 48*time.Hour - time.Second: "in 2 days", 12 * 24 * time.Hour: "in 12 days",
		0: "now", -time.Millisecond: "now", 999 * time.Millisecond: "now", time.Second: "in 1 s", -time.Second: "1 s ago",
	} {
		if got := when(now.Add(d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := whenOr(time.Time{}, now); got != "-" {
		t.Errorf("no time at all: %q", got)
	}
	for d, want := range map[time.Duration]string{412 * time.Millisecond: "412 ms", 1250 * time.Millisecond: "1.2 s"} {
		if got := took(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain, grün, 東京":      "plain, grün, 東京",
		"\x1b[31mred\x1b[0m":   `\x1b[31mred\x1b[0m`,
		"\x1b]52;c;eA==\x07":   `\x1b]52;c;eA==\a`,
		"abc\u202edcba":        `abc\u202edcba`,
		"zero\u200bwidth":      `zero\u200bwidth`,
		"\u009b31m":            `\u009b31m`,
		"two\nlines\rand\ttab": `two\nlines\rand\ttab`,
		"bad\xff\xfebytes":     `bad\xff\xfebytes`,
		"real \ufffd":          "real \ufffd",
		"tag\U000e0041":        `tag\U000e0041`,
		"del\x7f":              `del\x7f`,
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// told is all hints, as they are shown but for the line ends.
func told(err error, s situation) string {
	return strings.ReplaceAll(strings.Join(hints(err, s), "\n"), noBreak, " ")
}

func TestHintsExplainRefusals(t *testing.T) {
	s := situation{command: "get", profile: "api", now: time.Now()}
	for _, code := range []string{"invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope", "unsupported_grant_type", "invalid_request"} {
		got := told(&token.Error{Code: token.ErrRejected, OAuth: code}, s)
		if !strings.Contains(got, code+": ") || !strings.Contains(got, "tokenctl get --fresh api") {
			t.Errorf("%s: %s", code, got)
		}
	}
	seen := map[string]string{}
	for _, code := range []string{"7000215", "7000222", "700016", "90002", "70011", "1002012", "500011", "700027", "700024", "50012", "7000112", "53003"} {
		got := hints(&token.Error{Code: token.ErrRejected, OAuth: "invalid_client", Detail: "AADSTS" + code}, s)[0]
		text, ok := strings.CutPrefix(got, "AADSTS"+code+": ")
		if !ok {
			t.Errorf("%s: %s", code, got)
		}
		if other, twice := seen[text]; twice && code != "1002012" {
			t.Errorf("%s says what %s says", code, other)
		}
		seen[text] = code
	}
	clock := told(&token.Error{Code: token.ErrUnavailable, Detail: "AADSTS700024"}, s)
	if !strings.Contains(clock, "clock is wrong") || !strings.Contains(clock, "keeps trying") {
		t.Errorf("a refusal that passes: %s", clock)
	}
	unknown := hints(&token.Error{Code: token.ErrRejected, OAuth: "invalid_client", Detail: "AADSTS1"}, s)[0]
	if !strings.HasPrefix(unknown, "invalid_client: ") {
		t.Errorf("an unknown code hides the known error: %s", unknown)
	}
	if none := told(&token.Error{Code: token.ErrRejected}, s); !strings.Contains(none, "tokenctl rotate api") {
		t.Errorf("no code at all: %q", none)
	}
}

func TestHintSaysWhenTheNextTryIs(t *testing.T) {
	now := time.Now()
	s := situation{command: "get", profile: "api", now: now}
	e := &token.Error{Code: token.ErrUnavailable, RetryAt: now.Add(42*time.Second + 400*time.Millisecond)}
	got := told(e, s)
	if !strings.Contains(got, "the next try is in 42 s ("+e.RetryAt.Local().Format("15:04:05")+")") {
		t.Error(got)
	}
	e.RetryAt = now.Add(400 * time.Millisecond)
	if got := told(e, s); got != "tokend keeps trying; the next try is due." {
		t.Error(got)
	}
	e.RetryAt = now.Add(-time.Second)
	if got := told(e, s); strings.Contains(got, "ago") {
		t.Errorf("the next try is not in the past: %s", got)
	}
}

func TestExitStatusFindsTheCodeWhereverItIs(t *testing.T) {
	e := &token.Error{Code: token.ErrRejected}
	for _, err := range []error{e, fmt.Errorf("x: %w", e), errors.Join(errors.New("y"), e), token.ErrRejected, fmt.Errorf("x: %w", token.ErrRejected)} {
		if got := exitStatus(err); got != exitRejected {
			t.Errorf("%v: %d", err, got)
		}
	}
	if got := exitStatus(errors.New("unknown")); got != exitFailure {
		t.Errorf("an unknown error: %d", got)
	}
}

func TestNamesInHintsCanBePasted(t *testing.T) {
	for in, want := range map[string]string{"clms": "clms", "": "NAME", "a b": "'a b'", "x;rm -rf ~": "'x;rm -rf ~'", "a.b_c-1": "a.b_c-1"} {
		if got := word(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestColourIsForTerminalsAlone(t *testing.T) {
	var b strings.Builder
	if s := newScreen(&b); s.colour {
		t.Error("a buffer is no terminal")
	}
	s := screen{&b, true}
	coloured := s.table([]row{header("A", "B"), {cells: []cell{{"longer", bad}, {"x", plain}}}})
	s.colour = false
	bare := s.table([]row{header("A", "B"), {cells: []cell{{"longer", bad}, {"x", plain}}}})
	if want := "A       B\nlonger  x\n"; bare != want {
		t.Errorf("%q, want %q", bare, want)
	}
	if !strings.Contains(coloured, "\x1b[31mlonger\x1b[0m  x\n") {
		t.Errorf("%q", coloured)
	}
}

func TestCommandsInHintsAreNotBroken(t *testing.T) {
	for n := range 100 {
		got := wrap(strings.Repeat("x", n)+" "+typed("tokenctl rotate", "clms"), "  ")
		if !strings.Contains(got, "tokenctl rotate clms\n") {
			t.Errorf("%q", got)
		}
	}
}

func TestWrap(t *testing.T) {
	got := wrap(strings.Repeat("word ", 40), "  ")
	for line := range strings.Lines(got) {
		if len(line) > width+1 || !strings.HasPrefix(line, "  word") || strings.HasSuffix(line, " \n") {
			t.Errorf("%q", line)
		}
	}
	if strings.Count(got, "word") != 40 {
		t.Errorf("words were lost: %q", got)
	}
}

func TestHintsFitWhatWasTyped(t *testing.T) {
	invalid := func(field, message string) *token.Error {
		return &token.Error{Code: token.ErrInvalid, Field: field, Message: message}
	}
	now := time.Now()
	for name, c := range map[string]struct {
		err  error
		s    situation
		want string
	}{
		"a scope that is not wanted":      {invalid("scope", "no"), situation{command: "get", flags: []string{"scope"}}, "Leave out --scope."},
		"an audience that is not wanted":  {invalid("audience", "no"), situation{command: "get", flags: []string{"audience"}}, "Leave out --audience."},
		"a bad scope of the profile":      {invalid("scope", "no"), situation{command: "get"}, ""},
		"a bad file":                      {invalid("", `profile "x" is not in force: /x.toml:2: bad`), situation{command: "get"}, "Mend the file, then: tokenctl reload"},
		"a name that cannot be":           {invalid("name", "no"), situation{command: "get", profile: "a/b"}, nameRule},
		"a reload":                        {invalid("", "x.toml:2: bad"), situation{command: "reload"}, "Mend what is wrong, then: tokenctl reload"},
		"a flag's value":                  {invalid("tenant", "no"), situation{command: "add"}, "The flag for it: --tenant"},
		"an answer":                       {invalid("settings.tenant", "no"), situation{command: "add", asked: []string{"tenant"}}, "Nothing was kept."},
		"no answer":                       {errNoAnswer, situation{command: "rotate"}, "The old secret or key is still in use."},
		"no yes":                          {errNoAnswer, situation{command: "remove"}, "Nothing is removed."},
		"dropped moments ago":             {&token.Error{Code: token.ErrUnavailable, RetryAt: now.Add(3500 * time.Millisecond)}, situation{command: "invalidate", now: now}, "Nothing was dropped. Again in 4 s, if you must."},
		"an invalidation that is too old": {&token.Error{Code: token.ErrUnavailable}, situation{command: "invalidate", now: now}, "Nothing was dropped."},
		"a fault of tokend's":             {&token.Error{Code: token.ErrInternal}, situation{command: "get"}, "tokend's log may say more. How it is: tokenctl status"},
		"a fault of ours":                 {errors.New("disk full"), situation{command: "get"}, ""},
		"a URL of nobody":                 {&token.Error{Code: token.ErrNotFound, Field: "url"}, situation{command: "get"}, "To have a profile claim it, add it to hosts = [...] in the profile's file (tokenctl show NAME tells which) and run tokenctl reload."},
		"a URL of another profile":        {&token.Error{Code: token.ErrNotFound, Field: "url"}, situation{command: "get", profile: "a", profiles: []string{"a"}}, "To have a profile claim it, add it to hosts = [...] in the profile's file (tokenctl show NAME tells which) and run tokenctl reload."},
		"what a tool has already":         {&token.Error{Code: token.ErrExists}, situation{command: "setup"}, ""},
		"no right to manage":              {&token.Error{Code: token.ErrDenied, Field: "admin_users"}, situation{command: "add"}, ""},
		"no right to connect":             {&token.Error{Code: token.ErrDenied, Message: "no permission to connect to " + ipc.SystemSocket()}, situation{command: "get"}, "Members of the group tokend may connect; as root, and then log in anew: usermod -aG tokend USER"},
		"a token that does not fit":       {unfit("no"), situation{command: "get"}, ""},
		"a socket that is named":          {token.ErrNoDaemon, situation{command: "get", socket: "/tmp/no pe"}, "Start it: tokend run --socket '/tmp/no pe', or is the path right?"},
	} {
		if got := told(c.err, c.s); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := told(token.ErrNoDaemon, situation{command: "get", here: standing{program: "/bin/tokend", setUp: true}}); got != "Start it: tokenctl --start, or at each login from now on: tokend install" {
		t.Error(got)
	}
	if got := told(notStarted("its log says why"), situation{command: "get"}); got != "" {
		t.Errorf("it was tried already: %s", got)
	}
	if got := told(notStarted("its log says why"), situation{command: "get", here: standing{program: "/bin/tokend", setUp: true}}); got != "What is wrong, and what to do: tokend doctor" {
		t.Errorf("it did not start: %s", got)
	}
}

func TestNamesThatCannotBeAreNotToBeAdded(t *testing.T) {
	for name, can := range map[string]bool{"api": true, "a.b_c-1": true, "my profile": false, "-x": false, ".x": false, "ä": false, "a+b": false, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a\\b": false} {
		got := told(token.ErrNotFound, situation{command: "get", profile: name})
		if strings.Contains(got, "tokenctl add") != can || strings.Contains(got, nameRule) == can || !strings.Contains(got, "tokenctl list") {
			t.Errorf("%q: %s", name, got)
		}
	}
}
