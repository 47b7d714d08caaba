package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokend/ipc"
	"tokend/ipc/ipcserver"
	"tokend/providers/token"
)

func TestAuditLines(t *testing.T) {
	caller := ipc.Peer{UID: 1000, PID: 4711}
	for want, e := range map[string]ipcserver.Event{
		`"msg":"grant","do":"get","uid":1000,"pid":4711,"program_unverified":"curl",` +
			`"profile":"p","scope":"a b","audience":"aud","origin":"https://x.example:443"}`: {
			Caller: caller, Program: "curl", Do: "get", Profile: "p",
			Target: token.Target{Scope: "a b", Audience: "aud"}, Origin: "https://x.example:443"},
		`"msg":"refuse","do":"connect","uid":-1,"pid":0,"program_unverified":"","code":"denied"}`: {
			Caller: ipc.Peer{UID: -1}, Do: "connect", Code: token.ErrDenied},
	} {
		synctest.Test(t, func(t *testing.T) { // whose time begins in 2000
			var got strings.Builder
			writeAudit(&got, e)
			at := time.Now().Format(time.RFC3339Nano)
			if want := `{"time":"` + at + `",` + want + "\n"; got.String() != want {
				t.Errorf("got  %swant %s", &got, want)
			}
		})
	}
}

// Whatever a caller says, it is text within its own line.
func TestAuditLinesCannotBeForged(t *testing.T) {
	var out bytes.Buffer
	hostile := "x\",\"uid\":0}\n{\"time\":\"\u2028\xff\x00\\<&>"
	writeAudit(&out, ipcserver.Event{Program: hostile, Do: hostile, Profile: hostile, Target: token.Target{Scope: hostile, Audience: hostile},
		Origin: hostile, Code: token.Code(hostile)})
	writeAudit(&out, ipcserver.Event{Do: "get"})
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || lines[2] != "" {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	var first, second map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal([]byte(lines[1]), &second); err != nil {
		t.Error(err)
	}
	whole := strings.ToValidUTF8(hostile, "\ufffd")
	for _, member := range []string{"program_unverified", "do", "profile", "scope", "audience", "origin", "code"} {
		if first[member] != whole {
			t.Errorf("%s is %q", member, first[member])
		}
	}
	if len(second) != 6 || second["do"] != "get" {
		t.Errorf("%v", second)
	}
}
