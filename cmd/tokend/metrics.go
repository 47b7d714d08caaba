package main

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tokend/daemon"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/ipc/ipcserver"
	"tokend/providers/token"
)

// metrics are what Prometheus reads: figures of the daemon, which depend on the
// caller, and what is counted here. docs/observability.md lists them.
type metrics struct {
	figures  func(context.Context) (daemon.Figures, error)
	audit    func() (fault string)
	missing  *prometheus.CounterVec
	requests *prometheus.CounterVec
	issuers  *prometheus.HistogramVec
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		audit:    func() string { return "" },
		missing:  counter("tokend_audit_lines_missing_total", "Lines that are not in the audit log, because of an error or of the limit for refusals.", "why"),
		requests: counter("tokend_requests_total", "Requests over the socket, by what was asked for and the result: ok, or the code of the error.", "do", "result"),
		issuers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tokend_issuer_request_duration_seconds",
			Help:    "How long issuers took until their answer began, by provider and status (2xx, 4xx, ... or none).",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"provider", "status"}),
	}
}

// handler returns what answers a scrape with all metrics that the caller in ctx
// may see.
func (m *metrics) handler(ctx context.Context) (http.Handler, error) {
	figures, err := m.figures(ctx)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r := reading{promauto.With(registry)}
	r.all(figures)
	if figures.MayManage {
		r.state("audit_state", "the audit log", okOrFailing[m.audit() == ""], "ok", "failing")
		registry.MustRegister(m.requests, m.issuers, m.missing)
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true}), nil
}

// A reading is one reading of the daemon's figures.
type reading struct{ promauto.Factory }

func (r reading) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return r.NewGaugeVec(prometheus.GaugeOpts{Name: "tokend_" + name, Help: help}, labels)
}

func (r reading) all(f daemon.Figures) {
	r.gauge("build_info", "Always 1; labelled with the versions of tokend and of Go.", "version", "goversion").
		WithLabelValues(versionText(), runtime.Version()).Set(1)
	if f.MayManage {
		r.NewCounter(prometheus.CounterOpts{Name: "tokend_cache_writes_total", Help: "Writes of the token cache, of one token or of many at a time."}).
			Add(float64(f.CacheWrites))
	}
	keystore := "unavailable"
	if words := strings.Split(f.Keystore, ": "); len(words) > 1 && (words[1] == "ok" || words[1] == "locked") {
		keystore = words[1]
	}
	r.state("keystore_state", "the keystore", keystore, "ok", "locked", "unavailable")
	r.state("cache_state", "the token cache", okOrFailing[f.CacheErr == nil], "ok", "failing")
	r.gauge("config_bad_files", "Errors in configuration files.").WithLabelValues().Set(float64(len(f.ConfigErrors)))
	r.gauge("event_watchers", "Programs that watch events.").WithLabelValues().Set(float64(f.Watchers))
	if f.SkewKnown {
		r.gauge("clock_skew_seconds", "The clock of the last issuer that answered, minus this machine's.").WithLabelValues().Set(f.Skew.Seconds())
	}
	r.profiles(f)
}

// state sets the gauge of the state that something is in, of all.
func (r reading) state(name, what, is string, all ...string) {
	state := r.gauge(name, "1 for the state that "+what+" is in, 0 for the others.", "state")
	for _, one := range all {
		state.WithLabelValues(one).Set(number[one == is])
	}
}

var (
	okOrFailing = map[bool]string{true: "ok", false: "failing"}
	number      = map[bool]float64{true: 1, false: 0}
)

