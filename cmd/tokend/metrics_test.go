package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"tokend/daemon"
	"tokend/daemon/mint"
	"tokend/daemon/profile"
	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// fullMetrics has a value for every metric that there is.
func fullMetrics() *metrics {
	m := newMetrics()
	m.missing.WithLabelValues("error")
	noon := time.Date(2026, 11, 23, 12, 0, 0, 500e6, time.UTC)
	m.figures = func(context.Context) (daemon.Figures, error) {
		return daemon.Figures{
			Stats:    mint.Stats{CacheErr: errors.New("full"), CacheWrites: 5, Skew: -90 * time.Second, SkewKnown: true},
			Watchers: 2,
			Status: token.Status{MayManage: true, Keystore: "os: locked: CANARY", ConfigErrors: []string{"CANARY"}, Profiles: []token.ProfileStatus{
				{Name: "clms", Provider: "clms", Does: "mints", Renew: "always", CredentialExpires: noon, CredentialState: "expiring", Tokens: []token.TokenStatus{
					{State: "fresh", Expiry: noon, RenewAt: noon, LastUsed: noon, Failures: 2, Error: &token.Error{Code: token.ErrRejected, Message: "CANARY"}},
					{State: "none", Target: token.Target{Scope: "a"}},
				}, Attempts: map[token.Code]uint64{"": 7, token.ErrRejected: 2}},
				{Name: "rock", Provider: "datarock", Does: "signs"},
			}},
		}, nil
	}
	m.issuers.WithLabelValues("clms", "2xx").Observe(.2)
	m.requests.WithLabelValues("get", "invalid").Inc()
	return m
}

