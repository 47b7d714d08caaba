package ui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

func TestTimesInWords(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		42 * time.Minute: "in 42 min", -3 * time.Hour: "3 h ago", 119 * time.Second: "in 119 s", 120 * time.Second: "in 2 min", 149 * time.Second: "in 2 min", 151 * time.Second: "in 3 min",
		59*time.Minute + 59*time.Second: "in 1 h", time.Minute: "in 1 min", 100 * time.Minute: "in 100 min", 2*time.Hour - time.Second: "in 2 h",
		47 * time.Hour: "in 47 h", 48*time.Hour - time.Second: "in 2 days", 12 * 24 * time.Hour: "in 12 days",
		0: "now", -time.Millisecond: "now", 999 * time.Millisecond: "now", time.Second: "in 1 s", -time.Second: "1 s ago",
	} {
		if got := When(now.Add(d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := WhenOrDash(time.Time{}, now); got != "-" {
		t.Errorf("no time at all: %q", got)
	}
	for d, want := range map[time.Duration]string{412 * time.Millisecond: "412 ms", 1250 * time.Millisecond: "1.2 s"} {
		if got := Took(d); got != want {
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
		if got := Printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// shown is all hints, as they are shown but for the line ends.
func shown(err error, s Situation) string { return Plainly(strings.Join(Hints(err, s), "\n")) }

// What to do about a refusal comes from docs/errors.md.
func TestHintsExplainRefusals(t *testing.T) {
	now := time.Now()
	s := Situation{Command: "get", Profile: "api", Now: now}
	refused := func(oauth, detail string) *token.Error {
		return &token.Error{Code: token.ErrRejected, OAuth: oauth, Detail: detail, RetryAt: now.Add(7 * time.Minute)}
	}
	for _, code := range []string{"invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope", "unsupported_grant_type", "invalid_request"} {
		if got := shown(refused(code, ""), s); !strings.HasPrefix(got, code+": ") || !strings.HasSuffix(got, "\ntokend will retry within 10 minutes. To try at once: tokenctl get --fresh api") {
			t.Errorf("%s: %s", code, got)
		}
	}
	for _, code := range []string{"7000215", "7000222", "700016", "90002", "70011", "1002012", "500011", "700027", "700024", "50012", "7000112", "53003"} {
		if got := shown(refused("invalid_client", "AADSTS"+code), s); !strings.HasPrefix(got, "AADSTS"+code+": ") {
			t.Errorf("%s: %s", code, got)
		}
	}
	wait := &token.Error{Code: token.ErrUnavailable, Detail: "AADSTS700024", RetryAt: now.Add(42 * time.Second)}
	for _, c := range []struct {
		err  *token.Error
		s    Situation
		want string
	}{
		{refused("invalid_client", "AADSTS7000215"), s, "and enter it: tokenctl rotate api."},
		{wait, s, "set the clock: timedatectl set-ntp true."},
		{wait, s, "tokend keeps trying. To try at once: tokenctl get --fresh api"},
		{refused("invalid_client", "AADSTS1"), s, "invalid_client: compare"},
		{refused("", ""), s, "tokenctl rotate api"},
		{&token.Error{Code: token.ErrRejected}, s, "tokend will retry within 10 minutes."},
		{&token.Error{Code: token.ErrUnavailable, Topic: "timeout", RetryAt: wait.RetryAt}, s, "tokend keeps trying. Try again in 42 s.\nSee: "},
		{&token.Error{Code: token.ErrUnavailable, Topic: "outage"}, Situation{Command: "add"}, "Try again later, or keep it untested with --no-check.\n"},
		{&token.Error{Code: token.ErrUnavailable, Topic: "tls-wrong-name"}, s, "tls-wrong-name: use the name in the certificate."},
		{&token.Error{Code: token.ErrUnavailable, Topic: "tls-wrong-name"}, Situation{Command: "add"}, "\nNothing was saved."},
		{refused("invalid_client", ""), Situation{Command: "add"}, "or enter another secret: run this command again. If both are right, "},
		{&token.Error{Code: token.ErrRejected, Topic: "AADSTS7000215"}, s, "See: tokenctl explain AADSTS7000215"},
		{&token.Error{Code: token.ErrUnavailable, Topic: "tls-wrong-name", RetryAt: now.Add(42 * time.Second)}, s, "tls-wrong-name: use the name"},
		{&token.Error{Code: token.ErrUnavailable, Topic: "host-not-found"}, Situation{Command: "add", Profile: "x"}, "compare the endpoint in what you gave with"},
		{&token.Error{Code: token.ErrUnavailable, Topic: "host-not-found"}, Situation{Command: "rotate", Profile: "x"}, "in tokenctl show x with"},
		{&token.Error{Code: token.ErrRejected, Topic: "invalid_scope"}, Situation{Command: "import"}, "Then run this command again."},
	} {
		if got := shown(c.err, c.s); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s, want %s", c.err, got, c.want)
		}
	}
}

// "Try again later" is said of what passes by itself, and of nothing else.
func TestOnlyWhatPassesIsWaitedFor(t *testing.T) {
	passing := []string{"host-lookup", "timeout", "connection-closed", "rate-limit", "outage", "temporarily_unavailable", "AADSTS90033", ""}
	for _, topic := range append(passing, "host-not-found", "connection-refused", "no-route", "inward-address", "proxy-refused", "proxy-unreachable",
		"tls-unknown-authority", "tls-wrong-name", "tls-expired", "tls-not-yet-valid", "tls-invalid", "tls-handshake", "no-tls", "no-http",
		"redirect", "html-answer", "bad-answer", "no-endpoint", "blocked", "AADSTS700024") {
		for _, command := range []string{"add", "rotate", "import", "invalidate"} {
			got := shown(&token.Error{Code: token.ErrUnavailable, Topic: topic}, Situation{Command: command, Profile: "x"})
			if later, want := strings.Contains(got, "Try again later"), slices.Contains(passing, topic); later != want || want == strings.Contains(got, topic+": ") {
				t.Errorf("%s, %s: %s", command, topic, got)
			}
		}
	}
}

func TestExitStatusFindsTheCodeWhereverItIs(t *testing.T) {
	e := &token.Error{Code: token.ErrRejected}
	for _, err := range []error{e, fmt.Errorf("x: %w", e), errors.Join(errors.New("y"), e), token.ErrRejected, fmt.Errorf("x: %w", token.ErrRejected)} {
		if got := ExitStatus(err); got != ExitRejected {
			t.Errorf("%v: %d", err, got)
		}
	}
	if got := ExitStatus(errors.New("unknown")); got != ExitFailure {
		t.Errorf("an unknown error: %d", got)
	}
}

func TestNamesInHintsCanBePasted(t *testing.T) {
	for in, want := range map[string]string{"clms": "clms", "": "NAME", "a b": "'a b'", "x;rm -rf ~": "'x;rm -rf ~'", "a.b_c-1": "a.b_c-1"} {
		if got := Word(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestColourIsForTerminalsAlone(t *testing.T) {
	var b strings.Builder
	if s := NewScreen(&b); s.Colour {
		t.Error("a buffer is no terminal")
	}
	rows := []Row{Header("A", "B"), {Cells: []Cell{{"longer", Bad}, {"x", Plain}}}}
	if bare, want := (Screen{&b, false}).Table(rows), "A       B\nlonger  x\n"; bare != want {
		t.Errorf("%q, want %q", bare, want)
	}
	if coloured := (Screen{&b, true}).Table(rows); !strings.Contains(coloured, "\x1b[31mlonger\x1b[0m  x\n") {
		t.Errorf("%q", coloured)
	}
}

func TestCommandsInHintsAreNotBroken(t *testing.T) {
	for n := range 100 {
		got := Wrap(strings.Repeat("x", n)+" "+Typed("tokenctl rotate", "clms"), "  ")
		if !strings.Contains(got, "tokenctl rotate clms\n") {
			t.Errorf("%q", got)
		}
	}
}

func TestWrap(t *testing.T) {
	got := Wrap(strings.Repeat("word ", 40), "  ")
	for line := range strings.Lines(got) {
		if len(line) > cli.Width+1 || !strings.HasPrefix(line, "  word") || strings.HasSuffix(line, " \n") {
			t.Errorf("%q", line)
		}
	}
	if strings.Count(got, "word") != 40 {
		t.Errorf("words were lost: %q", got)
	}
}

func TestHintsFitTheCommand(t *testing.T) {
	invalid := func(field, message string) *token.Error {
		return &token.Error{Code: token.ErrInvalid, Field: field, Message: message}
	}
	now := time.Now()
	noURL := &token.Error{Code: token.ErrNotFound, Field: "url"}
	const addHost = "Add it to hosts = [...] in a profile's file (tokenctl show NAME prints its path) and run tokenctl reload."
	for name, c := range map[string]struct {
		err  error
		s    Situation
		want string
	}{
		"a bad scope":                          {invalid("scope", "no"), Situation{Command: "get"}, ""},
		"a bad file":                           {invalid("", `profile "x" is not active: /x.toml:2: bad`), Situation{Command: "get"}, "Correct it, then: tokenctl reload"},
		"a reload":                             {invalid("", "x.toml:2: bad"), Situation{Command: "reload"}, "Correct it, then: tokenctl reload"},
		"a flag's value":                       {invalid("tenant", "no"), Situation{Command: "add", FieldFlag: "--tenant"}, "Its flag: --tenant"},
		"no answer":                            {ErrNoAnswer, Situation{Command: "rotate"}, "The old secret or key is still in use."},
		"no yes":                               {ErrNoAnswer, Situation{Command: "remove"}, "Nothing was removed."},
		"dropped moments ago":                  {&token.Error{Code: token.ErrUnavailable, RetryAt: now.Add(4 * time.Second)}, Situation{Command: "invalidate", Now: now}, "Try again in 4 s.\nNothing was dropped."},
		"a fault of tokend's":                  {&token.Error{Code: token.ErrInternal, Message: "no"}, Situation{Command: "get"}, "tokend's log may say more: tokenctl logs"},
		"a fault of ours":                      {errors.New("disk full"), Situation{Command: "get"}, ""},
		"a token that does not fit":            {&token.Error{Code: token.ErrInternal, Message: "no", Cause: format.ErrUnfit}, Situation{Command: "get"}, ""},
		"a URL without a profile":              {noURL, Situation{Command: "get"}, addHost},
		"a link to a file":                     {&token.Error{Code: token.ErrNotFound, Field: "url", Detail: token.OwnPermission}, Situation{Command: "get"}, "The link carries its own permission and takes no token. Download it without one, with plain curl for example."},
		"a URL of another profile":             {noURL, Situation{Command: "get", Profile: "a", Profiles: []string{"a"}}, addHost},
		"what a tool has already":              {&token.Error{Code: token.ErrExists}, Situation{Command: "setup"}, ""},
		"a name that is taken":                 {&token.Error{Code: token.ErrExists}, Situation{Command: "add", Profile: "a"}, "Use another name, or replace that profile's secret: tokenctl rotate a"},
		"no right to manage":                   {&token.Error{Code: token.ErrDenied, Field: "admin_users"}, Situation{Command: "add"}, ""},
		"no right to connect":                  {&token.Error{Code: token.ErrDenied, Message: "no permission to connect to " + ipc.SystemSocket()}, Situation{Command: "get"}, "Only members of the group tokend may connect. As root, then log in again: usermod -aG tokend USER"},
		"no right to manage the system's":      {&token.Error{Code: token.ErrDenied, Field: "admin_users"}, Situation{Command: "add", System: true}, strings.ReplaceAll(OwnInstead, "\u00a0", " ")},
		"no profile of the system's":           {&token.Error{Code: token.ErrNotFound}, Situation{Command: "get", System: true}, strings.ReplaceAll(OwnInstead, "\u00a0", " ")},
		"another's tokend, with sudo":          {&token.Error{Code: token.ErrDenied}, Situation{Command: "get", Sudo: "alice"}, "With sudo you are root, and have no tokend of alice's: leave out sudo."},
		"no tokend, with sudo":                 {token.ErrNoDaemon, Situation{Command: "get", Sudo: "alice"}, "With sudo you are root, and have no tokend of alice's: leave out sudo."},
		"the system's does not run, with sudo": {token.ErrNoDaemon, Situation{Command: "get", Sudo: "alice", Machine: Machine{Program: "/bin/tokend", system: true}}, "The system's tokend is not running. As root: tokend start --system"},
		"a socket that is named":               {token.ErrNoDaemon, Situation{Command: "get", Socket: "/tmp/no pe"}, "Start it: tokend run --socket '/tmp/no pe', or is the path right?"},
		"a daemon that does not run":           {token.ErrNoDaemon, Situation{Command: "get", Machine: Machine{Program: "/bin/tokend", setUp: true}}, "Start it: tokenctl --start, or as a service: tokend install"},
		"a tokend that does not start":         {&token.Error{Code: token.ErrNoDaemon, Message: "its log says why", Cause: ErrNotStarted}, Situation{Command: "get"}, ""},
	} {
		if got := shown(c.err, c.s); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		want   string
	}{
		"an error":        {&token.Error{Code: token.ErrRejected, Message: "no\x1b"}, ExitRejected, "tokenctl: no\\x1b\n  do it\n"},
		"without hints":   {fmt.Errorf("x: %w", &Exit{126, errors.New("no such program")}), 126, "tokenctl: no such program\n"},
		"shown already":   {&Exit{Status: 3}, 3, ""},
		"an interruption": {ErrInterrupted, ExitInterrupted, ""},
		"a timeout":       {context.DeadlineExceeded, ExitUnavailable, "tokenctl: tokend did not answer in time\n  do it\n"},
	} {
		var b strings.Builder
		e := &Env{Err: NewScreen(&b)}
		if got := e.Report(c.err, []string{"do it"}); got != c.status || b.String() != c.want {
			t.Errorf("%s: %d %q", name, got, b.String())
		}
	}
}

func TestPlainJSON(t *testing.T) {
	in := "{\"a\":\"x\u202e\u009b\U000e0041é\U0001f600\"}\n"
	out := PlainJSON(in)
	var a, b map[string]string
	if json.Unmarshal([]byte(in), &a) != nil || json.Unmarshal([]byte(out), &b) != nil || a["a"] != b["a"] {
		t.Errorf("%q became %q", in, out)
	}
	if want := `{"a":"x\u202e\u009b\udb40\udc41é😀"}` + "\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestChecksHaveALineForEachStep(t *testing.T) {
	got := Screen{}.Checks([]token.Check{{Name: "socket", Result: token.CheckFail, Text: "no", Advice: "tokend setup\nThen: tokenctl --start"}})
	if want := "fail  socket: no\n      -> tokend setup\n      -> Then: tokenctl --start\n"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestKeysOfAnAnswer(t *testing.T) {
	const key, pem = "{\n\"a\": {}\n}", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"
	for keys, want := range map[string]struct {
		text, shown string
		err         error
	}{
		"abc\r": {"abc", "abc", nil}, "abc\nrest": {"abc", "abc", nil}, "\r": {"", "", nil}, "ab\x7fc\r": {"ac", "ab\b \bc", nil},
		"aü\x08\x7f\x7fb\r": {"b", "aü\b \b\b \bb", nil}, "ab\x15c\r": {"c", "ab\b \b\b \bc", nil}, "a\x04b\r": {"ab", "ab", nil},
		"\x04": {"", "", ErrNoAnswer}, "a\x03": {"", "a", ErrInterrupted}, "": {"", "", ErrNoAnswer}, "no end": {"", "no end", ErrNoAnswer},
		"a\x7f\x04": {"", "a\b \b", ErrNoAnswer}, key + "rest": {key, "", nil}, "key: {\r\x04": {"key: {\n", "key: ", nil},
		pem + "\n": {pem, "-----BEGI", nil}, pasteBegin + "a/b\r" + pasteEnd + "\r": {"a/b", "a/b", nil},
		pasteBegin + "My key:\r```\r" + key + "\r```\r" + pasteEnd + "rest": {"My key:\n```\n" + key + "\n```", "", nil},
	} {
		var shown strings.Builder
		text, err := readAnswer(strings.NewReader(keys), &shown, nil)
		if string(text) != want.text || shown.String() != want.shown || !errors.Is(err, want.err) {
			t.Errorf("%q: %q, shown %q, %v", keys, text, shown.String(), err)
		}
		if text, err = readAnswer(strings.NewReader("{x\r"), nil, nil); string(text) != "{x" || err != nil {
			t.Errorf("a secret with a brace: %q, %v", text, err)
		}
	}
}

func TestWhoseTokendAnswers(t *testing.T) {
	t.Setenv("SUDO_USER", "alice")
	e := &Env{Socket: ipc.SystemSocket()}
	s := e.Situation(t.Context(), &cli.Call{Command: &cli.Command{}}, token.ErrDenied)
	if isRoot := os.Geteuid() == 0; s.System == isRoot || (s.Sudo == "alice") != isRoot {
		t.Errorf("as root %t: %+v", isRoot, s)
	}
}

// Of what is typed or pasted at a menu, only what can be an answer is shown.
func TestAMenuDoesNotShowASecret(t *testing.T) {
	fits := func(text string) bool { return len(text) <= 5 && "azure"[:len(text)] == text }
	for keys, want := range map[string]string{
		"azure\r": "azure", "s3cr3t~x\r": "", pasteBegin + "s3cr3t" + pasteEnd + "\r": "", "aS\x7fz\r": "az", "azQQ\x15\r": "az\b \b\b \b", "az\x7f\r": "az\b \b",
		pasteBegin + "azure" + pasteEnd + "\r": "azure",
	} {
		var shown strings.Builder
		if _, err := readAnswer(strings.NewReader(keys), &shown, fits); err != nil || shown.String() != want {
			t.Errorf("%q: shows %q, %v", keys, shown.String(), err)
		}
	}
}

// The steps fit the machine, and end with a tokend that answers.
func TestStepsFitTheMachine(t *testing.T) {
	const program = "/usr/bin/tokend"
	for want, s := range map[string]Machine{
		"Set it up and start it: tokend setup":                                                                                           {Program: program},
		"Start it: tokenctl --start, or as a service: tokend install":                                                                    {Program: program, setUp: true, system: true},
		"The system's tokend is not running. As root: tokend start --system":                                                             {Program: program, system: true},
		"tokend is neither beside tokenctl nor in $PATH; install it first.\nStart it: tokenctl --start, or as a service: tokend install": {setUp: true},
	} {
		if got := Plainly(strings.Join(Hints(token.ErrNoDaemon, Situation{Machine: s}), "\n")); got != want {
			t.Errorf("%+v:\n%s\nwant\n%s", s, got, want)
		}
	}
}

// tokenctl looks where tokend writes.
func TestStateDirIsTokends(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, state := range []string{"", "/srv/state"} {
		t.Setenv("XDG_STATE_HOME", state)
		dirs, err := profile.UserDirs()
		got, gotErr := StateDir()
		if err != nil || gotErr != nil || got != dirs.State {
			t.Errorf("XDG_STATE_HOME=%q: %s (%v), tokend says %s (%v)", state, got, gotErr, dirs.State, err)
		}
	}
}
