//go:build unix

package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// An api is a server that takes one token, and remembers what it was asked.
type api struct {
	*httptest.Server
	ca   string // file of its certificate, if it has one
	mu   sync.Mutex
	got  []string // method, URI, Authorization, body
	good string
}

func newAPI(t *testing.T, tls bool, extra http.HandlerFunc) *api {
	t.Helper()
	s := &api{good: "Bearer " + secretToken}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.got = append(s.got, fmt.Sprintf("%s %s [%s] %s", r.Method, r.RequestURI, r.Header.Get("Authorization"), body))
		good := s.good
		s.mu.Unlock()
		switch {
		case extra != nil && r.URL.Path != "/":
			extra(w, r)
		case r.Header.Get("Authorization") != good:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "go away\n")
		default:
			_, _ = io.WriteString(w, "welcome\n")
		}
	})
	if !tls {
		s.Server = httptest.NewServer(handler)
	} else {
		s.Server = httptest.NewTLSServer(handler)
		s.ca = filepath.Join(t.TempDir(), "ca.pem")
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		if err := os.WriteFile(s.ca, block, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Close)
	return s
}

func (s *api) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// An issuer hands out one token after the other, as each is invalidated.
type issuer struct {
	*backend
	mu      sync.Mutex
	tokens  []string
	dropped []string
}

func (i *issuer) Get(_ context.Context, name string, _ token.Query) (token.Grant, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t := i.token
	t.Secret = token.NewSecret(i.tokens[0])
	if t.Secret.Reveal() == "" {
		return token.Grant{}, &token.Error{Code: token.ErrUnavailable, Message: "login.example did not answer"}
	}
	return token.Grant{Token: t, Profile: name}, nil
}

func (i *issuer) Invalidate(_ context.Context, _ string, t token.Secret) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dropped = append(i.dropped, t.Reveal())
	if len(i.tokens) > 1 && t.Reveal() == i.tokens[0] {
		i.tokens = i.tokens[1:]
	}
	return nil
}

// serveCurl answers on a socket for a profile of each kind, whose hosts are
// those of the APIs.
func serveCurl(t *testing.T, tokens []string, apis ...*api) (*issuer, string) {
	t.Helper()
	checktest.Need(t, "curl")
	var hosts []string
	for _, s := range apis {
		hosts = append(hosts, s.URL)
	}
	i := &issuer{backend: newBackend(), tokens: tokens}
	i.status.Profiles = []token.ProfileStatus{
		{Name: "clms", Does: "mints", Hosts: hosts, File: "/etc/clms.toml"},
		{Name: "rock", Does: "signs", Hosts: hosts},
		{Name: "weather", Does: "verifies"},
	}
	return i, serve(t, i)
}

func TestCurlSendsTheTokenOverTLS(t *testing.T) {
	s := newAPI(t, true, nil)
	_, socket := serveCurl(t, []string{secretToken}, s)
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("CURL_HOME", home)
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte("url = "+s.URL+"/other\n"), 0o600); err != nil { // is not read
		t.Fatal(err)
	}
	t.Chdir(home)
	for _, args := range [][]string{
		{"--", "-sS", "--cacert", s.ca, s.URL}, {"-sS", "--cacert", s.ca, "--url", s.URL + "/"}, {"-sScjar", "-o-", "--cacert", s.ca, "--", s.URL},
		{"-sS", "--cacert", s.ca, "-i", s.URL},
	} {
		call(t, socket, nil, append([]string{"curl", "clms"}, args...)...).wants(t, ui.ExitOK, "welcome\n", "")
	}
	call(t, socket, nil, "curl", "clms", "-sS", "--cacert", s.ca, "-I", s.URL).wants(t, ui.ExitOK, "200", "")
	if got := s.requests(); len(got) != 5 {
		t.Errorf("requests: %q", got)
	}
}

