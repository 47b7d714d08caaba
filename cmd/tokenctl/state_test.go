package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func TestWithoutArgumentsItSaysHowThingsStand(t *testing.T) {
	b, socket := served(t, newBackend())
	call(t, socket, nil).wants(t, ui.ExitOK, "tokend 1.2.3 is running, started 3 h ago; its keystore is os: ok.\n"+
		"Needs attention: tokenctl status azure\nSee all: tokenctl status; one in detail: tokenctl status NAME\nAll commands: tokenctl --help\n", "")

	b.status.Profiles = b.status.Profiles[1:]
	call(t, socket, nil).wants(t, ui.ExitOK, "\nUse one: tokenctl get clms\n", "")

	b.status.Profiles = []token.ProfileStatus{{Name: "rock", Does: "signs"}}
	call(t, socket, nil).wants(t, ui.ExitOK, "\nUse one: tokenctl sign rock URL\n", "")

	b.status.Profiles = nil
	r := call(t, socket, nil)
	r.wants(t, ui.ExitOK, "There is no profile yet. Add one: tokenctl add\n", "")
	if n := strings.Count(r.out, "\n"); n > 5 || strings.Contains(r.out, "\n\n") {
		t.Errorf("%d lines:\n%s", n, r.out)
	}
	b.status.MayManage = false
	for _, args := range [][]string{nil, {"status"}, {"list"}} {
		call(t, socket, nil, args...).wants(t, ui.ExitOK, "There is no profile that you may use. Ask the person who manages them.\n", "")
	}
	b.status.State = "/var/lib/tokend"
	for _, args := range [][]string{nil, {"status"}, {"list"}} {
		call(t, socket, nil, args...).wants(t, ui.ExitOK, "them.\nThis is the system's tokend. For one of your own: tokend setup, then\ntokend install\n", "")
	}
	call(t, socket, nil).wants(t, ui.ExitOK, "The system's tokend 1.2.3 is running", "")
}

func TestWithoutADaemonItSaysHowToStartIt(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	r := call(t, socket, nil)
	r.wants(t, ui.ExitOK, "tokend is not running: no tokend answers at\n"+socket, "")
	if !strings.Contains(r.out, "tokend run --socket "+ui.Word(socket)) || !strings.Contains(r.out, "tokenctl --help") {
		t.Error(r.out)
	}
}

// lived is a token that was obtained so long ago, for so long.
func lived(now time.Time, ago, life time.Duration) token.TokenStatus {
	return token.TokenStatus{State: "fresh", Issued: now.Add(-ago), Expiry: now.Add(life - ago), RenewAt: now.Add(life*3/4 - ago)}
}