// profiles are the figures of the profiles, and of the tokens of their own scopes and
// audiences.
func (r reading) profiles(f daemon.Figures) {
	info := r.gauge("profile_info", "Always 1; labelled with the profile's properties.", "profile", "provider", "does", "renew")
	credential := r.gauge("credential_expiry_timestamp_seconds", "When the credential itself expires, where that is known.", "profile")
	expiring := r.gauge("credential_expiring", "1 from warn_ahead before the end of the credential on, else 0.", "profile")
	count := r.gauge("tokens", "Tokens held, for all scopes and audiences, by state.", "profile", "state")
	renewals := r.NewCounterVec(prometheus.CounterOpts{
		Name: "tokend_renewals_total",
		Help: "Attempts to obtain a token, by result: obtained, or the code of the error.",
	}, []string{"profile", "result"})
	usable := r.gauge("token_usable", "1 while a valid token is cached, else 0.", "profile")
	expiry := r.gauge("token_expiry_timestamp_seconds", "When the cached token expires.", "profile")
	renewal := r.gauge("token_renewal_timestamp_seconds", "When the next token will be obtained.", "profile")
	used := r.gauge("token_last_used_timestamp_seconds", "When the token was last asked for.", "profile")
	failed := r.gauge("token_error", "1 while the last attempt to obtain the token has failed; the label is the error's code.", "profile", "code")
	failures := r.gauge("renewal_failures", "Attempts that failed since the last success.", "profile")
	for _, p := range f.Profiles {
		setTime(credential, p.CredentialExpires, p.Name)
		expiring.WithLabelValues(p.Name).Set(number[p.CredentialState != ""])
		for _, r := range append([]token.ResourceStatus{{Attempts: p.Attempts}}, p.Resources...) {
			name := token.WithResource(p.Name, r.Name)
			info.WithLabelValues(name, p.Provider, p.Does, cmp.Or(p.Renew, string(profile.RenewUsed))).Set(1)
			for code, n := range r.Attempts {
				renewals.WithLabelValues(name, cmp.Or(string(code), string(token.EventObtained))).Add(float64(n))
			}
		}
		for _, t := range p.Tokens {
			name := token.WithResource(p.Name, t.Resource)
			count.WithLabelValues(name, t.State).Inc()
			if t.Target != (token.Target{}) {
				continue
			}
			usable.WithLabelValues(name).Set(number[t.State == token.Fresh.String() || t.State == token.Due.String()])
			failures.WithLabelValues(name).Set(float64(t.Failures))
			setTime(expiry, t.Expiry, name)
			setTime(renewal, t.RenewAt, name)
			setTime(used, t.LastUsed, name)
			if t.Error != nil {
				failed.WithLabelValues(name, string(t.Error.Code)).Set(1)
			}
		}
	}
}

// setTime sets a time of a profile, unless it is zero.
func setTime(gauge *prometheus.GaugeVec, t time.Time, profile string) {
	if !t.IsZero() {
		gauge.WithLabelValues(profile).Set(float64(t.UnixMilli()) / 1000)
	}
}

// client returns a client like this one whose requests are measured as one
// provider's.
func (m *metrics) client(client *http.Client, provider string) *http.Client {
	took := m.issuers.MustCurryWith(prometheus.Labels{"provider": provider})
	measured := *client
	measured.Transport = promhttp.RoundTripperFunc(func(r *http.Request) (*http.Response, error) {
		begin, status := time.Now(), "none"
		res, err := client.Transport.RoundTrip(r)
		if err == nil {
			status = strconv.Itoa(res.StatusCode/100) + "xx"
		}
		took.WithLabelValues(status).Observe(time.Since(begin).Seconds())
		return res, err
	})
	return &measured
}

// maxScrapers is how many connections are served on loopback. Each can hold a text
// about all profiles.
const maxScrapers = 8

// serveMetrics answers Prometheus on a loopback address until ctx ends. All
// users of this machine can connect, and see the names of all profiles.
func (m *metrics) serveMetrics(ctx context.Context, listener net.Listener) {
	server := &http.Server{
		Handler:           m.loopback(listener.Addr().String()),
		ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 8 << 10, DisableGeneralOptionsHandler: true,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	_ = server.Serve(ipcserver.LimitLoopback(listener, maxScrapers)) // it ends when ctx does
}

// loopback answers only GET /metrics, and no web pages: a browser sends the name
// that led it here as Host.
func (m *metrics) loopback(address string) http.Handler {
	_, port, _ := net.SplitHostPort(address)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ipc.MetricsPath, func(w http.ResponseWriter, r *http.Request) {
		if _, isPage := r.Header["Origin"]; isPage || r.Host != address && r.Host != "localhost:"+port {
			http.Error(w, "tokend answers no web pages", http.StatusForbidden)
			return
		}
		handler, err := m.handler(r.Context())
		if err != nil {
			http.Error(w, "the metrics cannot be read", http.StatusInternalServerError)
			return
		}
		handler.ServeHTTP(w, r)
	})
	return mux
}
