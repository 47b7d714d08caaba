package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tokend/ipc/ipcserver"
	"tokend/providers/token"
)

// A ready backend has its token at hand, and notes as what it was asked for.
type ready struct{ *backend }

func (r ready) AtHand(_ context.Context, name string, q token.Query) (token.Grant, bool) {
	r.mu.Lock()
	r.query = q
	r.mu.Unlock()
	if name == "other" {
		return token.Grant{}, false
	}
	return token.Grant{Token: r.token, Profile: "clms", Present: r.present, Host: q.URL}, true
}

// asked is what b was asked by now.
func (b *backend) asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

// lastQuery is what b was asked for last.
func (b *backend) lastQuery() token.Query {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.query
}

// launched runs the real program, and tells what Go initialised for it.
func launched(t *testing.T, program, socket string, args ...string) (out, trace string, status int) {
	t.Helper()
	return fed(t, "", program, socket, args...)
}

// fed is launched with something to read.
func fed(t *testing.T, stdin, program, socket string, args ...string) (out, trace string, status int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
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
	if calls := b.asked(); len(calls) > 0 {
		t.Errorf("it was not answered early: %q", calls)
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

// Helpers answer early what they answer late, and read all that they are told.
func TestHelpersAnswerEarly(t *testing.T) {
	program := buildTokenctl(t)
	for helper, texts := range map[string][]string{
		"git-credential-tokend": {
			"protocol=https\nhost=dev.example\n\n", "protocol=https\nhost=dev.example\n", "protocol=http\nhost=dev.example:8080\n\n",
			"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=dev.example\nwwwauth[]=Basic realm=\"x\"\n\n",
			"protocol=https\nhost=dev.example\npath=a\n\n", "protocol=https\nhost=dev.example\nusername=else\n\n",
			"protocol=ssh\nhost=dev.example\n\n", "protocol=https\n\n", strings.Repeat("wwwauth[]=x\n", 1000) + "protocol=https\nhost=dev.example\n\n",
		},
		"docker-credential-tokend": {"dev.example", "dev.example\n", "https://index.example/v1/", " dev.example ", "http://dev.example", ""},
	} {
		link := filepath.Join(filepath.Dir(program), helper)
		if err := os.Symlink(program, link); err != nil {
			t.Fatal(err)
		}
		for _, present := range []token.Presentation{"", "bearer", "basic:me", "header:X-Key"} {
			b := newBackend()
			b.present = present
			socket := serve(t, ready{b})
			for i, text := range texts {
				out, trace, status := fed(t, text, link, socket, "get")
				query := b.lastQuery()
				late, _, lateStatus := fed(t, text, link, "/nonexistent", "--socket", socket, "get")
				if lateQuery := b.lastQuery(); out != late || status != lateStatus || query != lateQuery {
					t.Errorf("%s, present %q, %q: %+v, %d, %q; late %+v, %d, %q", helper, present, text, query, status, out, lateQuery, lateStatus, late)
				}
				if early := !strings.Contains(trace, laterInits[0]); early != (i < 2 && (present == "" || present == "basic:me")) && i < 2 {
					t.Errorf("%s, present %q, %q: early %t", helper, present, text, early)
				}
			}
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
			if calls := b.asked(); out != secretToken+"\n" || status != exitOK || len(calls) != 1 {
				t.Errorf("%d, %q, %q", status, out, calls)
			}
		})
	}
	if out, text, status := launched(t, program, filepath.Join(t.TempDir(), "none"), "get", "clms"); out != "" || status != exitNoDaemon || !strings.Contains(text, "no tokend answers") {
		t.Errorf("without a daemon: %d, %q, %s", status, out, text)
	}
}
