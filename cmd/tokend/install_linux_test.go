package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/ipc"
)

func TestWhoseService(t *testing.T) {
	for _, c := range []struct {
		user, system, root bool
		command            string
		status             int
		want               string
	}{
		{command: "install"},
		{user: true, command: "install"},
		{user: true, root: true, command: "install"},
		{system: true, root: true, command: "install"},
		{system: true, command: "status"},
		{root: true, command: "stop", status: exitUsage, want: "use --system for the machine's service, --user for"},
		{user: true, system: true, command: "stop", status: exitUsage, want: "not both"},
		{system: true, command: "stop", status: exitFailure, want: "sudo tokend stop --system"},
	} {
		r := serviceRequest{at: &places{system: c.system}, user: c.user}
		err := r.checkUser(c.command, c.root)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || statusOf(err) != c.status) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The shell's $TOKEND_SOCKET is about its clients, not about the service.
func TestServiceSocket(t *testing.T) {
	t.Setenv(ipc.SocketEnv, "/elsewhere.sock")
	t.Setenv("XDG_RUNTIME_DIR", "/run/x")
	for _, c := range []struct {
		at     places
		config string
		want   string
	}{
		{places{}, "", "/run/x/tokend/tokend.sock"},
		{places{system: true}, "", "/run/tokend/tokend.sock"},
		{places{}, "/configured", "/configured"},
		{places{socket: "/said"}, "/configured", "/said"},
	} {
		if got, err := c.at.serviceSocket(profile.Config{Socket: c.config}); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

// Only who listens at the socket is ended, whatever it says of itself. Case 71 of
// the threat model.
func TestEndIsForWhoListens(t *testing.T) {
	h := newHome(t)
	h.setupSealed()
	h.start()
	bystander := exec.Command("sleep", "60")
	check(t, bystander.Start())
	for _, pid := range []int{bystander.Process.Pid, -bystander.Process.Pid, 0} {
		if err := service.StopProcess(t.Context(), h.client.Socket, pid); err == nil {
			t.Errorf("it ended process %d", pid)
		}
	}
	if err := bystander.Process.Kill(); err != nil {
		t.Error(err)
	}
	if state, _ := bystander.Process.Wait(); state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the bystander: %v", state)
	}

	gone := make(chan struct{})
	go func() { _ = h.daemon.Wait(); close(gone) }()
	if err := service.StopProcess(t.Context(), h.client.Socket, h.daemon.Process.Pid); err != nil {
		t.Error(err)
	}
	<-gone
	h.daemon = nil
}
