package ipcserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tokend/packaging/checktest"
	. "tokend/providers/fixturetest"
	"tokend/providers/token"
)

// block is the fenced block of one language in a file of docs/providers.
func block(t *testing.T, file, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs/providers", file))
	Must(t, err)
	blocks := strings.Split(string(text), "\n```"+language+"\n")
	if len(blocks) != 2 {
		t.Fatalf("%s has %d blocks of %s, want one", file, len(blocks)-1, language)
	}
	code, _, ok := strings.Cut(blocks[1], "\n```\n")
	if !ok {
		t.Fatalf("%s: the block of %s does not end", file, language)
	}
	return code + "\n"
}

// languages are those of the examples, and how their programs are started.
var languages = []struct{ name, program, suffix string }{
	{"python", "python3", ".py"}, {"js", "node", ".mjs"}, {"r", "Rscript", ".R"},
}

// example writes the example of a language to a file, and returns how to run
// it.
func example(t *testing.T, file, language, program, suffix string) []string {
	t.Helper()
	code := block(t, file, language)
	if language == "r" && exec.Command(program, "-e", "library(httr2)").Run() != nil {
		checktest.Unable(t, "R with httr2 is not installed (Debian: r-base-core, r-cran-httr2)")
	}
	source := filepath.Join(t.TempDir(), "example"+suffix)
	Must(t, os.WriteFile(source, []byte(code), 0o600))
	return []string{checktest.Need(t, program), source}
}

// launch runs a program that talks to tokend.
func (s *running) launch(t *testing.T, stdin string, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Env = append(os.Environ(), "TOKEND_SOCKET="+s.socket, "no_proxy=*")
	c.Stdin = strings.NewReader(stdin)
	b, err := c.CombinedOutput()
	return string(b), err
}

// startNamed serves a memory that has a profile of this name.
func startNamed(t *testing.T, name string) *running {
	b := newMemory()
	b.tokens = map[string]token.Token{name: {}}
	return start(t, b, Options{})
}

func TestTheSigningExamplesWork(t *testing.T) {
	checktest.FullOnly(t)
	got := make(chan string, 10)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Signature"), r.Header.Get("x-api-user"))
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("the data"))
	}))
	defer api.Close()
	s := startNamed(t, "rock")
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			run := example(t, "datarock.md", l.name, l.program, l.suffix)
			out, err := s.launch(t, "", append(run, api.URL+"/some-api?a=%2F+b")...)
			if err != nil || !strings.HasPrefix(out, "the data") {
				t.Fatalf("%v: %s", err, out)
			}
			if got, want := <-got, "GET /some-api?a=%2F+b&signed sig-1 me@example.com"; got != want {
				t.Errorf("requested %s, want %s", got, want)
			}
			_, _ = s.launch(t, "", append(run, api.URL+"/moved?x")...)
			<-got
			if len(got) > 0 {
				t.Errorf("the signature went on: %s", <-got)
			}
			if out, err := s.launch(t, "", append(run, "https://x/broken")...); err == nil || !strings.Contains(out, "internal error") {
				t.Errorf("a refusal: %v, %s", err, out)
			}
		})
	}
}

func TestTheVerifyingExamplesWork(t *testing.T) {
	checktest.FullOnly(t)
	s := startNamed(t, "weather")
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			run := example(t, "ioxio.md", l.name, l.program, l.suffix)
			if out, err := s.launch(t, "good\n", run...); err != nil || strings.TrimSpace(out) != "group:x" {
				t.Errorf("a good token: %v, %s", err, out)
			}
			if out, err := s.launch(t, "other\n", run...); err == nil || !strings.Contains(out, "not valid: the token is for dpp://other") {
				t.Errorf("a bad token: %v, %s", err, out)
			}
			if out, err := s.launch(t, "\n", run...); err == nil || strings.Contains(out, "not valid") {
				t.Errorf("no token is no verdict: %v, %s", err, out)
			}
		})
	}
}

// A service stands behind nginx and tells what it learned.
type service struct{ called atomic.Int64 }

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.called.Add(1)
	body := make([]byte, 100)
	n, _ := r.Body.Read(body)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"request": r.Method + " " + r.RequestURI + " " + string(body[:n]), "header": r.Header,
	})
}

