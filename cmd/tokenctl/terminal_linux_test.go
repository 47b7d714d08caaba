package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/docs"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// A person sits at a terminal: reads what is on the screen, and types.
type person struct {
	t             *testing.T
	master, slave *os.File
	mu            sync.Mutex
	more          *sync.Cond
	screen        bytes.Buffer
	closed        bool
}

// newPerson opens a pseudo-terminal.
func newPerson(t *testing.T) *person {
	t.Helper()
	master, slave := checktest.Terminal(t)
	p := &person{t: t, master: master, slave: slave}
	p.more = sync.NewCond(&p.mu)
	go p.watch()
	return p
}

func (p *person) watch() {
	b := make([]byte, 4096)
	for {
		n, err := p.master.Read(b)
		p.mu.Lock()
		p.screen.Write(b[:n])
		p.closed = err != nil
		p.more.Broadcast()
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// sees waits until text is on the screen.
func (p *person) sees(text string) {
	p.t.Helper()
	late := time.AfterFunc(20*time.Second, func() {
		p.mu.Lock()
		p.closed = true
		p.more.Broadcast()
		p.mu.Unlock()
	})
	defer late.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !strings.Contains(p.screen.String(), text) {
		if p.closed {
			p.t.Fatalf("%q never came on the screen:\n%s", text, p.screen.String())
		}
		p.more.Wait()
	}
}

// answers waits for a question and types a line.
func (p *person) answers(question, line string) {
	p.t.Helper()
	p.sees(question)
	p.types(line + "\n")
}

// whispers waits for a question, and for the echo to go, and types a line.
func (p *person) whispers(question, line string) {
	p.t.Helper()
	p.sees(question)
	p.deaf()
	p.types(line + "\n")
}

// deaf waits for the echo to go, which is just after the question.
func (p *person) deaf() {
	p.t.Helper()
	for late := time.Now().Add(20 * time.Second); p.echoes(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			p.t.Fatal("the terminal shows what is typed")
		}
	}
}

func (p *person) types(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

// missing checks that text is not on the screen.
func (p *person) missing(text string) {
	p.t.Helper()
	if seen := p.seen(); strings.Contains(seen, text) {
		p.t.Errorf("%q is on the screen:\n%s", text, seen)
	}
}

// echoes reports whether the terminal shows what is typed.
func (p *person) echoes() bool { return checktest.Echoes(p.slave) }

// runs starts tokenctl at the terminal, its stdout kept apart.
func (p *person) runs(socket string, args ...string) (wait func() result) {
	var out bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(append([]string{"tokenctl", "--socket", socket}, args...), p.slave, &out, p.slave)
	}()
	return func() result {
		p.t.Helper()
		select {
		case status := <-done:
			return result{status: status, out: out.String()}
		case <-time.After(20 * time.Second):
			p.t.Fatalf("it does not end; on the screen:\n%s", p.seen())
			return result{}
		}
	}
}

func TestAddAsksForWhatIsMissing(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	b, p := newBackend(), newPerson(t)
	wait := p.runs(serve(t, b), "add", "--tenant", "contoso.com")
	p.answers("or paste a key: ", "azur")
	p.answers("such as clms; did you mean azure?\r\nWhich one [1-3], or paste a key: ", "2")
	p.answers("Name for the profile [azure]: ", "")
	p.answers("application ID\r\nclient_id: ", "my-app")
	p.answers("resource and /.default\r\nscope: ", "https://x/.default")
	p.answers("Which one [1-3]: ", "client_secret")
	p.whispers("(not shown): ", canary)
	if r := wait(); r.status != ui.ExitOK || !strings.Contains(r.out, "tokenctl get clms") {
		t.Fatalf("status %d, stdout %q; on the screen:\n%s", r.status, r.out, p.seen())
	}
	a := b.addition
	want := map[string]any{"tenant": "contoso.com", "client_id": "my-app", "scope": "https://x/.default"}
	if a.Name != "azure" || a.Provider != "azure" || fmt.Sprint(a.Settings) != fmt.Sprint(want) || a.Secrets["client_secret"].Reveal() != canary {
		t.Errorf("sent %+v", a)
	}
	p.missing(canary)
	p.missing("tenant: ")
	if !p.echoes() {
		t.Error("the terminal is left without echo")
	}
}

func TestAddAsksForFilesByTheirNames(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.WriteFile(filepath.Join(home, "key.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, p := newBackend(), newPerson(t)
	wait := p.runs(serve(t, b), "add", "clms", "--provider", "clms")
	p.answers("the JSON file\r\nservice_key file, or paste it: ", "~/nokey.json")
	p.answers("service_key: no such file or directory\r\nservice_key file, or paste it: ", "'~/key.json' ") // as terminals type a file that is dropped
	if r := wait(); r.status != ui.ExitOK || !strings.Contains(r.out, filepath.Join(home, "key.json")) {
		t.Fatalf("status %d, stdout %q; on the screen:\n%s", r.status, r.out, p.seen())
	}
	if b.addition.Secrets["service_key"].Reveal() != "{}" {
		t.Errorf("sent %+v", b.addition)
	}
}

// What a person pastes may have text around the key. Nothing of the key is
// shown, and no Enter is needed.
func TestAPastedKeyIsNotShown(t *testing.T) {
	t.Setenv("TERM", "xterm")
	key := clmsKey("x")
	long := strings.Replace(key, canary, canary+strings.Repeat("A", 5000), 1) // more than the line of a terminal
	quoted, _ := json.Marshal(key)
	mark := func(text string) string { return "\x1b[200~" + strings.ReplaceAll(text, "\n", "\r") + "\x1b[201~" }
	for name, c := range map[string]struct {
		paste, want string
		args        []string
	}{
		"as it is":     {key, key, []string{"add", "clms"}},
		"lines":        {strings.ReplaceAll(key, ",", ",\n"), strings.ReplaceAll(key, ",", ",\n"), []string{"add", "clms"}},
		"marked":       {mark(long + "\n"), long, []string{"add", "clms"}},
		"a code fence": {mark("Here it is:\n```json\n" + key + "\n```\n"), key, []string{"add", "clms"}},
		"a string":     {mark(string(quoted)), key, []string{"add", "clms"}},
		"a list":       {mark("[\n" + key + "\n]"), key, []string{"add", "clms"}},
		"a variable":   {mark("CLMS_CREDENTIALS='" + key + "'\n"), key, []string{"add", "clms"}},
		"for its file": {mark("my key: " + key), key, []string{"add", "clms", "--provider", "clms"}},
		"a rotation":   {key, key, []string{"rotate", "clms"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := newBackend(), newPerson(t)
			wait := p.runs(serve(t, b), c.args...)
			p.sees("paste")
			p.deaf()
			p.types(c.paste)
			if r := wait(); r.status != ui.ExitOK || b.addition.Secrets["service_key"].Reveal() != c.want {
				t.Errorf("status %d, sent %+v; on the screen:\n%s", r.status, b.addition, p.seen())
			}
			if strings.Contains(p.seen(), canary) || strings.Contains(p.seen(), "private_key\"") || !p.echoes() {
				t.Errorf("the key is on the screen, or the echo is off:\n%s", p.seen())
			}
		})
	}
}

func TestAPersonSaysWhereASecretGoes(t *testing.T) {
	const env = "API_CLIENT_ID=c\nAPI_CLIENT_SECRET=" + canary + "\nAPI_SCOPE=api://k/.default\n"
	t.Chdir(folder(t, map[string]string{"k.env": env}))
	b := newBackend()
	r := call(t, serve(t, b), nil, "add", "kalibrate", "k.env")
	r.wants(t, ui.ExitUsage, "", "tokenctl add kalibrate k.env --provider azure --tenant TENANT; Aspose: tokenctl add kalibrate k.env --provider aspose")
	b.asked(t)
	p := newPerson(t)
	wait := p.runs(serve(t, b), "add", "kalibrate", "k.env")
	p.sees("the secret goes to\r\n    login.microsoftonline.com")
	p.answers("Which one [1-3]: ", "azure")
	p.answers("tenant: ", "contoso.com")
	if r := wait(); r.status != ui.ExitOK || b.addition.Provider != "azure" || b.addition.Settings["tenant"] != "contoso.com" || b.addition.Secrets["client_secret"].Reveal() != canary {
		t.Errorf("status %d, sent %+v; on the screen:\n%s", r.status, b.addition, p.seen())
	}
}

// Lines whose answer is the canary are typed without echo.
func TestSecretsAreAskedFor(t *testing.T) {
	pfx, pem := writeSecret(t, "a.pfx", "PFX"), writeSecret(t, "a.pem", "PEM")
	add := []string{"add", "x", "--provider", "azure", "--tenant", "t", "--client-id", "c", "--scope", "s"}
	askPFX, askPEM := [2]string{"both in one file\r\npfx file, or paste it: ", pfx}, [2]string{"certificate in PEM\r\ncertificate file, or paste it: ", pem}
	for name, c := range map[string]struct {
		args []string
		talk [][2]string
		want map[string]string
	}{
		"PFX":         {add, [][2]string{{"Which one [1-3]: ", "pfx"}, askPFX}, map[string]string{"pfx": "PFX"}},
		"certificate": {add, [][2]string{{"Which one [1-3]: ", "2"}, askPEM}, map[string]string{"certificate": "PEM"}},
		"rotate":      {[]string{"rotate", "azure"}, [][2]string{{"Which one [1-3]: ", "1"}, {"(not shown): ", canary}}, map[string]string{"client_secret": canary}},
		"stdin":       {[]string{"rotate", "azure", "--client-secret-file", "-"}, [][2]string{{"(not shown): ", canary}}, map[string]string{"client_secret": canary}},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := newBackend(), newPerson(t)
			wait := p.runs(serve(t, b), c.args...)
			for _, line := range c.talk {
				if line[1] == canary {
					p.whispers(line[0], line[1])
				} else {
					p.answers(line[0], line[1])
				}
			}
			if r := wait(); r.status != ui.ExitOK || (b.addition.Settings == nil) != (c.args[0] == "rotate") {
				t.Fatalf("status %d, sent %+v; on the screen:\n%s", r.status, b.addition, p.seen())
			}
			got := map[string]string{}
			for field, secret := range b.addition.Secrets {
				got[field] = secret.Reveal()
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("sent %q, want %q", got, c.want)
			}
			p.missing(canary)
		})
	}
}

func TestRemoveAsksFirst(t *testing.T) {
	for answer, want := range map[string][]string{"y": {"remove clms"}, "YES": {"remove clms"}, "": nil, "n": nil, "yeah": nil} {
		b, p := newBackend(), newPerson(t)
		wait := p.runs(serve(t, b), "remove", "clms")
		p.answers("Remove the profile clms and its secrets? [y/N] ", answer)
		if r := wait(); r.status != ui.ExitOK || !slices.Equal(b.calls, want) {
			t.Errorf("%q: status %d, asked tokend %q, want %q", answer, r.status, b.calls, want)
		}
	}
}

func TestNoAnswerEndsTheQuestions(t *testing.T) {
	for question, c := range map[string]struct {
		keys string
		args []string
	}{
		"paste a key: ": {"\x04", []string{"add"}},
		"Which one":     {"\x04", []string{"rotate", "azure"}},
		"[y/N] ":        {"\x04", []string{"remove", "clms"}},
		"(not shown)":   {"\n", []string{"rotate", "azure", "--client-secret-file", "-"}},
		"(not shown): ": {"\x04", []string{"rotate", "azure", "--client-secret-file", "-"}},
	} {
		b, p := newBackend(), newPerson(t)
		wait := p.runs(serve(t, b), c.args...)
		p.sees(question)
		if strings.Contains(question, "not sh") {
			p.deaf()
		}
		p.types(c.keys)
		if r := wait(); r.status != ui.ExitFailure || len(b.calls) > 0 {
			t.Errorf("%q: status %d, asked tokend %q", c.args, r.status, b.calls)
		}
		p.sees("nothing was entered")
		p.missing("log")
	}
}

// Ctrl-C at a secret must not leave the terminal mute.
func TestInterruptGivesTheEchoBack(t *testing.T) {
	p := newPerson(t)
	c := p.atTerminal(serve(t, newBackend()), "rotate", "azure", "--client-secret-file", "-")
	p.sees("(not shown): ")
	p.deaf()
	p.types("\x03")
	if err := c.Wait(); c.ProcessState.ExitCode() != ui.ExitInterrupted {
		t.Errorf("it ended with %v; on the screen:\n%s", err, p.seen())
	}
	if !p.echoes() {
		t.Error("the terminal is left without echo")
	}
	p.missing("tokenctl:")
}

func TestAddAsksAgainForWhatTokendRefuses(t *testing.T) {
	invalid := func(field string) error {
		return &token.Error{Code: token.ErrInvalid, Message: field + " is refused", Field: field}
	}
	pfx := writeSecret(t, "a.pfx", "PFX")
	b, p := newBackend(), newPerson(t)
	b.refusals = []error{&token.Error{Code: token.ErrExists, Message: "the name is taken", Field: "name"}, invalid("settings.client_id"), invalid("pfx_password")}
	wait := p.runs(serve(t, b), "add", "--provider", "azure", "--tenant", "t", "--scope", "s")
	p.answers("Name for the profile [azure]: ", "")
	p.answers("client_id: ", "wrong")
	p.answers("Which one [1-3]: ", "pfx")
	p.answers("pfx file, or paste it: ", pfx)
	p.answers("the name is taken\r\nName for the profile: ", "other")
	p.answers("client_id is refused\r\napplication ID\r\nclient_id: ", "right")
	p.whispers("pfx_password is refused\r\nits pfx_password\r\npfx_password (not shown, Enter for none): ", canary+"2")
	if r := wait(); r.status != ui.ExitOK || !strings.Contains(r.out, pfx) {
		t.Fatalf("status %d, stdout %q; on the screen:\n%s", r.status, r.out, p.seen())
	}
	want := map[string]any{"tenant": "t", "client_id": "right", "scope": "s"}
	a := b.addition
	if len(b.calls) != 4 || a.Name != "other" || fmt.Sprint(a.Settings) != fmt.Sprint(want) || a.Secrets["pfx"].Reveal() != "PFX" || a.Secrets["pfx_password"].Reveal() != canary+"2" {
		t.Errorf("sent %d times, at last %+v", len(b.calls), a)
	}
	p.missing(canary)
}

// Only tokend sees what is needed beside a file.
func TestWhatBelongsToASecretIsAskedForWhenItIsNeeded(t *testing.T) {
	for flag, field := range map[string]string{"--pfx": "pfx_password", "--private-key": "passphrase", "--certificate": "private_key"} {
		b, p := newBackend(), newPerson(t)
		b.refusals = []error{&token.Error{Code: token.ErrInvalid, Message: "it is missing", Field: field}}
		wait := p.runs(serve(t, b), "add", "x", "--provider", "azure", "--tenant", "t", "--client-id", "c", "--scope", "s", flag, writeSecret(t, "a", "KEY"))
		if field == "private_key" {
			p.answers("it is missing\r\nkey of the certificate\r\nprivate_key file, or paste it (Enter for none): ", writeSecret(t, "k", canary))
		} else {
			p.whispers("it is missing\r\nits "+field+"\r\n"+field+" (not shown, Enter for none): ", canary)
		}
		if r := wait(); r.status != ui.ExitOK || b.addition.Secrets[field].Reveal() != canary {
			t.Errorf("%s: status %d, sent %+v; on the screen:\n%s", flag, r.status, b.addition, p.seen())
		}
	}
}

func TestAddDoesNotAskForEver(t *testing.T) {
	b, p := newBackend(), newPerson(t)
	for range 9 {
		b.refusals = append(b.refusals, &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf("refused, %d left", len(b.refusals)), Field: "client_id"})
	}
	wait := p.runs(serve(t, b), "add", "x", "--provider", "azure", "--tenant", "t", "--scope", "s", "--client-secret-file", writeSecret(t, "s", canary))
	p.answers("client_id: ", "a")
	const retries = 3
	for i := range retries {
		p.answers(fmt.Sprintf("refused, %d left\r\napplication ID\r\nclient_id: ", i), "b")
	}
	if r := wait(); r.status != ui.ExitUsage || len(b.calls) != 1+retries {
		t.Errorf("status %d, sent %d times; on the screen:\n%s", r.status, len(b.calls), p.seen())
	}
	p.sees("Nothing was saved.")
	p.missing("--client-id")
}

