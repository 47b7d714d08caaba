package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers/token"
)

// metrics are what Prometheus reads: figures of the daemon, which depend on the
// caller, and what is counted here. docs/observability.md lists them.
type metrics struct {
	figures  func(context.Context) (daemon.Figures, error)
	keystore func(context.Context) error
	requests *prometheus.CounterVec
	issuers  *prometheus.HistogramVec
	process  []prometheus.Collector
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokend_requests_total",
			Help: "Requests over the socket, by what was asked for and the result: ok, or the code of the error.",
		}, []string{"do", "result"}),
		issuers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tokend_issuer_request_duration_seconds",
			Help:    "How long issuers took until their answer began, by provider and status (2xx, 4xx, ... or none).",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"provider", "status"}),
		process: []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})},
	}
}

// countRequest counts a request over the socket.
func (m *metrics) countRequest(do, result string) { m.requests.WithLabelValues(do, result).Inc() }

// handler returns what answers a scrape with all metrics that the caller in ctx
// may see.
func (m *metrics) handler(ctx context.Context) (http.Handler, error) {
	figures, err := m.figures(ctx)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.process...)
	registry.MustRegister(reading{m, figures, m.keystore(ctx)})
	if figures.MayManage {
		registry.MustRegister(m.requests, m.issuers)
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true}), nil
}

// A metric is a metric whose value the daemon has.
type metric struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("tokend_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("tokend_"+name, help, labels, nil), prometheus.CounterValue}
}

var (
	buildInfo    = gauge("build_info", "Always 1; labelled with the versions of tokend and of Go.", "version", "goversion")
	profileInfo  = gauge("profile_info", "Always 1; labelled with the profile's properties.", "profile", "provider", "does", "renew")
	tokenUsable  = gauge("token_usable", "1 while a valid token is cached, else 0.", "profile")
	tokenExpiry  = gauge("token_expiry_timestamp_seconds", "When the cached token expires.", "profile")
	tokenRenewal = gauge("token_renewal_timestamp_seconds", "When the next token will be obtained.", "profile")
	tokenUsed    = gauge("token_last_used_timestamp_seconds", "When the token was last asked for.", "profile")
	tokenCount   = gauge("tokens", "Tokens held, for all scopes and audiences, by state.", "profile", "state")
	tokenError   = gauge("token_error", "1 while the last attempt to obtain the token has failed; the label is the error's code.", "profile", "code")
	failures     = gauge("renewal_failures", "Attempts that failed since the last success.", "profile")
	renewals     = counter("renewals_total", "Attempts to obtain a token, by result: obtained, or the code of the error.", "profile", "result")
	credential   = gauge("credential_expiry_timestamp_seconds", "When the credential itself expires, where that is known.", "profile")
	keystoreIs   = gauge("keystore_state", "1 for the state that the keystore is in, 0 for the others.", "state")
	cacheIs      = gauge("cache_state", "1 for the state that the token cache is in, 0 for the others.", "state")
	cacheWrites  = counter("cache_writes_total", "Writes of the token cache, of one token or of many at a time.")
	badFiles     = gauge("config_bad_files", "Configuration files with errors.")
	watchers     = gauge("event_watchers", "Programs that watch events.")
	clockSkew    = gauge("clock_skew_seconds", "The clock of the last issuer that answered, minus this machine's.")
)

// A reading is one reading of the metrics.
type reading struct {
	*metrics
	figures  daemon.Figures
	keystore error
}

// Describe implements prometheus.Collector: the metrics depend on the caller.
func (reading) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r reading) Collect(to chan<- prometheus.Metric) {
	out := sender(to)
	out.send(buildInfo, 1, versionText(), runtime.Version())
	if r.figures.MayManage {
		out.send(cacheWrites, float64(r.figures.CacheWrites))
	}
	locked := errors.Is(r.keystore, token.ErrLocked)
	out.send(keystoreIs, number(r.keystore == nil), "ok")
	out.send(keystoreIs, number(locked), "locked")
	out.send(keystoreIs, number(r.keystore != nil && !locked), "unavailable")
	out.send(cacheIs, number(r.figures.CacheErr == nil), "ok")
	out.send(cacheIs, number(r.figures.CacheErr != nil), "failing")
	out.send(badFiles, float64(r.figures.BadFiles))
	out.send(watchers, float64(r.figures.Watchers))
	if r.figures.SkewKnown {
		out.send(clockSkew, r.figures.Skew.Seconds())
	}
	for _, p := range r.figures.Profiles {
		out.profile(p)
		out.attempts(p.Name, r.figures.Attempts[p.Name])
	}
}