func TestCurlRefusesWhatCouldLeadTheCredentialAstray(t *testing.T) {
	s := newAPI(t, false, nil)
	other := newAPI(t, false, nil)
	i, socket := serveCurl(t, []string{secretToken}, s)
	body := writeSecret(t, "header", "Host: x")
	for _, test := range []struct {
		why  string
		args []string
	}{
		{`hosts = [..., "` + other.URL + `"] in /etc/clms.toml`, []string{other.URL}},
		{"is not among the hosts", []string{s.URL, other.URL}},
		{"is not among the hosts", []string{s.URL, "--", other.URL}},
		{"is not among the hosts", []string{s.URL, "--url", other.URL}},
		{"is not among the hosts", []string{s.URL + "9/"}},
		{"takes no token; download it with plain curl", []string{"https://copernicus-fme.eea.europa.eu/fmedatadownload/results/1.zip"}},
		{"takes no token; download it with plain curl", []string{other.URL + "/b/k?X-Amz-Signature=0a"}},
		{"is not among the hosts", []string{"https://github.com.attacker.example/"}},
		{"is not among the hosts", []string{strings.Replace(s.URL, "127.0.0.1", "localhost", 1)}},
		{"is not among the hosts", []string{strings.Replace(s.URL, "http", "https", 1)}},
		{"names a user", []string{strings.Replace(s.URL, "//", "//user@", 1)}},
		{"is not an https URL", []string{"http://github.com/"}},
		{"is not an https URL", []string{"ftp://github.com/"}},
		{"in its path", []string{s.URL + "/a/../b"}},
		{"in its path", []string{s.URL + "/a/x%2f..%2f..%2Fb"}},
		{"write the whole URL", []string{"example.com"}},
		{"write the whole URL", []string{"--url", "@urls.txt"}},
		{"write the whole URL", []string{""}},
		{"does not belong in a URL", []string{s.URL + "/?q=ü"}},
		{"no URL", []string{"-s"}},
		{"--header authorization", []string{"-H", "authorization: x", s.URL}},
		{"takes NAME: VALUE", []string{"-H", "authorization : x", s.URL}},
		{"takes NAME: VALUE", []string{"-H", "@" + body, s.URL}},
		{"takes NAME: VALUE", []string{"-H", " Host: x", s.URL}},
		{"control character", []string{"-H", "X: y\r\nHost: x", s.URL}},
		{"control character", []string{"-A", "y\nHost: x", s.URL}},
		{"control character", []string{"-b", "a=b\r\nHost: x", s.URL}},
		{"--header Host", []string{"-H", "Host:", s.URL}},
		{"--header hOST", []string{"-HhOST: x", s.URL}},
		{"name of a method", []string{"-X", "GET /x HTTP/1.1", s.URL}},
		{"would add that name", []string{"-T", "..", s.URL + "/a/"}},
		{"would add that name", []string{"-T", "/tmp/%2e%2e", s.URL + "/a/"}},
		{"would add that name", []string{"-sT/tmp/..", s.URL + "/a/"}},
		{"needs a value", []string{s.URL, "-o"}},
		{"needs a value", []string{s.URL, "--output"}},
	} {
		r := call(t, socket, nil, append([]string{"curl", "clms", "--", "-s"}, test.args...)...)
		r.wants(t, ui.ExitUsage, "", test.why)
	}
	call(t, socket, nil, "curl", "weather", s.URL).wants(t, ui.ExitUsage, "", "no credential to send")
	call(t, socket, nil, "curl", "rock", "-k", s.URL).wants(t, ui.ExitUsage, "", "curl -K <(tokenctl sign rock URL -o curl) -k")
	call(t, socket, nil, "curl", "none", s.URL).wants(t, ui.ExitNotFound, "", "none")
	call(t, socket, nil, "curl", "clms").wants(t, ui.ExitUsage, "", "curl needs a URL")
	// All other options are refused, in whatever form.
	for _, args := range [][]string{
		{"-K", "file"}, {"--config", "file"}, {"-sSKfile"}, {"--next"}, {"-:"}, {"--location-trusted"}, {"--location-trust"}, {"--expand-url", "x"}, {"--url=" + s.URL},
		{"-k"}, {"--insecure"}, {"--request-target", "/x"}, {"--proto-redir", "all"}, {"--proto-default", "http"}, {"--libcurl", "x.c"}, {"-u", "a:b"}, {"-n"},
		{"--resolve", "localhost:80:127.0.0.2"}, {"--connect-to", "::x:"}, {"--unix-socket", "/x"}, {"--abstract-unix-socket", "x"}, {"--noproxy", ""}, {"--preproxy", "x"},
		{"--socks5", "x"}, {"--doh-url", "x"}, {"--interface", "x"}, {"--trace", "-"}, {"--stderr", "x"}, {"--no-globoff"}, {"--path-as-is"}, {"--oauth2-bearer", "x"},
		{"--proxy-header", "x"}, {"--variable", "x"}, {"-V"}, {"-h"}, {"-q"}, {"-ü"}, {"--s"}, {"-@"}, {"-"},
	} {
		r := call(t, socket, nil, append(append([]string{"curl", "clms", "--", "-s"}, args...), s.URL)...)
		if r.wants(t, ui.ExitUsage, "", "curl -K <(tokenctl get clms -o curl) -"); r.out != "" {
			t.Errorf("%q: %q", args, r.out)
		}
	}
	if got := append(s.requests(), other.requests()...); len(got) > 0 || len(i.dropped) > 0 {
		t.Errorf("requests: %q, dropped: %q", got, i.dropped)
	}
	// Brackets stand for themselves, and a value may look like an option.
	t.Chdir(t.TempDir())
	if err := os.WriteFile("-K", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, socket, nil, "curl", "clms", "-sGd", "--next", "-o", "-K", s.URL+"/?a[]=1&b={x,y}", "-fw", "done").wants(t, ui.ExitOK, "done", "")
	if got := s.requests(); len(got) != 1 || !strings.HasPrefix(got[0], "GET /?a[]=1&b={x,y}&--next ") {
		t.Errorf("requests: %q", got)
	}
	// curl finds the host where it was checked.
	place := strings.TrimPrefix(other.URL, "http://")
	for _, end := range []string{"?@" + place + "/", "#@" + place + "/", "/@" + place, "/?q=" + other.URL, "//" + place + "/x"} {
		call(t, socket, nil, "curl", "clms", "-sS", "-o", "out", "-T", "-K", "-L", s.URL+end).wants(t, ui.ExitOK, "", "")
	}
	if got := other.requests(); len(got) > 0 || len(s.requests()) != 6 {
		t.Errorf("requests: %q, %q", got, s.requests())
	}
}