func TestAddDoesNotAskAgainForAFlag(t *testing.T) {
	b, p := newBackend(), newPerson(t)
	b.err = &token.Error{Code: token.ErrInvalid, Message: "no", Field: "tenant"}
	wait := p.runs(serve(t, b), "add", "x", "--provider", "azure", "--tenant", "t", "--scope", "s", "--client-secret-file", writeSecret(t, "s", canary))
	p.answers("client_id: ", "a")
	if r := wait(); r.status != ui.ExitUsage || len(b.calls) != 1 {
		t.Errorf("status %d, asked %q", r.status, b.calls)
	}
	p.sees("Its flag: --tenant")
}

func TestQuestionsFitTheTerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	b, p := newBackend(), newPerson(t)
	kinds, _ := b.Providers(t.Context())
	long := strings.TrimSpace(strings.Repeat("many words ", 20))
	kinds[0].Doc, kinds[0].Fields[0].Doc = long, long
	b.kinds = kinds
	wait := p.runs(serve(t, b), "add", "x")
	p.answers("Which one [1-3], or paste a key: ", "1")
	p.answers("service_key file, or paste it: ", "/nowhere/at/all")
	p.sees("no such file or directory")
	p.types("\x04")
	wait()
	p.fits()
	if n := strings.Count(p.seen(), "many words"); n != 40 {
		t.Errorf("%d of 40 words:\n%s", n, p.seen())
	}
}