func written(t *testing.T, m *metrics) string {
	t.Helper()
	handler, err := m.handler(t.Context())
	check(t, err)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestMetricsSayWhatIs(t *testing.T) {
	text := written(t, fullMetrics())
	for _, want := range []string{
		`tokend_token_expiry_timestamp_seconds{profile="clms"} 1.7954352005e+09`,
		`tokend_token_usable{profile="clms"} 1`,
		`tokend_credential_expiring{profile="clms"} 1`,
		`tokend_credential_expiring{profile="rock"} 0`,
		`tokend_token_error{code="rejected",profile="clms"} 1`,
		`tokend_renewals_total{profile="clms",result="obtained"} 7`,
		`tokend_renewals_total{profile="clms",result="rejected"} 2`,
		`tokend_profile_info{does="signs",profile="rock",provider="datarock",renew="used"} 1`,
		`tokend_tokens{profile="clms",state="none"} 1`,
		`tokend_keystore_state{state="locked"} 1`,
		`tokend_keystore_state{state="ok"} 0`,
		`tokend_cache_state{state="failing"} 1`,
		`tokend_cache_writes_total 5`,
		`tokend_clock_skew_seconds -90`,
		`tokend_requests_total{do="get",result="invalid"} 1`,
		`tokend_issuer_request_duration_seconds_count{provider="clms",status="2xx"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "CANARY") || strings.Contains(text, `token_usable{profile="rock"}`) {
		t.Error("it says too much")
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("Prometheus' linter: %v %v", problems, err)
	}
}

// Who may not manage profiles learns nothing of others' from sums over all.
func TestMetricsForWhoSeesNotAllProfiles(t *testing.T) {
	m := fullMetrics()
	m.figures = func(context.Context) (daemon.Figures, error) { return daemon.Figures{}, nil }
	text := written(t, m)
	if strings.Contains(text, "clms") || strings.Contains(text, "tokend_requests_total") || !strings.Contains(text, "tokend_build_info") {
		t.Error(text)
	}
}

// named finds what an expression matches in a text.
func named(text, expression string) map[string]bool {
	names := map[string]bool{}
	for _, name := range regexp.MustCompile(expression).FindAllString(text, -1) {
		names[name] = true
	}
	return names
}

// The dashboard, the alerts and the documentation name metrics that exist, and
// the documentation all of them.
func TestMetricsThatAreNamedExist(t *testing.T) {
	exist := map[string]bool{}
	for line := range named(written(t, fullMetrics()), `(?m)^# TYPE tokend_\w+`) {
		exist[strings.TrimPrefix(line, "# TYPE ")] = true
	}
	for _, file := range []string{"packaging/grafana/tokend.json", "packaging/prometheus/alerts.yml", "packaging/prometheus/alerts_test.yml", "docs/observability.md"} {
		text := read(t, root, file)
		names := named(text, `\btokend_[a-z_]+[a-z]\b`)
		for name := range names {
			if !exist[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
		if len(names) < 5 {
			t.Errorf("%s names %d metrics", file, len(names))
		}
		for name := range exist {
			if file == "docs/observability.md" && !names[name] {
				t.Errorf("%s does not name %s", file, name)
			}
		}
	}
}

func TestPromtoolTakesRulesAndMetrics(t *testing.T) {
	t.Parallel()
	promtool := checktest.Need(t, "promtool") // Debian: prometheus
	dir := filepath.Join(root, "packaging", "prometheus")
	documented := filepath.Join(t.TempDir(), "prometheus.yml")
	_, rest, _ := strings.Cut(read(t, root, "docs", "observability.md"), "```yaml\n")
	block, _, _ := strings.Cut(rest, "```")
	check(t, os.WriteFile(documented, []byte(block), 0o600))
	for _, args := range [][]string{
		{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}, {"check", "metrics"}, {"check", "config", documented},
	} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = dir
		cmd.Stdin = strings.NewReader(written(t, fullMetrics()))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// servedMetrics are served on loopback, until stop.
func servedMetrics(t *testing.T) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	m, ended := fullMetrics(), make(chan struct{})
	go func() { m.serveMetrics(ctx, l); close(ended) }()
	return l.Addr().String(), func() { cancel(); <-ended }
}

func TestMetricsOnLoopback(t *testing.T) {
	address, stop := servedMetrics(t)
	_, port, _ := net.SplitHostPort(address)
	ask := func(method, path, host, origin string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
		check(t, err)
		if r.Host = host; origin != "" {
			r.Header.Set("Origin", origin)
		}
		res, err := http.DefaultClient.Do(r)
		check(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		check(t, err)
		return res.StatusCode, string(body)
	}
	for _, tt := range []struct {
		method, path, host, origin string
		status                     int
	}{
		{"GET", "/metrics", address, "", 200},
		{"GET", "/metrics", "localhost:" + port, "", 200},
		{"GET", "/metrics", "evil.example:" + port, "", 403}, // a name that was made to lead here
		{"GET", "/metrics", "127.0.0.1", "", 403},
		{"GET", "/metrics", address, "https://evil.example", 403},
		{"POST", "/metrics", address, "", 405},
		{"GET", "/v1/status", address, "", 404},
		{"GET", "/v1/token/clms", address, "", 404},
	} {
		status, body := ask(tt.method, tt.path, tt.host, tt.origin)
		if status != tt.status || strings.Contains(body, "tokend_build_info") != (status == 200) {
			t.Errorf("%s %s, Host %s: %d", tt.method, tt.path, tt.host, status)
		}
	}
	stop()
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("it answers after the end")
	}
}

// However many connections a user opens, few are served.
func TestConnectionsForMetricsAreFew(t *testing.T) {
	address, stop := servedMetrics(t)
	defer stop()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", address)
		check(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	answers := func(conn net.Conn) bool {
		_, _ = io.WriteString(conn, "GET /none HTTP/1.1\r\nHost: "+address+"\r\n\r\n")
		n, _ := conn.Read(make([]byte, 1))
		return n == 1
	}
	first := dial()
	for range maxScrapers * 2 {
		if !answers(dial()) {
			t.Fatal("connections that others hold keep a scraper out")
		}
	}
	if answers(first) {
		t.Error("there is no end of connections")
	}
}

func TestIssuerRequestsAreMeasured(t *testing.T) {
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	m := fullMetrics()
	client := m.client(&http.Client{Transport: http.DefaultTransport}, "azure")
	res, err := client.Get(issuer.URL)
	check(t, err)
	res.Body.Close()
	issuer.Close()
	if _, err := client.Get(issuer.URL); err == nil {
		t.Fatal("it answers though it is closed")
	}
	text := written(t, m)
	for _, want := range []string{`duration_seconds_count{provider="azure",status="4xx"} 1`, `duration_seconds_count{provider="azure",status="none"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
}

func TestMetricsAddressMustBeLoopback(t *testing.T) {
	for address, good := range map[string]bool{
		"127.0.0.1:9464": true, "127.8.9.1:1": true, "[::1]:9464": true,
		"0.0.0.0:9464": false, ":9464": false, "192.168.1.1:9464": false, "[::]:9464": false, "localhost:9464": false, "127.0.0.1": false, "127.0.0.1:0": false,
	} {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte("metrics = \""+address+"\"\n"), 0o600))
		_, err := profile.ReadConfig(profile.Dirs{Config: dir, State: dir})
		var e *token.Error
		if good != (err == nil) || err != nil && (!errors.As(err, &e) || e.Field != "metrics" || !bytes.Contains([]byte(e.Message), []byte("config.toml:1: metrics: "))) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