// This is not left to curl, which before 7.83 sent headers to any port of a host.
func TestRedirectLeavesTheTokenBehind(t *testing.T) {
	var target string
	other, tls := newAPI(t, false, nil), newAPI(t, true, nil)
	redirect := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, target, http.StatusFound)
		}
	}
	s, safe := newAPI(t, false, redirect), newAPI(t, true, redirect)
	i, socket := serveCurl(t, []string{secretToken, "second"}, s, safe)
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	for _, c := range []struct {
		from   *api
		to     string
		status int
		out    string
	}{
		{s, elsewhere, ui.ExitOK, "go away\n"}, {s, s.URL, ui.ExitOK, "welcome\n"}, {safe, safe.URL, ui.ExitOK, "welcome\n"},
		{s, other.URL, 6, ""}, {s, strings.Replace(other.URL, "1:", "1.:", 1), 6, ""}, {s, tls.URL, 6, ""}, {safe, tls.URL, 6, ""},
		{safe, s.URL, 1, ""}, {safe, elsewhere, 1, ""}, {safe, "http" + strings.TrimPrefix(safe.URL, "https"), 1, ""}, {s, "ftp" + strings.TrimPrefix(other.URL, "http"), 1, ""},
	} {
		target = c.to
		r := call(t, socket, nil, "curl", "clms", "-sSL", "--cacert", safe.ca, c.from.URL+"/away")
		if r.status != c.status || r.out != c.out {
			t.Errorf("from %s to %s: %+v", c.from.URL, c.to, r)
		}
	}
	if got := slices.Concat(other.requests(), tls.requests()); !slices.Equal(got, []string{"GET / [] "}) {
		t.Errorf("the other host got %q", got)
	}
	if len(i.dropped) > 0 {
		t.Errorf("dropped %q for a 401 of a host that did not get it", i.dropped)
	}
	call(t, socket, nil, "curl", "clms", "-sSL", s.URL, s.URL+"/?2").wants(t, ui.ExitOK, "welcome\nwelcome\n", "")
}