// fits checks that no line on the screen is too long, but for what is typed as one
// thing: a command, or a word.
func (p *person) fits() {
	p.t.Helper()
	for line := range strings.Lines(p.seen()) {
		line = strings.TrimRight(line, "\r\n")
		words := strings.TrimLeft(line, " ")
		if n := len([]rune(line)); n > cli.Width && strings.Contains(words, " ") && !strings.HasPrefix(words, "token") && !strings.HasPrefix(words, "git config") {
			p.t.Errorf("%d columns: %s", n, line)
		}
	}
}

// All help, all errors of docs/errors.md with their hints, and what commands say.
func TestProseFitsTheTerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	name := strings.Repeat("n", 64)
	b, p := newBackend(), newPerson(t)
	b.status.Profiles[1].Tokens[0].LastUsed = time.Now().Add(-3 * time.Minute)
	b.status.Profiles[1].Tokens[0].LastUser = &token.User{UID: os.Getuid() + 1, Name: "a-user-with-a-long-name", PID: 1, Program: "a-long-program"}
	socket := serve(t, b)
	at := func(args ...string) {
		run(append([]string{"tokenctl", "--socket", socket}, args...), p.slave, p.slave, p.slave)
	}
	for _, c := range commands {
		at(c.name, "--help")
	}
	for _, args := range [][]string{{}, {"status"}, {"list"}, {"status", "clms"}, {"show", "clms", "--token"}, {"explain"}, {"keystore"}, {"doctor"}, {"reload"},
		{"invalidate", name}, {"remove", name, "--yes"}, {"rename", name, name}, {"get", "--nonsense"}, {"add", "x", "--client-secret", "s"}, {"setup", "git", "x.example"}} {
		at(args...)
	}
	for _, topic := range docs.ErrorTopics() {
		at("explain", topic.Names[0])
		for _, code := range []token.Code{token.ErrRejected, token.ErrUnavailable, token.ErrKeystore} {
			b.err = &token.Error{Code: code, Message: strings.Repeat("what was wrong ", 9), Topic: topic.Names[0]}
			at("get", "clms")
			at("add", "x", "--provider", "clms", "--service-key", writeSecret(t, "k", "{}"))
		}
	}
	for _, code := range []token.Code{token.ErrInvalid, token.ErrNotFound, token.ErrExists, token.ErrDenied, token.ErrLocked, token.ErrInternal, token.ErrNoDaemon} {
		b.err = &token.Error{Code: code, Message: strings.Repeat("what was wrong ", 9)}
		at("get", "clms")
	}
	fmt.Fprintf(cli.Prose(p.slave), "  %sthe end\n", strings.Repeat("as tokend writes ", 9))
	p.sees("the end")
	p.fits()
}

