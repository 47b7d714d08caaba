package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tokend/ipc/ipcserver"
	"tokend/providers/token"
)

// A ready backend has its token at hand.
type ready struct{ *backend }

func (r ready) AtHand(_ context.Context, name string, q token.Query) (token.Grant, bool) {
	if name != "clms" || q != (token.Query{}) {
		return token.Grant{}, false
	}
	return token.Grant{Token: r.token, Profile: name}, true
}

// launched runs the real program, and tells what Go initialised for it.
func launched(t *testing.T, program, socket string, args ...string) (out, trace string, status int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "TOKEND_SOCKET="+socket, "GODEBUG=inittrace=1", "GOCOVERDIR=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

func buildTokenctl(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "tokenctl")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// laterInits are of packages that a plain get does not wait for.
var laterInits = []string{"init unicode ", "init net ", "init github.com/spf13/cobra "}

// A plain get is answered before the rest of the program is initialised. If this
// fails after an upgrade of Go, see what package early now comes behind.
func TestAPlainGetIsAnsweredEarly(t *testing.T) {
	program := buildTokenctl(t)
	b := newBackend()
	socket := serve(t, ready{b})
	out, trace, status := launched(t, program, socket, "get", "clms")
	if out != secretToken+"\n" || status != exitOK {
		t.Errorf("%d, %q", status, out)
	}
	if len(b.calls) > 0 {
		t.Errorf("it was not answered early: %q", b.calls)
	}
	for _, init := range laterInits {
		if strings.Contains(trace, init) {
			t.Errorf("%sran before:\n%s", init, trace)
		}
	}
	for _, args := range [][]string{{"get", "clms", "-o", "header"}, {"get", "other"}, {"get", "clms", "--fresh"}} {
		out, trace, status := launched(t, program, socket, args...)
		if !strings.Contains(out, secretToken) || status != exitOK || !strings.Contains(trace, laterInits[0]) {
			t.Errorf("%q: %d, %q, initialised\n%s", args, status, out, trace)
		}
	}
}

// Whatever does not answer as it should is left to the client, which says so.
func TestWhatIsNotAnsweredEarlyIsAnswered(t *testing.T) {
	program := buildTokenctl(t)
	for name, first := range map[string]func(net.Conn){
		"silence": func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
		"a close": func(net.Conn) {},
		"half of it": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"access_token\":\"x")
		},
		"a refusal": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 2\r\n\r\n{}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend()
			l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				conn, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				first(conn)
				_ = conn.Close()
				_ = ipcserver.Serve(ctx, l, b, ipcserver.Options{})
			}()
			out, _, status := launched(t, program, l.Addr().String(), "get", "clms")
			cancel()
			<-ended
			if out != secretToken+"\n" || status != exitOK || len(b.calls) != 1 {
				t.Errorf("%d, %q, %q", status, out, b.calls)
			}
		})
	}
	if out, text, status := launched(t, program, filepath.Join(t.TempDir(), "none"), "get", "clms"); out != "" || status != exitNoDaemon || !strings.Contains(text, "no tokend answers") {
		t.Errorf("without a daemon: %d, %q, %s", status, out, text)
	}
}
