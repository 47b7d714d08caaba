package early

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

func answerWith(head, body string) string {
	return head + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nConnection: close\r\n\r\n" + body
}

const ok = "HTTP/1.1 200 OK"

func TestTheLineOfAnAnswer(t *testing.T) {
	now := time.Now()
	for _, secret := range []string{"t", "eyJhbGciOi.J9-_~+/=", strings.Repeat("x", 12<<10)} {
		g := token.Grant{Profile: "p", Token: token.Token{Secret: token.NewSecret(secret), Type: "Bearer", Expiry: now.Add(time.Hour)}}
		answer := []byte(answerWith(ok, string(format.AppendJSON(nil, g, now))))
		for cut := range answer {
			if isWhole(answer[:cut]) {
				t.Fatalf("%q is taken for whole", answer[:cut])
			}
		}
		if !isWhole(answer) {
			t.Fatalf("%q is not taken for whole", answer)
		}
		if got := new(grant); !got.read(answer) || string(tokenLine(got)) != secret+"\n" {
			t.Errorf("%+v, want %q", got, secret)
		}
	}
}

func TestAnswersThatAreLeftToTheClient(t *testing.T) {
	for _, answer := range []string{
		"",
		"{}",
		answerWith(ok, `{}`),
		answerWith(ok, `{"access_token":""}`),
		answerWith(ok, `{"access_token":"a b"}`),
		answerWith(ok, `{"access_token":"a\"b"}`),
		answerWith(ok, `{"access_token":"a\u0062"}`),
		answerWith(ok, "{\"access_token\":\"a\nb\"}"),
		answerWith(ok, `{"access_token":"ä"}`),
		answerWith(ok, `{"access_token":"a}`),
		answerWith(ok, `{ "access_token":"a"}`),
		answerWith("HTTP/1.1 404 Not Found", `{"access_token":"a"}`),
		answerWith("HTTP/1.1 504 Gateway Timeout", `{"error":{"code":"unavailable"}}`),
		answerWith("HTTP/1.0 200 OK", `{"access_token":"a"}`),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + `{"access_token":"a"}`,
		answerWith(ok, `{"access_token":"a"}`) + " ",
		answerWith(ok, `{"access_token":"a"} `),
		strings.Replace(answerWith(ok, `{"access_token":"a"}`), "Length: ", "Length: 9", 1),
		strings.Replace(answerWith(ok, `{"access_token":"a"}`), "Length: ", "Length: -", 1),
	} {
		if b := []byte(answer); isWhole(b) && new(grant).read(b) {
			t.Errorf("%q is taken for a grant", answer)
		}
	}
}

func TestCallsThatAreLeftToTheProgram(t *testing.T) {
	for _, args := range [][]string{
		nil, {"tokenctl"}, {"tokenctl", "list"}, {"tokenctl", "get"}, {"tokenctl", "get", "a", "b"}, {"tokenctl", "-x", "get"},
		{"tokenctl", "get", ""}, {"tokenctl", "get", "-x"}, {"tokenctl", "get", "--help"}, {"tokenctl", "get", "a b"}, {"tokenctl", "get", "a/b"},
		{"tokenctl", "get", "a%62"}, {"tokenctl", "get", "a?b"}, {"tokenctl", "get", "ä"}, {"tokenctl", "get", "a\n"},
		{"tokenctl", "get", strings.Repeat("x", ipc.MaxName+1)},
		{"", "get", "a"}, {"xtokenctl", "get", "a"}, {"tokenctl/", "get", "a"}, {"goauth-credential-tokend", "get"},
		{"git-credential-tokend", "get", "a"}, {"git-credential-tokend-p", "get"}, {"git-credential-tokend", "store"},
	} {
		if composerOf(args) != nil {
			t.Errorf("%q is taken for plain", args)
		}
	}
	if composerOf([]string{"tokenctl", "get", strings.Repeat("x", ipc.MaxName)}) == nil {
		t.Error("the longest name is not taken for plain")
	}
	for _, program := range []string{"tokenctl", "./tokenctl", "/usr/bin/tokenctl"} {
		if c, ok := composerOf([]string{program, "get", "a-b.c_1"})(); !ok || string(c.request) != "GET /v1/token/a-b.c_1" {
			t.Errorf("%s: %q, %t", program, c.request, ok)
		}
	}
	for _, program := range []string{"git-credential-tokend", "/usr/libexec/docker-credential-tokend"} {
		if composerOf([]string{program, "get"}) == nil {
			t.Errorf("%s is not taken for plain", program)
		}
	}
	for _, text := range []string{
		"", "\n", "protocol=https\n\n", "host=a\n\n", "protocol=ssh\nhost=a\n\n", "protocol=https\nhost=\n\n", "protocol=https\nhost=a",
		"protocol=https\nhost=a\npath=b\n\n", "protocol=https\nhost=a\nusername=b\n\n", "protocol=https\nhost=a\nhost=b\n\n",
		"protocol=https\nhost=a/b\n\n", "protocol=https\nhost=a\r\n\n", "protocol=https\nhost=ä\n\n", "protocol=https\nhost=a\n\n\r",
		"protocol=https\nhost=a\ncapability[]=a\x00\n\n",
	} {
		if c, ok := gitCall([]byte(text)); ok {
			t.Errorf("%q is taken for plain: %q", text, c.request)
		}
	}
	for _, server := range []string{"", "\n", "http://a", "https://", "ftp://a", "a b", "a?b", "a#b", "ä", "a\n\n", " a", "https://https://a"} {
		if c, ok := dockerCall([]byte(server)); ok {
			t.Errorf("%q is taken for plain: %q", server, c.request)
		}
	}
}