// atTerminal starts tokenctl as a program of its own, which the terminal's
// keys reach.
func (p *person) atTerminal(socket string, args ...string) *exec.Cmd {
	p.t.Helper()
	c := process(append(args, "--socket", socket)...)
	c.Stdin, c.Stdout, c.Stderr = p.slave, p.slave, p.slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Process.Kill() })
	return c
}

// resize changes the size of the terminal.
func (p *person) resize(columns, rows int) {
	p.t.Helper()
	size := &unix.Winsize{Col: uint16(columns), Row: uint16(rows)}
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		p.t.Fatal(err)
	}
}

func TestWatchShowsChangesAndLeavesTheTerminalAsItWas(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	b, p := newBackend(), newPerson(t)
	p.resize(60, 12)
	c := p.atTerminal(serve(t, b), "status", "--watch")
	p.sees(enterWatch)
	p.sees("keystore  os: ok")
	p.sees("Ctrl-C ends.")
	b.mu.Lock()
	b.status.Keystore = "os: locked"
	b.mu.Unlock()
	p.sees("keystore  os: locked")
	for line := range strings.SplitSeq(p.seen(), "\n") {
		if strings.Contains(line, "---- ") && len([]rune(line)) > 60+len(lineEnd) {
			t.Errorf("wider than the window: %q", line)
		}
	}
	frames := strings.Split(p.seen(), frameStart)
	if n := strings.Count(frames[1], "\n") + 1; n > 12 || !strings.Contains(frames[1], "too low for the rest") {
		t.Errorf("a frame of %d lines in a window of 12:\n%s", n, frames[1])
	}
	p.types("\x03")
	if err := c.Wait(); err != nil {
		t.Errorf("it ended with %v; on the screen:\n%s", err, p.seen())
	}
	p.sees(leaveWatch)
	if !strings.HasSuffix(p.seen(), leaveWatch) {
		t.Errorf("it goes on after that: %q", p.seen())
	}
}

