package providers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tokend/providers/providertest"
	"tokend/providers/token"
)

// aspose opens the simplest kind against a base URL.
func openAspose(t *testing.T, baseURL string, client *http.Client) token.Minter {
	t.Helper()
	return trial{kind: "aspose", settings: map[string]any{"client_id": "id", "base_url": baseURL},
		secrets: map[string]token.Secret{"client_secret": secret("Canary8Q~0123456789abcdef")}}.open(t, client)
}

// listen listens on loopback, and never answers.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { l.Close() })
	return l
}

// serveTLS answers by h with a certificate of its own choice.
func serveTLS(t *testing.T, config *tls.Config, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = config
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

const granted = `{"access_token":"abc","token_type":"Bearer","expires_in":3600}`

func answerJSON(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

// wantUnavailable mints and compares the error's text after the host.
func wantUnavailable(t *testing.T, m token.Minter, want string) {
	t.Helper()
	begin := time.Now()
	_, err := m.Mint(t.Context(), token.Target{})
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v: another limit than the short one ended it", took)
	}
	u, _ := url.Parse(m.Endpoint())
	if !errors.Is(err, token.ErrUnavailable) || err.Error() != u.Host+" "+want {
		t.Errorf("got  %v\nwant %s %s", err, u.Host, want)
	}
	if err != nil && strings.Contains(err.Error(), "Canary") {
		t.Error("the secret can be seen")
	}
}

// Case 49a.
func TestTLSFaultsAreToldApart(t *testing.T) {
	authority := must[*providertest.Authority](t)(providertest.NewAuthority())
	stranger := must[*providertest.Authority](t)(providertest.NewAuthority())
	now := time.Now()
	client := clientFor(t, authority.CertPEM())
	for name, c := range map[string]struct {
		by          *providertest.Authority
		host        string
		from, until time.Time
		max         uint16
		want        string
	}{
		"good":      {authority, "127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour), tls.VersionTLS13, ""},
		"TLS 1.2":   {authority, "127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour), tls.VersionTLS12, ""},
		"TLS 1.1":   {authority, "127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour), tls.VersionTLS11, "cannot be reached: no TLS handshake: protocol version not supported"},
		"expired":   {authority, "127.0.0.1", now.Add(-2 * time.Hour), now.Add(-time.Hour), tls.VersionTLS13, "cannot be trusted: its certificate has expired"},
		"too early": {authority, "127.0.0.1", now.Add(time.Hour), now.Add(2 * time.Hour), tls.VersionTLS13, "cannot be trusted: its certificate is not valid yet"},
		"name":      {authority, "issuer.example", now.Add(-time.Hour), now.Add(time.Hour), tls.VersionTLS13, "cannot be trusted: its certificate is for another name"},
		"unknown":   {stranger, "127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour), tls.VersionTLS13, "cannot be trusted: its certificate is from an unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			cert := must[tls.Certificate](t)(c.by.Issue([]string{c.host}, c.from, c.until))
			asked := false
			s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: c.max},
				func(w http.ResponseWriter, r *http.Request) { asked = true; answerJSON(granted)(w, r) })
			m := openAspose(t, s.URL, client)
			if c.want == "" {
				must[token.Token](t)(m.Mint(t.Context(), token.Target{}))
				return
			}
			wantUnavailable(t, m, c.want)
			if asked {
				t.Error("the request was sent")
			}
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		s := httptest.NewServer(answerJSON(granted))
		defer s.Close()
		wantUnavailable(t, openAspose(t, "https"+strings.TrimPrefix(s.URL, "http"), client), "does not speak TLS")
	})
}

// Case 44, answers that do not end.
func TestNoAnswerComesToAnEnd(t *testing.T) {
	authority := must[*providertest.Authority](t)(providertest.NewAuthority())
	cert := must[tls.Certificate](t)(authority.Issue([]string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	const short = 300 * time.Millisecond
	for name, c := range map[string]struct {
		limit  time.Duration // zero for the usual one
		answer http.HandlerFunc
		want   string
	}{
		"no headers": {short, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, "did not answer in time"},
		"endless drip": {short, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, "did not answer in time"},
		"endless flood": {0, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for block := make([]byte, 64<<10); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, "answered 200 OK with more than 4 MiB"},
		"endless headers": {0, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("a", 1<<20))
			answerJSON(granted)(w, nil)
		}, "did not answer with HTTP"},
		"cut short": {0, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			answerJSON(granted)(w, nil)
		}, "closed the connection before its answer was complete"},
		"hung up": {0, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			"closed the connection before its answer was complete"},
		"not HTTP": {0, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "HTTP/9 Canary8Q~0123456789abcdef\r\n\r\n")
				conn.Close()
			}
		}, "did not answer with HTTP"},
		"gzip": {0, func(w http.ResponseWriter, r *http.Request) {
			if e := r.Header.Get("Accept-Encoding"); e != "identity" {
				t.Errorf("Accept-Encoding is %q", e)
			}
			w.Header().Set("Content-Encoding", "gzip")
			answerJSON("\x1f\x8b...")(w, nil)
		}, "answered 200 OK with a compressed body, which tokend did not ask for"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveTLS(t, config, c.answer)
			client := clientFor(t, authority.CertPEM())
			client.Timeout = cmp.Or(c.limit, client.Timeout)
			wantUnavailable(t, openAspose(t, s.URL, client), c.want)
		})
	}

	t.Run("no handshake", func(t *testing.T) {
		client := clientFor(t, authority.CertPEM())
		client.Timeout = short
		wantUnavailable(t, openAspose(t, "https://"+listen(t).Addr().String(), client), "did not answer in time")
	})
	t.Run("caller leaves", func(t *testing.T) {
		asked := make(chan struct{})
		s := serveTLS(t, config, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			close(asked)
			<-r.Context().Done()
		})
		m := openAspose(t, s.URL, clientFor(t, authority.CertPEM()))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		_, err := m.Mint(ctx, token.Target{})
		if !errors.Is(err, token.ErrUnavailable) || !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), " did not answer before the request was given up") {
			t.Error(err)
		}
	})
	t.Run("no such host", func(t *testing.T) {
		m := openAspose(t, "https://issuer.invalid", clientFor(t, authority.CertPEM()))
		_, err := m.Mint(t.Context(), token.Target{})
		// A machine without any name server cannot say more than the second.
		if !errors.Is(err, token.ErrUnavailable) ||
			err.Error() != "issuer.invalid cannot be reached: there is no such host name" &&
				err.Error() != "issuer.invalid cannot be reached: the host name could not be looked up" {
			t.Error(err)
		}
	})
}