func TestWhatIsLeftIsDrawn(t *testing.T) {
	now := time.Now()
	expired := lived(now, 2*time.Hour, time.Hour)
	expired.State = "expired"
	future := lived(now, -time.Minute, time.Hour) // the clock was set back a little
	for want, token := range map[string]token.TokenStatus{
		"######## 1 h": lived(now, 0, time.Hour), "####---- 30 min": lived(now, 30*time.Minute, time.Hour),
		"#------- 59 s": lived(now, time.Hour-59*time.Second, time.Hour), "-------- 0 s": lived(now, time.Hour, time.Hour),
		"-": expired, "######## 61 min": future,
	} {
		if got := lifeLeft(token, now).Text; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Each fault is shown with what tokend does about it.
func TestFaultsAreShownWithWhatIsDone(t *testing.T) {
	now := time.Now()
	in := func(d time.Duration) time.Time { return now.Add(d + 500*time.Millisecond) }
	unavailable := func(retry time.Time) *token.Error {
		return &token.Error{Code: token.ErrUnavailable, Message: "idp did not answer", RetryAt: retry}
	}
	good := lived(now, 48*time.Minute-500*time.Millisecond, time.Hour)
	with := func(t token.TokenStatus, e *token.Error, failures int, obtaining bool) token.TokenStatus {
		t.Error, t.Failures, t.Obtaining = e, failures, obtaining
		return t
	}
	none := token.TokenStatus{State: "none"}
	for want, token := range map[string]token.TokenStatus{
		"idp did not answer; trying again in 40 s; the cached token is valid for 12 min": with(good, unavailable(in(40*time.Second)), 1, false),
		"idp did not answer (7 times in a row); trying again in 5 min":                   with(none, unavailable(in(5*time.Minute)), 7, false),
		"idp did not answer (2 times in a row); trying again now":                        with(none, unavailable(in(-time.Second)), 2, true),
		"idp did not answer; trying again now":                                           with(none, unavailable(now.Add(-time.Minute)), 1, false),
		"idp says no; trying again in 6 min":                                             with(none, &token.Error{Code: token.ErrRejected, Message: "idp says no", RetryAt: in(6 * time.Minute)}, 1, false),
		"the keyring is locked; trying again in 5 s":                                     with(none, &token.Error{Code: token.ErrLocked, Message: "the keyring is locked", RetryAt: in(5 * time.Second)}, 1, false),
		"no key is stored": with(none, &token.Error{Code: token.ErrKeystore, Message: "no key is stored"}, 1, false),
	} {
		if got := failureText(token, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestStatesInWords(t *testing.T) {
	failed := func(c token.Code) *token.Error { return &token.Error{Code: c} }
	for want, tokens := range map[string][]token.TokenStatus{
		"fresh":     {{State: "fresh"}, {State: "fresh", Error: failed(token.ErrRejected)}},
		"due":       {{State: "due", Obtaining: true}},
		"obtaining": {{State: "none", Obtaining: true}, {State: "expired", Obtaining: true}},
		"none":      {{State: "none"}},
		"expired":   {{State: "expired"}},
		"refused":   {{State: "none", Error: failed(token.ErrRejected)}, {State: "expired", Obtaining: true, Error: failed(token.ErrRejected)}},
		"locked":    {{State: "expired", Error: failed(token.ErrLocked)}},
		"failing":   {{State: "none", Error: failed(token.ErrUnavailable)}, {State: "none", Error: failed(token.ErrKeystore)}},
		"signs":     {{State: "signs"}},
	} {
		for _, token := range tokens {
			if got := stateOf(token).Text; got != want {
				t.Errorf("%+v: %s, want %s", token, got, want)
			}
		}
	}
}

func TestWhoUsedItInWords(t *testing.T) {
	me, other := os.Getuid(), os.Getuid()+1
	for want, user := range map[string]*token.User{
		"": nil, "curl": {UID: me, Name: "me", PID: 4711, Program: "curl"}, "process 4711": {UID: me, PID: 4711},
		"curl of alice": {UID: other, Name: "alice", PID: 4711, Program: "curl"}, "alice": {UID: other, Name: "alice"},
		`a\x1b[2Jb of alice`: {UID: other, Name: "alice", Program: "a\x1b[2Jb"},
	} {
		if got := userText(user); got != want {
			t.Errorf("%+v: %q, want %q", user, got, want)
		}
	}
}

func TestOneProfileIsShownAtLength(t *testing.T) {
	b := newBackend()
	now := time.Now()
	p := &b.status.Profiles[1]
	p.Tokens[0].LastUsed = now.Add(-3 * time.Minute)
	p.Tokens[0].LastUser = &token.User{UID: os.Getuid(), PID: 4711, Program: "python3"}
	p.Tokens[0].Granted = "read"
	p.Tokens[0].Content = &token.ClaimsPreview{Format: "jwt", Issuer: "https://id", Subject: "me", Audience: []string{"https://a", "https://b"}, Client: "c", Scopes: []string{"read", "list"}}
	p.Tokens[0].History = []token.Attempt{{At: now.Add(-10 * time.Minute), Took: 412 * time.Millisecond}, {At: now.Add(-20 * time.Minute), Took: 10 * time.Second, Code: token.ErrUnavailable}, {At: now.Add(-3 * time.Hour), Code: "from_the_future"}}
	socket := serve(t, b)
	r := call(t, socket, nil, "status", "clms")
	r.lacks(t, "azure")
	r.has(t,
		"endpoint    https://land.copernicus.eu/@@oauth2-token\n", "state      fresh\n", "left       ######## 42 min\n", "next       in 30 min\n",
		"last used  3 min ago by python3 (process 4711)\n", "granted    read\n", "token      a JWT; tokend has not verified what it says\n",
		"issuer     https://id\n", "subject    me\n", "audience   https://a https://b\n", "client     c\n", "scopes     read list\n",
		"ATTEMPT     TOOK    RESULT\n10 min ago  412 ms  a token\n20 min ago  10.0 s  issuer unavailable\n3 h ago     0 ms    from_the_future\n")
	p.Tokens[0].Content = &token.ClaimsPreview{Format: "opaque"}
	p.Tokens[0].Error = &token.Error{Code: token.ErrRejected, OAuth: "invalid_client", Topic: "invalid_client", Message: "idp says no", RetryAt: now.Add(5*time.Minute + time.Second)}
	r = call(t, socket, nil, "status", "clms")
	r.has(t, "token      opaque", "The last attempt failed\n  idp says no; ", "tokenctl rotate clms", "  See: tokenctl explain invalid_client\n")
}

func TestWatchIsForTerminals(t *testing.T) {
	b := newBackend()
	call(t, serve(t, b), nil, "status", "--watch").wants(t, ui.ExitUsage, "", "--watch needs a terminal; programs use --json")
	call(t, serve(t, b), nil, "status", "--watch", "--json").wants(t, ui.ExitUsage, "", "cannot be combined")
}
