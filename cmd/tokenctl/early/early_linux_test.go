package early

import (
	"strconv"
	"strings"
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
		if line := lineOf(answer); string(line) != secret+"\n" {
			t.Errorf("%q, want %q", line, secret)
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
		answerWith(ok, `{"token_type":"Bearer","access_token":"a"}`),
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
		if b := []byte(answer); isWhole(b) && lineOf(b) != nil {
			t.Errorf("%q is taken for a grant", answer)
		}
	}
}

func TestWhatIsNoPlainName(t *testing.T) {
	for _, name := range []string{"", "-x", "--help", "a b", "a/b", "a%62", "a?b", "ä", "a\n", strings.Repeat("x", 129)} {
		if isPlain(name) {
			t.Errorf("%q is taken for a plain name", name)
		}
	}
	for program, want := range map[string]bool{
		"tokenctl": true, "./tokenctl": true, "/usr/bin/tokenctl": true,
		"": false, "git-credential-tokend": false, "/x/tokenctl/": false, "xtokenctl": false,
	} {
		if isTokenctl(program) != want {
			t.Errorf("%q: %t", program, !want)
		}
	}
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