// Case 49a, the proxies.
func TestProxies(t *testing.T) {
	s := startIssuers(t)
	id, text := s.Aspose().NewClient()
	var connects []string
	forward := httptest.NewServer(tunnel(&connects))
	defer forward.Close()
	refuse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Canary", http.StatusProxyAuthRequired)
	}))
	defer refuse.Close()
	hang, gone := listen(t), listen(t)
	gone.Close()

	open := func(proxy string) token.Minter {
		client := must[*http.Client](t)(NewHTTPClient(caFile(t, s.CertPEM()), proxy))
		if strings.Contains(proxy, "Canary") { // which hangs
			client.Timeout = 300 * time.Millisecond
		}
		return trial{kind: "aspose", settings: map[string]any{"client_id": id, "base_url": s.Aspose().BaseURL()},
			secrets: map[string]token.Secret{"client_secret": secret(text)}}.open(t, client)
	}
	must[token.Token](t)(open(forward.URL).Mint(t.Context(), token.Target{}))
	if want := strings.TrimPrefix(s.URL(), "https://"); len(connects) != 1 || connects[0] != want {
		t.Errorf("the proxy was asked for %v", connects)
	}
	wantUnavailable(t, open(refuse.URL), "cannot be reached: the proxy answered 407 Proxy Authentication Required")
	wantUnavailable(t, open("http://"+gone.Addr().String()), "cannot be reached: the proxy cannot be reached: it refuses connections")
	wantUnavailable(t, open("http://user:Canary@"+hang.Addr().String()), "did not answer in time")
}