// A tokend that stops is waited for.
func TestWatchWaitsForTokend(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	socket := filepath.Join(t.TempDir(), "s")
	first, p := serveAt(t, socket, newBackend()), newPerson(t)
	c := p.atTerminal(socket, "status", "clms", "--watch")
	p.sees("profile     clms")
	first()
	p.sees("Waiting for tokend.")
	again := newBackend()
	again.status.Profiles[1].Provider = "another"
	serveAt(t, socket, again)
	p.sees("provider    another")
	_ = c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	p.sees(leaveWatch)
}

func TestWatchNeedsATerminalThatCanDoIt(t *testing.T) {
	t.Setenv("TERM", "dumb")
	p := newPerson(t)
	if r := p.runs(serve(t, newBackend()), "status", "--watch")(); r.status != ui.ExitUsage {
		t.Errorf("%+v", r)
	}
	p.sees("--watch needs a terminal")
}

// On a terminal, colours repeat what the words say; NO_COLOR leaves the words.
func TestColourCanBeTurnedOff(t *testing.T) {
	t.Setenv("TERM", "xterm")
	for value, coloured := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", value)
		b := newBackend()
		b.err = token.ErrDenied
		for text, args := range map[string][]string{"expires on 2026-12-01": {"status"}, "access denied": {"get", "clms"}} {
			p := newPerson(t)
			p.atTerminal(serve(t, b), args...)
			p.sees(text)
			if got := strings.Contains(p.seen(), "\x1b[31m"); got != coloured {
				t.Errorf("NO_COLOR=%q: %q", value, p.seen())
			}
		}
	}
}