// A sender sends metrics to Prometheus' client.
type sender chan<- prometheus.Metric

func (out sender) send(m metric, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(m.Desc, m.kind, value, labels...)
}

// time sends a time of a profile, unless it is zero.
func (out sender) time(m metric, t time.Time, profile string) {
	if !t.IsZero() {
		out.send(m, float64(t.UnixMilli())/1000, profile)
	}
}

func (out sender) profile(p token.ProfileStatus) {
	renew := cmp.Or(p.Renew, string(profile.RenewUsed))
	out.send(profileInfo, 1, p.Name, p.Provider, p.Does, renew)
	out.time(credential, p.CredentialExpires, p.Name)
	states := map[string]int{}
	for _, t := range p.Tokens {
		states[t.State]++
		if t.Target == (token.Target{}) {
			out.own(p.Name, t)
		}
	}
	for state, n := range states {
		out.send(tokenCount, float64(n), p.Name, state)
	}
}

// own sends the state of the token of a profile's own scope and audience.
func (out sender) own(name string, t token.TokenStatus) {
	out.send(tokenUsable, number(t.State == token.Fresh.String() || t.State == token.Due.String()), name)
	out.send(failures, float64(t.Failures), name)
	out.time(tokenExpiry, t.Expiry, name)
	out.time(tokenRenewal, t.RenewAt, name)
	out.time(tokenUsed, t.LastUsed, name)
	if t.Error != nil {
		out.send(tokenError, 1, name, string(t.Error.Code))
	}
}

// attempts sends how often a token of a profile was asked for.
func (out sender) attempts(name string, counts map[token.Code]uint64) {
	for code, n := range counts {
		out.send(renewals, float64(n), name, cmp.Or(string(code), string(token.EventObtained)))
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// client returns a client like this one whose requests are measured as one
// provider's.
func (m *metrics) client(client *http.Client, provider string) *http.Client {
	measured := *client
	measured.Transport = timedTransport{client.Transport, m.issuers.MustCurryWith(prometheus.Labels{"provider": provider})}
	return &measured
}

// A timedTransport observes how long requests take.
type timedTransport struct {
	next http.RoundTripper
	took prometheus.ObserverVec
}

func (t timedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	begin := time.Now()
	res, err := t.next.RoundTrip(r)
	status := "none"
	if err == nil {
		status = strconv.Itoa(res.StatusCode/100) + "xx"
	}
	t.took.WithLabelValues(status).Observe(time.Since(begin).Seconds())
	return res, err
}

// listenMetrics opens the loopback address that config.toml names, if any.
func listenMetrics(c profile.Config) (net.Listener, error) {
	if c.Metrics == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return l, nil
}

// maxScrapers is how many connections are served on loopback; more are closed at
// once. Each can hold a text about all profiles.
const maxScrapers = 8

// serveMetrics answers Prometheus on a loopback address until ctx ends. All
// users of this machine can connect, and see the names of all profiles.
func (m *metrics) serveMetrics(ctx context.Context, listener net.Listener) {
	var open atomic.Int32
	server := &http.Server{
		Handler: m.loopback(listener.Addr().String()),
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if open.Add(1) > maxScrapers {
					_ = c.Close()
				}
			case http.StateClosed:
				open.Add(-1)
			}
		},
		ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 8 << 10, DisableGeneralOptionsHandler: true,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	_ = server.Serve(listener) // it ends when ctx does
}

// loopback answers only GET /metrics, and no web pages: a browser sends the name
// that led it here as Host.
func (m *metrics) loopback(address string) http.Handler {
	_, port, _ := net.SplitHostPort(address)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ipc.MetricsPath, func(w http.ResponseWriter, r *http.Request) {
		handler, err := m.handler(r.Context())
		if err != nil {
			http.Error(w, "the metrics cannot be read", http.StatusInternalServerError)
			return
		}
		handler.ServeHTTP(w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != address && r.Host != "localhost:"+port || r.Header.Get("Origin") != "" {
			http.Error(w, "tokend answers no web pages", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