// tunnel is a proxy that notes what it connects to.
func tunnel(connects *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*connects = append(*connects, r.Host)
		upstream, err := net.Dial("tcp", r.Host)
		if r.Method != http.MethodConnect || err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer upstream.Close()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(upstream, conn) }()
		_, _ = io.Copy(conn, upstream)
	}
}

func TestWhatARequestLooksLike(t *testing.T) {
	authority := must[*providertest.Authority](t)(providertest.NewAuthority())
	cert := must[tls.Certificate](t)(authority.Issue([]string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	var got *http.Request
	var body string
	addresses := map[string]bool{}
	s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, body = r, string(text)
		addresses[r.RemoteAddr] = true
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		answerJSON(granted)(w, r)
	})
	m := trial{kind: "oauth2", settings: map[string]any{
		"token_url": s.URL + "/token?key=QSECRET", "user_agent": "API-CLIENT", "resource": nil, "client_id": "a:b ü",
	}, secrets: map[string]token.Secret{"client_secret": secret("s%+/&=:ß\r\n")}}.open(t, clientFor(t, authority.CertPEM()))
	for range 2 {
		must[token.Token](t)(m.Mint(t.Context(), token.Target{}))
	}
	for name, want := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", "User-Agent": "API-CLIENT", "Cookie": "",
		// RFC 6749 §2.3.1: form-encoded first. "a%3Ab+%C3%BC:s%25%2B%2F%26%3D%3A%C3%9F"
		"Authorization": "Basic YSUzQWIrJUMzJUJDOnMlMjUlMkIlMkYlMjYlM0QlM0ElQzMlOUY=",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if want := "audience=https%3A%2F%2Fapi.example&grant_type=client_credentials&organization=example&scope=reports.read+reports.write"; body != want {
		t.Errorf("body is %s\nwant    %s", body, want)
	}
	if got.Method != http.MethodPost || got.URL.RawQuery != "key=QSECRET" {
		t.Errorf("%s %s", got.Method, got.URL)
	}
	if len(addresses) != 2 {
		t.Error("a connection was used twice")
	}
	if m.Endpoint() != s.URL+"/token" {
		t.Errorf("Endpoint is %s", m.Endpoint())
	}
	s.Close()
	if _, err := m.Mint(t.Context(), token.Target{}); err == nil || strings.Contains(err.Error(), "QSECRET") {
		t.Errorf("error is %v", err)
	}
}

func TestARejectionTellsOfAClockThatIsOff(t *testing.T) {
	s, client := startWithClient(t)
	tr := trials(t, s)[0]
	m := tr.open(t, client)
	for off, want := range map[time.Duration]string{
		-5 * time.Minute: "; this machine's clock is 5m0s ahead of the issuer's",
		5 * time.Minute:  "; this machine's clock is 4m59s behind the issuer's",
		30 * time.Second: "",
	} {
		tr.issuer.Fail(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			providertest.Refuse(400, "invalid_grant", "no")(w, r)
		})
		_, err := m.Mint(t.Context(), token.Target{})
		_, got, _ := strings.Cut(err.Error(), "invalid_grant: no")
		if got != want && got != strings.NewReplacer("5m0s", "5m1s", "4m59s", "5m0s").Replace(want) {
			t.Errorf("off by %v: %q", off, got)
		}
	}
}

