package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"tokend/ipc"
	"tokend/packaging/checktest"
	"tokend/store/keyringtest"
)

// Every command in the documentation is run as it stands there, by one shell
// for each document, with the real programs. The hosts that the commands name
// are played on loopback (internet_linux_test.go).

func TestDocumentedCommandsRun(t *testing.T) {
	checktest.FullOnly(t)
	net := newInternet(t)
	for _, d := range documents(t) {
		t.Run(d.path, func(t *testing.T) { runDocument(t, net, d) })
	}
}

// runDocument runs the blocks of a document in their order.
func runDocument(t *testing.T, net *internet, d document) {
	var s *reader
	for i, b := range d.blocks {
		at := fmt.Sprintf("%s:%d", d.path, b.line)
		if why := b.elsewhere(t); why != "" {
			continue
		}
		if !b.isRun() {
			checkData(t, at, b)
			continue
		}
		if s == nil {
			if d.scene == nil {
				t.Fatalf("%s: commands, and the document names no scene", at)
			}
			s = newReader(t, net, d.scene)
		}
		if file, ok := b.marks["file"]; ok && !d.uses(file, i) {
			t.Errorf("%s: nothing uses the file %s", at, file)
		}
		if b.language == "output" {
			s.printed(at, b.text)
			continue
		}
		s.does(at, b)
		if t.Failed() {
			return
		}
	}
}

// uses reports whether blocks after the i-th speak of a file, or of its package.
func (d document) uses(file string, i int) bool {
	return slices.ContainsFunc(d.blocks[i+1:], func(b block) bool {
		top, _, _ := strings.Cut(file, "/")
		return strings.Contains(b.text, filepath.Base(file)) || strings.Contains(b.text, "./"+top)
	})
}

// elsewhere says why a block is not run here; "" if it is.
func (b block) elsewhere(t *testing.T) string {
	t.Helper()
	name := b.marks["run by"]
	if _, err := os.Stat(filepath.Join(root, name)); err != nil && !allTests(t)[name] {
		t.Errorf("line %d: there is no %s", b.line, name)
	}
	return cmp.Or(name, b.marks["not run"])
}

// shells run the blocks of a language.
var shells = map[string]string{"sh": ".", "python": "python3", "r": "Rscript"}

// isRun reports whether a block does something.
func (b block) isRun() bool {
	_, file := b.marks["file"]
	return file || b.language == portalStep || b.language == "output" || shells[b.language] != ""
}

// checkData checks a block that is there to be read.
func checkData(t *testing.T, at string, b block) {
	t.Helper()
	var err error
	switch b.language {
	case "text":
	case "toml":
		var v map[string]any
		err = toml.Unmarshal([]byte(b.text), &v)
	case "json":
		text := regexp.MustCompile(`,\s*…`).ReplaceAllString(b.text, "")
		if !json.Valid([]byte(text)) {
			err = errors.New("not JSON")
		}
	default:
		err = fmt.Errorf("nothing runs a block of %q, and no mark says why", b.language)
	}
	if err != nil {
		t.Errorf("%s: %v", at, err)
	}
}

// A reader types what the documentation says into a shell.
type reader struct {
	t      *testing.T
	net    *internet
	dir    string // for the blocks and what they print
	home   string
	bash   *exec.Cmd
	in     *os.File
	status *os.File
	ended  chan error
	blocks int
	screen string // what the last block printed
}

func newReader(t *testing.T, net *internet, scene []string) *reader {
	t.Helper()
	// A socket's path has to be short: t.TempDir has the test's name in it.
	dir, err := os.MkdirTemp("", "docs")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &reader{t: t, net: net, dir: dir, home: filepath.Join(dir, "home")}
	work := filepath.Join(s.home, "work")
	if slices.Contains(scene, "desktop") {
		keyringtest.Start(t)
	} else {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
	}
	for name, value := range map[string]string{
		"HOME": s.home, "XDG_RUNTIME_DIR": filepath.Join(dir, "run"), "NO_COLOR": "1", "TMPDIR": filepath.Join(dir, "tmp"),
		"TOKEND_SOCKET": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": "", "XDG_DATA_HOME": "",
	} {
		setenv(t, name, value)
	}
	for _, d := range []string{work, filepath.Join(dir, "run"), filepath.Join(dir, "tmp"), filepath.Join(s.home, ".local", "bin")} {
		check(t, os.MkdirAll(d, 0o700))
	}
	net.equip(t, s.home, work)
	s.start(work)
	for _, word := range scene {
		commands, ok := scenes[word]
		if !ok {
			t.Fatalf("there is no scene %q", word)
		}
		s.does("scene "+word, block{language: "sh", text: commands})
		if word == "rock" {
			s.does("scene "+word, block{language: portalStep, text: "register me@example.com rock.pem"})
		}
	}
	return s
}

