package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
)

func TestTimesInWords(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		42 * time.Minute: "in 42 min", -3 * time.Hour: "3 h ago", 89 * time.Second: "in 89 s", 90 * time.Second: "in 1 min",
		89*time.Minute + 59*time.Second: "in 89 min", 100 * time.Minute: "in 1 h", 47 * time.Hour: "in 47 h", 12 * 24 * time.Hour: "in 12 days",
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
	e := &token.Error{Code: token.ErrUnavailable, RetryAt: now.Add(42*time.Second + 500*time.Millisecond)}
	got := told(e, s)
	if !strings.Contains(got, "the next try is in 42 s ("+e.RetryAt.Local().Format("15:04:05")+")") {
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
