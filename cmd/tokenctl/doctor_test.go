package main

import (
	"encoding/json"
	"strings"
	"testing"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

func TestDoctorReportsAndAdvises(t *testing.T) {
	b := newBackend()
	b.diagnosis = token.Report{Version: ownVersion(), Checks: []token.Check{
		{Name: "cache", Result: token.CheckOK, Text: "tokens outlive a restart"},
		{Name: "clock", Result: token.CheckWarn, Text: "off \x1b[2J", Advice: "set it"},
	}}
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("https_proxy", "")
	socket := serve(t, b)
	r := call(t, socket, nil, "doctor")
	r.wants(t, ui.ExitOK, "ok    socket: tokend answers at "+socket+"\n", "")
	r.wants(t, ui.ExitOK, "ok    version: ", "")
	r.wants(t, ui.ExitOK, "ok    cache: tokens outlive a restart\nwarn  clock: off \\x1b[2J\n      -> set it\n", "")
	if strings.Contains(r.out, "environment") {
		t.Errorf("it sees a difference that does not exist: %s", r.out)
	}

	// What failed, failed: by its exit status too, and in JSON.
	b.diagnosis.Checks[1].Result = token.CheckFail
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}} {
		if r := call(t, socket, nil, args...); r.status != ui.ExitFailure || r.err != "" || !strings.Contains(r.out, "fail") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	var found token.Report
	if err := json.Unmarshal([]byte(call(t, socket, nil, "doctor", "--json").out), &found); err != nil || len(found.Checks) != 4 {
		t.Errorf("%v: %+v", err, found)
	}
}

func TestDoctorSeesWhatDiffersHere(t *testing.T) {
	b := newBackend()
	b.diagnosis = token.Report{Version: "0.0.1", Proxy: "http://theirs.example:1"}
	socket := serve(t, b)
	t.Setenv("HTTPS_PROXY", "http://me:CANARY@ours.example:3128")
	r := call(t, socket, nil, "doctor")
	r.wants(t, ui.ExitOK, "warn  version: tokend is 0.0.1, tokenctl ", "")
	r.wants(t, ui.ExitOK, "this shell's proxy is http://ours.example:3128, tokend's is\n      http://theirs.example:1", "")
	if strings.Contains(r.out, "CANARY") {
		t.Error("it prints the proxy's password")
	}
}

func TestDoctorWithoutADaemon(t *testing.T) {
	r := call(t, "/nonexistent/socket", nil, "doctor")
	if r.status != ui.ExitFailure || !strings.HasPrefix(r.out, "fail  socket: no tokend answers at /nonexistent/socket\n      -> Start it: ") || r.err != "" {
		t.Errorf("%+v", r)
	}
}