// setenv sets a variable for a test, or takes it away.
func setenv(t *testing.T, name, value string) {
	t.Helper()
	t.Setenv(name, value)
	if value == "" {
		check(t, os.Unsetenv(name))
	}
}

// start starts the shell.
func (s *reader) start(dir string) {
	s.t.Helper()
	in, w, err := os.Pipe()
	check(s.t, err)
	r, status, err := os.Pipe()
	check(s.t, err)
	log, err := os.Create(filepath.Join(s.dir, "shell"))
	check(s.t, err)
	s.bash = exec.Command("bash", "--norc")
	s.bash.Dir = dir
	s.bash.Stdin, s.bash.Stdout, s.bash.Stderr = in, log, log
	s.bash.ExtraFiles = []*os.File{status}
	s.bash.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	check(s.t, s.bash.Start())
	_, _, _ = in.Close(), status.Close(), log.Close()
	s.in, s.status, s.ended = w, r, make(chan error, 1)
	go func() { s.ended <- s.bash.Wait() }()
	s.t.Cleanup(func() {
		if st, err := s.daemon().Status(context.Background()); err == nil { // one that --start started is in no group of ours
			_ = syscall.Kill(st.PID, syscall.SIGTERM)
		}
		_ = syscall.Kill(-s.bash.Process.Pid, syscall.SIGTERM)
		_ = w.Close()
		select {
		case <-s.ended:
		case <-time.After(10 * time.Second):
		}
		_ = syscall.Kill(-s.bash.Process.Pid, syscall.SIGKILL)
		endStarted(filepath.Join(s.dir, "run", "tokend", "tokend.sock"))
		_ = r.Close()
	})
	s.tell("set -eo pipefail\n")
}

func (s *reader) tell(commands string) {
	s.t.Helper()
	if _, err := s.in.WriteString(commands); err != nil {
		s.t.Fatal(err)
	}
}

// machine matches commands that change the machine that they are run on.
var machine = regexp.MustCompile(`(?m)(^|&&|\|\||[|;(]) *(sudo|apt|apt-get|dpkg|rpm|dnf|apk|launchctl|docker run|` +
	`systemctl [^-]|loginctl|(user|group)(add|mod|del)|install|tokend (un)?install|tokend setup .*--system)\b.*`)

// patience is how long a block may take.
const patience = 2 * time.Minute

// does runs a block and keeps what it prints.
func (s *reader) does(at string, b block) {
	s.t.Helper()
	if b.language == portalStep {
		if err := s.net.visit(s.home, strings.Fields(b.text)); err != nil {
			s.t.Fatalf("%s: %v", at, err)
		}
		return
	}
	if m := machine.FindString(b.text); m != "" {
		s.t.Fatalf("%s: %q would change this machine: mark it as run elsewhere, or not at all", at, strings.TrimSpace(m))
	}
	s.blocks++
	source := filepath.Join(s.dir, fmt.Sprintf("block%d", s.blocks))
	screen := source + ".screen"
	check(s.t, os.WriteFile(source, []byte(b.text), 0o600))
	command := shells[b.language] + " " + source
	if file, ok := b.marks["file"]; ok {
		command = "cp " + source + " " + file
	}
	shut := func() {}
	into := " < /dev/null > " + screen + " 2>&1 3>&-"
	switch answers, typed := b.marks["types"]; {
	case typed:
		tty, close := atTerminal(s.t, screen, strings.Split(answers, " | "))
		into = " < " + tty + " > " + tty + " 2>&1 3>&-"
		shut = close
	case b.marks["until"] != "":
		s.interrupts(at, command+into, screen, b)
		return
	}
	want := cmp.Or(b.marks["fails"], "0")
	if want == "0" { // the shell ends at what fails
		s.tell(command + into + "\necho $? >&3\n")
	} else {
		s.tell("set +e\n" + command + into + "\nstatus=$?; set -e; echo $status >&3\n")
	}
	status := s.outcome(at, screen)
	shut()
	s.screen = read(s.t, screen)
	if status != want {
		s.t.Fatalf("%s: status %s, not %s:\n%s\nprinted:\n%s", at, status, want, b.text, s.screen)
	}
	if strings.HasSuffix(b.text, "&\n") { // a person is slower than tokend's start
		s.awaitDaemon(at)
	}
	if m := goTypes.FindString(s.screen); m != "" {
		s.t.Errorf("%s: words of the program's inside, %q:\n%s", at, m, s.screen)
	}
}