// Whatever answers, nothing breaks, and a token is what encoding/json takes for
// one.
func FuzzGrant(f *testing.F) {
	now := time.Now()
	f.Add(format.AppendJSON(nil, token.Grant{Profile: "p", Host: "https://x.example", Present: "basic:me",
		Token: token.Token{Secret: token.NewSecret("t"), Type: "Bearer", Scope: "a b", Issued: now, Expiry: now.Add(time.Hour)}}, now))
	f.Add([]byte(`{"access_token":"a","expires_in":}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer := []byte(answerWith(ok, string(body)))
		g := grant{}
		if !isWhole(answer) || !g.read(answer) {
			return
		}
		var want struct {
			AccessToken string  `json:"access_token"`
			Present     *string `json:"present"`
		}
		if err := json.Unmarshal(body, &want); err != nil {
			if bytes.Contains(body, []byte(`"expires_in":`)) { // of which nothing is made here
				return
			}
			t.Fatalf("%q: %v", body, err)
		}
		if string(g.token) != want.AccessToken || (g.present == nil) != (want.Present == nil) || g.present != nil && string(g.present) != *want.Present {
			t.Errorf("%q: %+v", body, g)
		}
		for _, line := range [][]byte{gitLines(&g), dockerLine(&g, []byte("s")), tokenLine(&g)} {
			if bytes.Count(line, []byte("\n")) > 3 {
				t.Errorf("%q", line)
			}
		}
	})
}

// Where this looks, ipc.FindSocket looks too.
func TestSocketsAreThoseOfTheClient(t *testing.T) {
	run := t.TempDir()
	for _, env := range [][2]string{{"/a/s", ""}, {"/a/s", run}, {"", run}, {"s", run}, {"", "run"}, {"", ""}} {
		t.Setenv("TOKEND_SOCKET", env[0])
		t.Setenv("XDG_RUNTIME_DIR", env[1])
		list := sockets()
		if list == nil {
			continue
		}
		want, err := ipc.FindSocket()
		if user, userErr := ipc.UserSocket(); env[0] == "" && userErr == nil && want != user {
			list = list[1:] // the user's is not there, and the system's is
		}
		if err != nil || list[0] != want {
			t.Errorf("%q: %q, ipc.FindSocket %q, %v", env, list, want, err)
		}
	}
	t.Setenv("TOKEND_SOCKET", "")
	t.Setenv("XDG_RUNTIME_DIR", run)
	if list := sockets(); len(list) != 2 || list[0] != run+"/tokend/tokend.sock" || list[1] != ipc.SystemSocket() {
		t.Errorf("%q", list)
	}
}

// A user's tokend is asked before the system's, which is asked if there is none.
func TestConnect(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "early")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	user, system := filepath.Join(dir, "longer", "s"), filepath.Join(dir, "s")
	if server, err := connect([]string{user, system}); err == nil {
		t.Errorf("connected to nobody: %d", server)
	}
	for _, socket := range []string{system, user} {
		if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		server, err := connect([]string{user, system})
		if err != nil {
			t.Fatalf("%s: %v", socket, err)
		}
		who, err := syscall.Getpeername(server)
		if name, ok := who.(*syscall.SockaddrUnix); err != nil || !ok || name.Name != socket {
			t.Errorf("connected to %+v, %v, want %s", who, err, socket)
		}
		_ = syscall.Close(server)
	}
}