// Debian 11 has curl 7.74, RHEL 9 7.76, Ubuntu 22.04 7.81. The stand-in refuses what
// came after 7.74 (curl's docs/options-in-versions), as they would, and hands the
// rest to the installed one.
func TestCurlNeedsNoNewCurl(t *testing.T) {
	s := newAPI(t, true, nil)
	_, socket := serveCurl(t, []string{"old", secretToken}, s)
	program, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	stand := `#!/bin/sh -f
config=$(cat <&3)
for option in "$@" $config; do
	case ${option#--} in
		aws-sigv4|doh-*|fail-with-body|form-escape|json|*remove-on-error|*clobber|rate|url-query|http3-only|ca-native|proxy-*|haproxy-*|variable|expand-*|trace-*|mptcp|skip-existing|tcp-keepcnt|out-null)
		echo "curl: option $option: is unknown" >&2
		exit 2 ;;
	esac
done
exec '` + program + `' "$@" 3<<END
$config
END
`
	if err := os.WriteFile(filepath.Join(dir, "curl"), []byte(stand), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	call(t, socket, nil, "curl", "clms", "-sSfL", "--cacert", s.ca, s.URL).wants(t, ui.ExitOK, "welcome\n", "") // repeated once
	call(t, socket, nil, "curl", "clms", "-sSX", "POST", "--cacert", s.ca, "-d", "x", "-d@-", s.URL).wants(t, ui.ExitOK, "welcome\n", "")
	call(t, socket, nil, "curl", "clms", "-sS", "--json", "{}", s.URL).wants(t, 2, "", "--json: is unknown")
}

// A gateway may refuse curl's own name: the profile has another.
func TestCurlCallsItselfAsTheProfileSays(t *testing.T) {
	s := newAPI(t, false, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.UserAgent()) })
	i, socket := serveCurl(t, []string{secretToken}, s)
	i.status.Profiles[0].Settings = token.Settings{"user_agent": `API "CLIENT"\`}
	for want, args := range map[string][]string{`API "CLIENT"\`: nil, "mine": {"-A", "mine"}, "other": {"-H", "User-Agent: other"}} {
		if r := call(t, socket, nil, append([]string{"curl", "clms", "-sS", s.URL + "/a"}, args...)...); r.out != want {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

// The token of a request without a subscription key is good, and stays.
func TestCurlKeepsTheTokenThatIsNotAtFault(t *testing.T) {
	s := newAPI(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `AzureApiManagementKey realm="https://x.azure-api.net/a",name="Ocp-Apim-Subscription-Key",type="header"`)
		http.Error(w, "Access denied due to missing subscription key.", http.StatusUnauthorized)
	})
	i, socket := serveCurl(t, []string{secretToken, "second"}, s)
	r := call(t, socket, nil, "curl", "clms", "-sS", s.URL+"/a")
	if r.out != "Access denied due to missing subscription key.\n" || !strings.Contains(r.err, `name="Ocp-Apim-Subscription-Key"`) {
		t.Errorf("%+v", r)
	}
	if len(i.dropped) > 0 || len(s.requests()) != 1 {
		t.Errorf("dropped %q after %q", i.dropped, s.requests())
	}
}

// Where the profile has a part of a site, a redirect could lead to the rest; and
// curl sends headers of another name wherever a redirect leads.
func TestRedirectsNeedTheWholeSite(t *testing.T) {
	s := newAPI(t, false, nil)
	i, socket := serveCurl(t, []string{secretToken}, s)
	p := &i.status.Profiles[0]
	for _, c := range []struct {
		host   string
		header token.Presentation
		status int
	}{{s.URL, "", ui.ExitOK}, {s.URL + "/part", "", ui.ExitUsage}, {s.URL, "header:X-Key", ui.ExitUsage}} {
		p.Hosts[0], p.Present = c.host, c.header
		if r := call(t, socket, nil, "curl", "clms", "-sSL", c.host); r.status != c.status || strings.Contains(r.err, "past the hosts of clms") != (c.status != ui.ExitOK) {
			t.Errorf("%+v: %+v", c, r)
		}
	}
}

func TestProxyDoesNotSeeTheToken(t *testing.T) {
	s := newAPI(t, true, nil)
	plain := newAPI(t, false, nil)
	proxy := newAPI(t, false, nil)
	_, socket := serveCurl(t, []string{secretToken}, s, plain)
	r := call(t, socket, nil, "curl", "clms", "-sS", "--cacert", s.ca, "-x", proxy.URL, s.URL)
	if got := proxy.requests(); r.status == ui.ExitOK || len(got) != 1 || !strings.HasPrefix(got[0], "CONNECT ") || !strings.Contains(got[0], "[]") {
		t.Errorf("the proxy got %q; %+v", got, r)
	}
	t.Setenv("http_proxy", proxy.URL)
	for _, u := range []string{plain.URL, strings.Replace(plain.URL, "http", "HTTP", 1)} {
		call(t, socket, nil, "curl", "clms", "-sS", "-x", proxy.URL, u).wants(t, ui.ExitOK, "welcome\n", "")
	}
	if got := proxy.requests(); len(got) != 1 {
		t.Errorf("the proxy got %q", got)
	}
}

// What a proxy answers to CONNECT is not what the API answers.
func TestRefusedTokenIsReplacedBehindAProxy(t *testing.T) {
	s := newAPI(t, true, nil)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	defer proxy.Close()
	_, socket := serveCurl(t, []string{"old", secretToken}, s)
	call(t, socket, nil, "curl", "clms", "-sS", "--cacert", s.ca, "-x", proxy.URL, s.URL).wants(t, ui.ExitOK, "welcome\n", "")
}

func TestRefusedTokenIsReplacedOnceWhereCurlCanRepeat(t *testing.T) {
	dir := t.TempDir()
	file, body, fifo := filepath.Join(dir, "out"), filepath.Join(dir, "body"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(body, []byte("payload"), 0o600), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for repeats, list := range map[bool][][]string{
		true: {
			{"-s"}, {"-sf"}, {"-i"}, {"-I"}, {"-o", file}, {"-L"}, {"-d", "payload"}, {"-d", "@" + body}, {"-T", body}, {"-F", "x=@" + body + ";type=text/plain"},
			{"--data-raw", "@x"}, {"-w", "%{http_code}", "-o", "/dev/null"},
		},
		false: {
			{"-d", "@-"}, {"--data-binary", "@-"}, {"-d@-"}, {"--json", "@-"}, {"--data-urlencode", "x@-"}, {"-T", "-"}, {"-T", "."}, {"-F", "x=@-"},
			{"-F", "x=<-;type=a/b"}, {"-b", "-"}, {"-d", "@/dev/stdin"}, {"-D", "/dev/null"}, {"-d", "@" + fifo},
		},
	} {
		for _, args := range list {
			if args[len(args)-1] == "@"+fifo {
				go func() { _ = os.WriteFile(fifo, []byte("x"), 0o600) }()
			}
			s := newAPI(t, false, nil)
			i, socket := serveCurl(t, []string{"old", secretToken}, s)
			stdin, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			r := call(t, socket, stdin, append(append([]string{"curl", "clms", "-sS"}, args...), s.URL)...)
			_ = stdin.Close()
			got := s.requests()
			ok := len(got) == 1 && len(i.dropped) == 0 && r.out == "go away\n"
			if repeats {
				ok = len(got) == 2 && strings.Contains(got[0], "[Bearer old]") && strings.Contains(got[1], "["+s.good+"]") && slices.Equal(i.dropped, []string{"old"}) &&
					!strings.Contains(r.out, "go away") && !strings.Contains(r.out, "401") && r.err == ""
			}
			if !ok || r.status != ui.ExitOK { // with -T . curl is not silent, whatever -s says
				t.Errorf("%q: requests %q, dropped %q, %+v", args, got, i.dropped, r)
			}
		}
	}
	if b, err := os.ReadFile(file); string(b) != "welcome\n" {
		t.Errorf("-o: %q, %v", b, err)
	}

	s := newAPI(t, false, nil)
	i, socket := serveCurl(t, []string{"old", "older", secretToken}, s)
	call(t, socket, nil, "curl", "clms", "-sS", s.URL, s.URL+"/?2").wants(t, ui.ExitOK, "go away\ngo away\n", "")
	call(t, socket, nil, "curl", "clms", "-sS", s.URL).wants(t, ui.ExitOK, "go away\n", "")
	if got := s.requests(); len(got) != 4 || !slices.Equal(i.dropped, []string{"old"}) {
		t.Errorf("requests %q, dropped %q", got, i.dropped)
	}
	call(t, socket, nil, "curl", "clms", "-sSf", s.URL).wants(t, ui.ExitOK, "welcome\n", "") // "older" is refused, and the next is good
}

func TestAnswerIsShownIfThereIsNoOtherToken(t *testing.T) {
	s := newAPI(t, false, nil)
	_, socket := serveCurl(t, []string{"old"}, s)
	call(t, socket, nil, "curl", "clms", "-sS", s.URL).wants(t, ui.ExitOK, "go away\n", "")
	if got := s.requests(); len(got) != 1 {
		t.Errorf("the same token was sent again: %q", got)
	}
	_, socket = serveCurl(t, []string{"old", ""}, s)
	if r := call(t, socket, nil, "curl", "clms", "-sSf", s.URL); r.status != 22 || !strings.Contains(r.err, "login.example") {
		t.Errorf("%+v, want curl's status", r)
	}
}

func TestExitStatusIsCurls(t *testing.T) {
	s := newAPI(t, false, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	_, socket := serveCurl(t, []string{secretToken}, s)
	r := call(t, socket, nil, "curl", "clms", "-sSf", s.URL+"/none")
	if r.wants(t, 22, "", "curl: (22)"); strings.Contains(r.err, "tokenctl") {
		t.Errorf("stderr %q", r.err)
	}
	reader, unread, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	outs := []*os.File{unread}
	if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil {
		outs = append(outs, full)
	} else if runtime.GOOS == "linux" {
		t.Error(err)
	}
	for _, out := range outs { // as curl itself, however much there is to write
		for _, args := range [][]string{{s.URL}, {s.URL, s.URL}, {s.URL + "/none"}, {"-d@-", s.URL}} {
			cmd := process(append([]string{"curl", "--socket", socket, "clms", "-sS"}, args...)...)
			cmd.Stdout = out
			if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 23 {
				t.Errorf("%q, and the answer cannot be written to %s: %v", args, out.Name(), cmd.ProcessState)
			}
		}
	}
	s.Close()
	call(t, socket, nil, "curl", "clms", "-sS", s.URL).wants(t, 7, "", "curl: (7)")
}

// The server goes on only after the test has read what came before.
func TestBodyIsStreamed(t *testing.T) {
	next := make(chan struct{})
	chunk := strings.Repeat("x", 100<<10)
	s := newAPI(t, false, func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, chunk)
			w.(http.Flusher).Flush()
			<-next
		}
	})
	_, socket := serveCurl(t, []string{secretToken}, s)
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{"tokenctl", "curl", "--socket", socket, "clms", "-sSN", s.URL + "/slow"}, nil, w, io.Discard)
		_ = w.Close()
	}()
	for range 3 {
		if _, err := io.ReadFull(r, make([]byte, len(chunk))); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("%d more bytes, %v", len(rest), err)
	}
	if status := <-ended; status != ui.ExitOK {
		t.Errorf("status %d", status)
	}
}

// startCurlProcess runs tokenctl as a process, and returns once the server has
// been asked.
func startCurlProcess(t *testing.T, asked <-chan struct{}, args ...string) *exec.Cmd {
	t.Helper()
	cmd := process(args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatal("curl did not ask")
	}
	return cmd
}

func TestSignalsArePassedOn(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		asked, gone := make(chan struct{}), make(chan struct{})
		server := newAPI(t, false, func(_ http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-r.Context().Done() // curl has ended
			close(gone)
		})
		_, socket := serveCurl(t, []string{secretToken}, server)
		cmd := startCurlProcess(t, asked, "curl", "--socket", socket, "clms", "-sS", server.URL+"/wait")
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != s {
			t.Errorf("after %v: %v", s, cmd.ProcessState)
		}
		<-gone
	}
}

func TestSignedRequestGoesToTheSignedURL(t *testing.T) {
	var mu sync.Mutex
	var got []string
	s := newAPI(t, false, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, r.RequestURI+" "+r.Header.Get("Signature")+" "+r.Header.Get("x-api-user"))
		mu.Unlock()
		w.WriteHeader(http.StatusUnauthorized)
	})
	other := newAPI(t, false, nil)
	i, socket := serveCurl(t, nil, s)
	i.signed = token.Signed{URL: s.URL + "/api?a=1&b=[2]", Headers: []token.Header{
		{Name: "Signature", Value: token.NewSecret("sig.CANARY")}, {Name: "x-api-user", Value: token.NewSecret(`me"\@example.com`)},
	}}
	file := filepath.Join(t.TempDir(), "api")
	call(t, socket, nil, "curl", "rock", "--", "-sSo", file, s.URL+"/api?b=%5B2%5D&a=1").wants(t, ui.ExitOK, "", "")
	if want := []string{`/api?a=1&b=[2] sig.CANARY me"\@example.com`}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
	if i.request.URL != s.URL+"/api?b=%5B2%5D&a=1" {
		t.Errorf("asked to sign %q", i.request.URL)
	}

	got = nil
	for _, args := range [][]string{{"-G", "-d", "x=1"}, {"--url-query", "x=1"}, {"-T", file}, {"-sL"}, {s.URL + "/api"}} {
		call(t, socket, nil, append([]string{"curl", "rock", s.URL + "/api"}, args...)...).wants(t, ui.ExitUsage, "", "a signature is for one URL")
	}
	call(t, socket, nil, "curl", "rock", other.URL).wants(t, ui.ExitUsage, "", "hosts")
	i.signed.URL = other.URL
	call(t, socket, nil, "curl", "rock", s.URL+"/api").wants(t, ui.ExitUsage, "", "hosts")
	if len(got) > 0 || len(other.requests()) > 0 {
		t.Errorf("requests %q, %q", got, other.requests())
	}
}