func TestImportAsksFirst(t *testing.T) {
	dir := folder(t, map[string]string{"alice.json": clmsKey("a1")})
	for answer, want := range map[string][]string{"y": {"alice"}, "n": nil, "": nil} {
		k, p := &collector{backend: newBackend()}, newPerson(t)
		wait := p.runs(serve(t, k), "import", dir)
		p.answers("Make these profiles? [y/N] ", answer)
		if r := wait(); r.status != ui.ExitOK || !slices.Equal(k.names(), want) {
			t.Errorf("%q: status %d, added %q; stdout %s", answer, r.status, k.names(), r.out)
		}
	}
}

func TestAddOfAFileAsksForAName(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	sp := writeSecret(t, "sp.json", `{"appId":"a","password":"`+canary+`","tenant":"t"}`)
	b, p := newBackend(), newPerson(t)
	wait := p.runs(serve(t, b), "add", sp)
	p.sees("This is: Azure service principal")
	p.answers("Name for the profile [sp]: ", "")
	if r := wait(); r.status != ui.ExitOK || b.addition.Name != "sp" || b.addition.Settings["scope"] != "https://management.azure.com/.default" {
		t.Errorf("status %d, sent %+v", r.status, b.addition)
	}
	p.sees("use --scope for another")
}

// tokenctl says what it waits for, beside the answer.
func TestWaitingShowsOnATerminal(t *testing.T) {
	key := writeSecret(t, "service-key.json", clmsKey("x"))
	for text, args := range map[string][]string{
		"Waiting for a token ...": {"get", "clms"}, "Obtaining a token to prove that it works ...": {"add", "x", key},
		"Obtaining a token for clms-2 ...": {"import", key, "--yes"},
	} {
		b, p := newBackend(), newPerson(t)
		b.goOn = make(chan struct{})
		wait := p.runs(serve(t, b), args...)
		p.sees(text)
		close(b.goOn)
		r := wait()
		if r.status != ui.ExitOK || strings.Contains(r.out, "...") {
			t.Errorf("%q: status %d, stdout %q", args, r.status, r.out)
		}
	}
}

// What was typed is not lost because the issuer is out of reach.
func TestAddKeepsAnswersUntestedIfAsked(t *testing.T) {
	for answer, status := range map[string]int{"y": ui.ExitOK, "": ui.ExitUnavailable} {
		b, p := newBackend(), newPerson(t)
		b.refusals = []error{&token.Error{Code: token.ErrUnavailable, Message: "idp cannot be reached"}}
		wait := p.runs(serve(t, b), "add", "x", "--provider", "azure", "--tenant", "t", "--scope", "s", "--client-id", "c")
		p.answers("Which one [1-3]: ", "1")
		p.whispers("(not shown): ", canary)
		p.answers("idp cannot be reached\r\nSave it untested? [y/N] ", answer)
		if r := wait(); r.status != status || len(b.calls) != 1+strings.Count(answer, "y") || b.addition.NoCheck != (answer == "y") {
			t.Errorf("%q: status %d, sent %d times, at last %+v", answer, r.status, len(b.calls), b.addition)
		}
	}
}
