package audit

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokend/packaging/checktest"
	"tokend/providers/token"
)

var (
	check = checktest.NoError
	read  = checktest.Read
)

func TestAuditLines(t *testing.T) {
	caller := token.User{UID: 1000, PID: 4711, Program: "curl"}
	for want, e := range map[string]token.AuditEntry{
		`"msg":"grant","do":"get","uid":1000,"pid":4711,"program_unverified":"curl",` +
			`"profile":"p","scope":"a b","audience":"aud","origin":"https://x.example:443"}`: {
			User: caller, Do: "get", Profile: "p",
			Target: token.Target{Scope: "a b", Audience: "aud"}, Origin: "https://x.example:443"},
		`"msg":"refuse","do":"connect","uid":-1,"pid":0,"program_unverified":"","code":"denied"}`: {
			User: token.User{UID: -1}, Do: "connect", Code: token.ErrDenied},
	} {
		synctest.Test(t, func(t *testing.T) { // whose time begins in 2000
			got := string(line(time.Now(), e))
			at := time.Now().Format(time.RFC3339Nano)
			if want := `{"time":"` + at + `",` + want + "\n"; got != want {
				t.Errorf("got  %swant %s", got, want)
			}
		})
	}
}

// Whatever a caller says, it is text within its own line.
func TestAuditLinesCannotBeForged(t *testing.T) {
	hostile := "x\",\"uid\":0}\n{\"time\":\"\u2028\xff\x00\\<&>"
	first := token.AuditEntry{User: token.User{Program: hostile}, Do: hostile, Profile: hostile, Target: token.Target{Scope: hostile, Audience: hostile},
		Origin: hostile, Code: token.Code(hostile)}
	out := slices.Concat(line(time.Now(), first), line(time.Now(), token.AuditEntry{Do: "get"}))
	lines := strings.Split(string(out), "\n")
	if len(lines) != 3 || lines[2] != "" {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	var said, second map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &said); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal([]byte(lines[1]), &second); err != nil {
		t.Error(err)
	}
	whole := strings.ToValidUTF8(hostile, "\ufffd")
	for _, member := range []string{"program_unverified", "do", "profile", "scope", "audience", "origin", "code"} {
		if said[member] != whole {
			t.Errorf("%s is %q", member, said[member])
		}
	}
	if len(second) != 6 || second["do"] != "get" {
		t.Errorf("%v", second)
	}
}

// Security case 96. Refusals push no grant out of the log, and those of one user
// no other's; each is written or counted, and a line is short whatever it quotes.
func TestRefusalsDoNotFloodTheAuditLog(t *testing.T) {
	dir := t.TempDir()
	a := Open(filepath.Join(dir, "audit.log"), slog.New(slog.DiscardHandler), func(string) {})
	defer a.Close()
	refuse := func(uid, times int) {
		long := strings.Repeat("x", 11<<10)
		for range times {
			a.Report(token.AuditEntry{User: token.User{UID: uid}, Do: "get", Profile: long, Origin: long,
				Target: token.Target{Scope: long, Audience: long}, Code: token.ErrNotFound})
		}
	}
	a.Report(token.AuditEntry{Do: "get", Profile: "granted", Target: token.Target{Scope: strings.Repeat("s", 1000)}})
	refuse(70001, 5000)
	refuse(70002, 1)
	for uid := range 3000 {
		refuse(80000+uid, 2)
	}
	if n := len(a.refusals); n > refusalUsers+1 {
		t.Errorf("%d users are remembered", n)
	}
	if grants := read(t, dir, "audit.log"); strings.Count(grants, "\n") != 1 || !strings.Contains(grants, strings.Repeat("s", 1000)) {
		t.Errorf("the grants are now %q", grants)
	}
	count := func() (lines, left int) {
		for line := range strings.Lines(read(t, dir, "audit-refused.log")) {
			var got struct {
				UID  int `json:"uid"`
				Left int `json:"left_out"`
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil || len(line) > 1000 {
				t.Fatalf("%d bytes: %v", len(line), err)
			}
			lines, left = lines+1, left+got.Left
		}
		return lines, left
	}
	written, _ := count()
	if most := refusalsPerMinute + 1 + 2*refusalUsers + refusalsPerMinute; written > most {
		t.Errorf("%d lines, want %d at most", written, most)
	}
	if refused := read(t, dir, "audit-refused.log"); !strings.Contains(refused, `"uid":70002`) {
		t.Error("another user's refusal is not in the log")
	}
	a.Settle()
	if _, left := count(); left > 0 {
		t.Errorf("within the minute %d are counted", left)
	}
	a.began = a.began.Add(-time.Minute)
	a.Settle()
	if _, left := count(); left != 5000+1+6000-written {
		t.Errorf("%d refusals are written and %d counted", written, left)
	}
	if len(a.refusals) > 0 {
		t.Errorf("%d users are remembered for ever", len(a.refusals))
	}
}

// Security case 97. What cannot be written is said, and counted in the log itself
// once it can be: on a full disk, in a directory that is read-only or gone.
func TestAuditLogThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	var logged strings.Builder
	missing := map[string]int{}
	open := func(path string) *Log {
		a := Open(path, slog.New(slog.NewTextHandler(&logged, nil)), func(why string) { missing[why]++ })
		t.Cleanup(func() { _ = a.Close() })
		return a
	}
	grant := token.AuditEntry{Do: "get", Profile: "p"}

	// From the start: a place where no file can be.
	check(t, os.WriteFile(filepath.Join(dir, "in-the-way"), nil, 0o600))
	a := open(filepath.Join(dir, "in-the-way", "audit.log"))
	if !strings.Contains(a.Fault(), "in-the-way/audit.log: not a directory") {
		t.Errorf("begun where nothing can be written: %q", a.Fault())
	}
	a.Report(grant)
	check(t, errors.Join(os.Remove(filepath.Join(dir, "in-the-way")), os.Mkdir(filepath.Join(dir, "in-the-way"), 0o700)))
	a.Settle()
	if text := read(t, dir, "in-the-way", "audit.log"); a.Fault() != "" || !strings.Contains(text, `"msg":"missing","lines":1`) {
		t.Errorf("%q, %q", a.Fault(), text)
	}

	// A full disk, for a while.
	file := filepath.Join(dir, "audit.log")
	check(t, os.Symlink("/dev/full", file))
	a = open(file)
	for range 3 {
		a.Report(grant)
	}
	a.Settle()
	if !strings.Contains(a.Fault(), file+": no space left on device") || missing["error"] != 4 {
		t.Errorf("on a full disk: %q", a.Fault())
	}
	check(t, os.Remove(file))
	a.Settle()
	a.Report(grant)
	if text := read(t, dir, "audit.log"); a.Fault() != "" || !strings.Contains(text, `"lines":3`) || strings.Count(text, "\n") != 2 {
		t.Errorf("%q, %q", a.Fault(), text)
	}
	if strings.Count(logged.String(), "can be written again") != 2 {
		t.Errorf("logged: %s", &logged)
	}

	// Moved away, as logrotate does.
	check(t, os.Rename(file, file+".1"))
	a.Settle()
	a.Report(grant)
	if text := read(t, dir, "audit.log"); strings.Count(text, "grant") != 1 {
		t.Errorf("after it was moved: %q", text)
	}
}