func TestHTTPConfigIsChecked(t *testing.T) {
	empty := caFile(t, []byte("no certificate"))
	const noProxy = "proxy must be a URL with http, https or socks5, such as http://proxy.example:3128, or none"
	for _, c := range []struct{ caFile, proxy, field, want string }{
		{os.DevNull, "", "ca_file", "ca_file cannot be read: " + os.DevNull + " is not a regular file"},
		{filepath.Join(t.TempDir(), "none"), "", "ca_file", "ca_file cannot be read: "},
		{empty, "", "ca_file", empty + " contains no certificate: it is neither PEM nor DER"},
		{"", "proxy.example", "proxy", noProxy}, {"", "ftp://proxy.example", "proxy", noProxy},
	} {
		_, err := NewHTTPClient(c.caFile, c.proxy)
		if e := errorOf(err); e.Code != token.ErrInvalid || e.Field != c.field || !strings.HasPrefix(e.Message, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, env := range []string{"http://u:50%off@proxy:3128", "http://u:p@Secret#rest@proxy:3128", "http://u:p/Secret@proxy:3128", "http://u:p@Secret?x@proxy", "ftp://Secret"} {
		t.Setenv("HTTPS_PROXY", env)
		for _, proxy := range []string{"", env} {
			if _, err := NewHTTPClient("", proxy); errorOf(err).Field != "proxy" || strings.Contains(err.Error(), "Secret") {
				t.Errorf("%s: %v", env, err)
			}
		}
	}
	t.Setenv("HTTPS_PROXY", "")
	for _, proxy := range []string{"", "none", "http://p.example:3128", "https://p.example", "socks5://p.example:1080"} {
		if _, err := NewHTTPClient("", proxy); err != nil {
			t.Errorf("proxy %q: %v", proxy, err)
		}
	}
}

func TestInwardAddressesAreRefused(t *testing.T) {
	for addr, refused := range map[string]bool{
		"127.0.0.1:443": true, "127.1.2.3:443": true, "[::1]:443": true, "[::ffff:127.0.0.1]:443": true,
		"169.254.169.254:80": true, "[fe80::1%eth0]:443": true, "0.0.0.0:443": true, "[ff02::1]:443": true,
		"192.0.2.1:443": false, "10.0.0.1:443": false, "[2001:db8::1]:443": false,
	} {
		if err := refuseInward(addr, false); errors.Is(err, errInward) != refused {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// A name, unlike the address itself, that leads to loopback: nothing is sent.
func TestANameThatLeadsInward(t *testing.T) {
	s := startIssuers(t)
	id, text := s.Aspose().NewClient()
	try := func(base string, allowed bool) error {
		_, err := trial{kind: "aspose", settings: map[string]any{"client_id": id, "base_url": base, "loopback": allowed},
			secrets: map[string]token.Secret{"client_secret": secret(text)}}.open(t, clientFor(t, s.CertPEM())).Mint(t.Context(), token.Target{})
		return err
	}
	port := s.URL()[len("https://127.0.0.1"):]
	if err := try("https://localhost"+port, false); err != nil {
		t.Errorf("localhost itself: %v", err)
	}
	err := try("https://LOCALHOST"+port, false) // a name like any other that resolves so
	if !errors.Is(err, token.ErrUnavailable) || s.Aspose().Requests() != 1 {
		t.Errorf("%v after %d requests", err, s.Aspose().Requests())
	}
	if err := try("https://LOCALHOST"+port, true); err != nil {
		t.Errorf("with loopback = true: %v", err)
	}
	if want := "LOCALHOST" + port + " " + errInward.Error(); err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// A name server that is silent costs five seconds, not the answer of the next one (or
// of its own second try, which is the same to the resolver); the connection has its
// own limit then.
func TestNameServersThatAreSilent(t *testing.T) {
	port := func(l net.Listener) string { _, port, _ := net.SplitHostPort(l.Addr().String()); return port }
	issuer := listen(t)
	_, _ = (&net.Resolver{PreferGo: true}).LookupHost(t.Context(), "localhost") // package net must not make its state in a bubble
	for _, c := range []struct {
		silent int
		proxy  string
		took   time.Duration
		want   string // empty for a connection
	}{
		{0, "issuer.test", 0, ""}, {1, "issuer.test", 5 * time.Second, ""},
		{1, "", 5 * time.Second, "was not asked: its host name resolves to this machine or its link-local network"},
		{100, "issuer.test", lookupLimit, "cannot be reached: the host name could not be looked up"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			asked := map[bool]int{} // by what is asked for: IPv4 or not
			resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go nameServer(server, func(ipv4 bool) bool {
					mu.Lock()
					defer mu.Unlock()
					asked[ipv4]++
					return asked[ipv4] > c.silent
				})
				return client, nil
			}}
			began := time.Now()
			conn, err := guardedDial(c.proxy, resolver)(t.Context(), "tcp", "issuer.test:"+port(issuer))
			if took := time.Since(began); took > c.took || c.want == "" && took != c.took {
				t.Errorf("%d silent: took %v", c.silent, took)
			}
			if err == nil {
				conn.Close()
			}
			if err == nil && c.want != "" || err != nil && whyUnreachable(err).words != c.want {
				t.Errorf("%d silent: %v", c.silent, err)
			}
		})
	}
}

// An address that is silent costs 300 ms, and one that refuses nothing; all of them
// together have one limit.
func TestAddressesThatAreSilent(t *testing.T) {
	for addresses, took := range map[string]time.Duration{
		"good": 0, "refuses good": 0, "silent good": nextAddress, "silent silent refuses good": 2 * nextAddress, "silent refuses": connectLimit,
	} {
		synctest.Test(t, func(t *testing.T) {
			began, each := time.Now(), strings.Fields(addresses)
			conn, err := firstOf(t.Context(), len(each), func(ctx context.Context, i int) (net.Conn, error) {
				switch each[i] {
				case "silent":
					<-ctx.Done()
				case "good":
					return &net.TCPConn{}, nil
				}
				return nil, syscall.ECONNREFUSED
			})
			if good := strings.HasSuffix(addresses, "good"); time.Since(began) != took || good != (conn != nil) || good != (err == nil) {
				t.Errorf("%s: %v, %v after %v", addresses, conn, err, time.Since(began))
			}
		})
	}
}

// nameServer answers that a name is 127.0.0.1 (RFC 1035 §4, over TCP), or not at all.
func nameServer(conn net.Conn, answers func(ipv4 bool) bool) {
	defer conn.Close()
	var size uint16
	if binary.Read(conn, binary.BigEndian, &size) != nil {
		return
	}
	query := make([]byte, size)
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	question := query[12 : 12+bytes.IndexByte(query[12:], 0)+5]
	ipv4 := question[len(question)-3] == 1
	if !answers(ipv4) {
		_, _ = conn.Read(query) // until the client gives up
		return
	}
	reply := append(query[:2:2], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	reply = append(reply, question...)
	if ipv4 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
}

func TestSeeFindsAnIssuer(t *testing.T) {
	var asked []string
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String())
		w.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusForbidden)
	}))
	defer issuer.Close()
	seen, err := See(t.Context(), issuer.Client(), issuer.URL+"/oauth2/token?x=y")
	if err != nil || seen.Skew > -9*time.Minute || seen.Skew < -11*time.Minute || !strings.HasPrefix(seen.TLS, "TLS 1.") {
		t.Errorf("%+v, %v", seen, err)
	}
	if len(asked) != 1 || asked[0] != "HEAD /" {
		t.Errorf("asked for %q", asked)
	}

	untrusting := must[*http.Client](t)(NewHTTPClient("", "none"))
	silent, closed := listen(t), listen(t)
	closed.Close()
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for name, c := range map[string]struct {
		ctx        context.Context
		url, topic string
	}{
		"another certificate": {t.Context(), issuer.URL, "tls-unknown-authority"},
		"no listener":         {t.Context(), "https://" + closed.Addr().String() + "/token", "connection-refused"},
		"no answer":           {soon, "https://" + silent.Addr().String(), topicTimeout},
	} {
		_, err := See(c.ctx, untrusting, c.url)
		if e := errorOf(err); e.Code != token.ErrUnavailable || e.Topic != c.topic {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestProxyForKeepsThePasswordBack(t *testing.T) {
	for proxy, want := range map[string]string{
		"none":                              "",
		"http://me:CANARY@proxy.example:31": "http://proxy.example:31",
	} {
		client := must[*http.Client](t)(NewHTTPClient("", proxy))
		if got := ProxyFor(client, "https://issuer.example/token"); got != want {
			t.Errorf("%s: %q", proxy, got)
		}
	}
}

// An authority that the system, or ca_file, gets or renews while tokend runs is trusted
// after a reload, and without one when an issuer of it is asked, once a minute.
func TestAuthoritiesAreReadAgain(t *testing.T) {
	authority := must[*providertest.Authority](t)(providertest.NewAuthority())
	other := must[*providertest.Authority](t)(providertest.NewAuthority())
	cert := must[tls.Certificate](t)(authority.Issue([]string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, answerJSON(granted))
	const unknown, expired = "cannot be trusted: its certificate is from an unknown authority", "cannot be trusted: its certificate has expired"
	before := map[string][]byte{unknown: other.CertPEM(), expired: must[[]byte](t)(authority.ExpiredPEM())}
	for _, c := range []struct{ name, file, caFile, fault string }{
		{"the system's file", "system.pem", "", unknown},
		{"the system's file, with a ca_file", "system.pem", "ca.pem", unknown},
		{"the system's directory", "certs/new.pem", "", unknown},
		{"a link in the system's directory", "certs/link.pem", "ca.pem", unknown},
		{"ca_file", "ca.pem", "ca.pem", unknown},
		{"a root that expired", "system.pem", "", expired},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name string, pem []byte) {
				t.Helper()
				name = filepath.Join(dir, name)
				if strings.HasSuffix(name, "link.pem") { // as update-ca-certificates leaves it
					check(t, os.WriteFile(dir+"/shared.pem", pem, 0o600))
					check(t, os.Symlink("../shared.pem", name))
					return
				}
				check(t, os.WriteFile(name+".new", pem, 0o600))
				check(t, os.Rename(name+".new", name))
			}
			t.Setenv("SSL_CERT_FILE", filepath.Join(dir, "system.pem"))
			t.Setenv("SSL_CERT_DIR", "/nowhere:"+filepath.Join(dir, "certs"))
			check(t, os.Mkdir(filepath.Join(dir, "certs"), 0o700))
			write("system.pem", before[c.fault])
			caFile := ""
			if c.caFile != "" {
				write(c.caFile, before[c.fault])
				caFile = filepath.Join(dir, c.caFile)
			}
			client := must[*http.Client](t)(NewHTTPClient(caFile, "none"))
			m := openAspose(t, s.URL, client)
			wantUnavailable(t, m, c.fault)
			write(c.file, authority.CertPEM())
			wantUnavailable(t, m, c.fault) // they were read again a moment ago
			must[token.Token](t)(openAspose(t, s.URL, must[*http.Client](t)(NewHTTPClient(caFile, "none"))).Mint(t.Context(), token.Target{}))
			client.Transport.(*transport).read = time.Now().Add(-rootsAgain)
			must[token.Token](t)(m.Mint(t.Context(), token.Target{}))
			if c.caFile == c.file { // a bad file costs nothing
				write(c.file, []byte("no certificate"))
				client.Transport.(*transport).current, client.Transport.(*transport).read = nil, time.Time{}
				must[token.Token](t)(m.Mint(t.Context(), token.Target{}))
			}
		})
	}
}

// What this machine trusts is what crypto/x509 finds.
func TestTheSystemsAuthorities(t *testing.T) {
	if want, err := x509.SystemCertPool(); err == nil && !systemRoots().Equal(want) {
		t.Error("they are not those of crypto/x509")
	}
}