// startNginx runs the nginx of the machine with the configuration in
// docs/providers/ioxio.md. Its workers run as the user, or as that of the test
// if that is not root and cannot choose.
func startNginx(t *testing.T, user, socket, upstream string) (address string) {
	t.Helper()
	nginx := checktest.Need(t, "nginx")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Must(t, err)
	address = l.Addr().String()
	Must(t, l.Close())
	config := block(t, "ioxio.md", "nginx")
	for documented, own := range map[string]string{
		"unix:/run/tokend/tokend.sock": "unix:" + socket, "127.0.0.1:8080": address, "http://127.0.0.1:9000": upstream,
	} {
		if strings.Count(config, documented) != 1 {
			t.Fatalf("the configuration does not name %s once", documented)
		}
		config = strings.Replace(config, documented, own, 1)
	}
	dir := t.TempDir()
	head := "daemon off;\nworker_processes 1;\npid " + dir + "/pid;\nerror_log stderr info;\n"
	if os.Getuid() == 0 {
		head = "user " + user + ";\n" + head
	}
	head += "events {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		head += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	file := filepath.Join(dir, "nginx.conf")
	Must(t, os.WriteFile(file, []byte(head+config+"}\n"), 0o600))
	errs := &log{}
	c := exec.Command(nginx, "-p", dir, "-c", file, "-e", "stderr")
	c.Stderr = errs
	Must(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		_ = c.Wait()
		if t.Failed() {
			t.Logf("nginx: %s", errs.String())
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx does not listen: %v\n%s", err, errs.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// learned is what the service says it learned.
type learned struct {
	Request string
	Header  http.Header
}

// through asks nginx. The body is there for a 200.
func through(t *testing.T, method, url string, head map[string]string) (*http.Response, learned) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(map[string]string{"POST": "the body"}[method]))
	Must(t, err)
	for name, value := range head {
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	Must(t, err)
	defer func() { _ = answer.Body.Close() }()
	var l learned
	if answer.StatusCode == http.StatusOK {
		Must(t, json.NewDecoder(answer.Body).Decode(&l))
	}
	return answer, l
}

func TestNginxLetsGoodTokensThroughAndNothingElse(t *testing.T) {
	checktest.FullOnly(t)
	s := startNamed(t, "weather")
	behind := &service{}
	app := httptest.NewServer(behind)
	defer app.Close()
	url := "http://" + startNginx(t, "root", s.socket, app.URL) + "/data?q=%2F1"

	answer, l := through(t, "POST", url, map[string]string{
		"X-API-Key": "good", "Origin": "https://web.example", "X-Tokend-Subject": "evil", "X-Tokend-Claims": "evil", "Cookie": strings.Repeat("c", 7000),
	})
	if answer.StatusCode != 200 || l.Request != "POST /data?q=%2F1 the body" {
		t.Fatalf("a good token: %s, %s", answer.Status, l.Request)
	}
	if l.Header.Get("X-Tokend-Subject") != "group:x" || l.Header.Get("X-Tokend-Issuer") != "https://ds.example" || len(l.Header.Get("X-Tokend-Claims")) < 50 {
		t.Errorf("the service learned %v", l.Header)
	}
	if l.Header.Get("X-Api-Key") != "" || l.Header.Get("Authorization") != "" {
		t.Error("the service got the token")
	}
	if answer, l := through(t, "GET", url, map[string]string{"Authorization": "Bearer good"}); answer.StatusCode != 200 || l.Header.Get("X-Tokend-Subject") != "group:x" {
		t.Errorf("a bearer token: %s, %v", answer.Status, l.Header)
	}
	for _, name := range []string{"odd", "bare", "huge"} {
		answer, l := through(t, "GET", url, map[string]string{"X-API-Key": name, "X-Tokend-Subject": "evil", "X-Tokend-Issuer": "evil", "X-Tokend-Claims": "evil"})
		if answer.StatusCode != 200 {
			t.Errorf("%s: %s", name, answer.Status)
		}
		for header, values := range l.Header {
			if strings.HasPrefix(header, "X-Tokend-") && values[0] == "evil" {
				t.Errorf("%s: the client's own %s was passed on", name, header)
			}
		}
	}
	let := behind.called.Load()
	for _, c := range []struct {
		name   string
		head   map[string]string
		status int
	}{
		{"no token", nil, 401},
		{"bad", map[string]string{"X-API-Key": "bad"}, 401},
		{"expired", map[string]string{"Authorization": "Bearer expired"}, 401},
		{"two", map[string]string{"X-API-Key": "good", "Authorization": "Bearer bare"}, 401},
		{"for another", map[string]string{"X-API-Key": "other"}, 403},
		{"nothing but a subject", map[string]string{"X-Tokend-Subject": "group:x"}, 401},
	} {
		answer, _ := through(t, "GET", url, c.head)
		if answer.StatusCode != c.status || strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Bearer") != (c.status == 401) {
			t.Errorf("%s: %s, %q", c.name, answer.Status, answer.Header.Get("WWW-Authenticate"))
		}
	}
	if answer, _ := through(t, "GET", strings.Replace(url, "/data", "/tokend", 1), map[string]string{"X-API-Key": "good"}); answer.StatusCode != 404 {
		t.Errorf("tokend itself can be asked from outside: %s", answer.Status)
	}
	other := "http://" + startNginx(t, "root", startNamed(t, "other").socket, app.URL) + "/"
	if answer, _ := through(t, "GET", other, map[string]string{"X-API-Key": "good"}); answer.StatusCode != 500 {
		t.Errorf("no such profile: %s", answer.Status)
	}
	if os.Getuid() == 0 {
		url := "http://" + startNginx(t, "www-data", s.socket, app.URL) + "/"
		if answer, _ := through(t, "GET", url, map[string]string{"X-API-Key": "good"}); answer.StatusCode != 500 {
			t.Errorf("workers of another user: %s", answer.Status)
		}
	}
	Must(t, s.stop())
	if answer, _ := through(t, "GET", url, map[string]string{"X-API-Key": "good"}); answer.StatusCode < 500 {
		t.Errorf("without tokend: %s", answer.Status)
	}
	if behind.called.Load() != let {
		t.Error("a request got through")
	}
}