// daemon is the client for the reader's own tokend.
func (s *reader) daemon() *ipc.Client {
	return &ipc.Client{Socket: filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "tokend", "tokend.sock")}
}

// awaitDaemon waits until tokend answers.
func (s *reader) awaitDaemon(at string) {
	s.t.Helper()
	waitFor(s.t, at+": an answer of tokend", func() bool {
		_, err := s.daemon().Status(s.t.Context())
		return err == nil
	})
}

// outcome is the status of the last command, or that of the shell, which
// ends at the first command that fails.
func (s *reader) outcome(at, screen string) string {
	s.t.Helper()
	said := make(chan string, 1)
	go func() {
		b := make([]byte, 16)
		n, _ := s.status.Read(b)
		said <- strings.TrimSpace(string(b[:n]))
	}()
	select {
	case status := <-said:
		if status != "" {
			return status
		}
		err := <-s.ended
		s.ended <- err
		return fmt.Sprint(err)
	case err := <-s.ended:
		s.ended <- err
		return fmt.Sprint(err)
	case <-time.After(patience):
		text, _ := os.ReadFile(screen)
		s.t.Fatalf("%s: it does not end; it has printed:\n%s", at, text)
		return ""
	}
}

// interrupts runs a command until something is on the screen, and ends it by
// Ctrl-C.
func (s *reader) interrupts(at, command, screen string, b block) {
	s.t.Helper()
	until := b.marks["until"]
	s.tell("set -m\n" + command + " &\nset +m\n")
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(screen)
		s.screen = string(text)
		if strings.Contains(s.screen, until) {
			break
		}
		_ = exec.Command("sh", "-c", b.marks["meanwhile"]).Run() // what counts is on the screen
		if time.Since(begin) > patience {
			s.t.Fatalf("%s: %q never came:\n%s", at, until, s.screen)
		}
	}
	s.tell("set +e; kill -INT -- -$!; wait $!; status=$?; set -e; echo $status >&3\n")
	// go run makes 1 of it, a shell 130.
	if status := s.outcome(at, screen); !slices.Contains([]string{"0", "1", "130"}, status) {
		s.t.Fatalf("%s: after Ctrl-C: status %s:\n%s", at, status, s.screen)
	}
}

// printed compares what the documentation shows with what the last block
// printed.
func (s *reader) printed(at, shown string) {
	s.t.Helper()
	var pattern strings.Builder
	pattern.WriteString(`(?s)^`)
	for _, line := range strings.Split(strings.TrimRight(shown, "\n"), "\n") {
		if strings.TrimSpace(line) == "…" {
			pattern.WriteString(`.*`)
			continue
		}
		line = regexp.QuoteMeta(strings.TrimRight(line, " "))
		pattern.WriteString(`[ \t\r]*` + strings.ReplaceAll(line, "…", `[^\n]*`) + `[ \t\r]*\n`)
	}
	pattern.WriteString(`$`)
	if !regexp.MustCompile(pattern.String()).MatchString(strings.TrimRight(s.screen, "\n") + "\n") {
		s.t.Errorf("%s: the documentation shows\n%s\nand printed is\n%s", at, shown, s.screen)
	}
}

// asks matches a question at the end of a screen, and that the terminal is to mark what
// is pasted.
var asks = regexp.MustCompile(`[:\]] (\x1b\[\?2004h)?$`)

// atTerminal opens a terminal, copies what is shown there to a file, and types a line
// after each question, which ends in a colon or [Y/n] and a space. shut waits until all that was
// shown is in the file.
func atTerminal(t *testing.T, file string, lines []string) (name string, shut func()) {
	t.Helper()
	person, program := checktest.Terminal(t)
	screen, err := os.Create(file)
	check(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for shown, b := "", make([]byte, 4096); ; {
			n, err := person.Read(b)
			_, _ = screen.Write(b[:n])
			if err != nil {
				return
			}
			shown += string(b[:n])
			if len(lines) == 0 || !asks.MatchString(shown) {
				continue
			}
			for begin := time.Now(); strings.Contains(shown, "not shown") && checktest.Echoes(program) && time.Since(begin) < 20*time.Second; {
				time.Sleep(time.Millisecond) // the echo goes just after the question
			}
			_, _ = person.WriteString(lines[0] + "\n")
			shown, lines = "", lines[1:]
		}
	}()
	return program.Name(), func() {
		_ = program.Close()
		<-ended
		_ = screen.Close()
	}
}
