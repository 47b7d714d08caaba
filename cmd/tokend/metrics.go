package main

import (
	"bytes"
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
	"github.com/prometheus/common/expfmt"

	"tokend/daemon"
	"tokend/ipc"
	"tokend/ipc/ipcserver"
	"tokend/providers/token"
)

// metrics are what Prometheus reads: figures of the daemon, which depend on who
// asks, and what is counted here. docs/observability.md lists them.
type metrics struct {
	figures  func(context.Context) (daemon.Figures, error)
	keystore func(context.Context) error
	requests ipcserver.Counts
	issuers  *prometheus.HistogramVec
	process  []prometheus.Collector
}

func newMetrics() *metrics {
	return &metrics{
		issuers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tokend_issuer_request_duration_seconds",
			Help:    "How long issuers took until their answer began, by provider and status (2xx, 4xx, ... or none).",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"provider", "status"}),
		process: []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})},
	}
}

// write gives all metrics that the caller in ctx may see, as text.
func (m *metrics) write(ctx context.Context) ([]byte, error) {
	figures, err := m.figures(ctx)
	if err != nil {
		return nil, err
	}
	own := append([]prometheus.Collector{gathered{m, figures, m.keystore(ctx)}}, m.process...)
	if figures.MayManage {
		own = append(own, m.issuers)
	}
	var text bytes.Buffer
	err = gather(&text, own...)
	// Those of thousands of profiles take much memory until they are text: one
	// metric at a time is enough.
	for _, f := range ofProfiles {
		err = errors.Join(err, gather(&text, ofEach{f, figures.Profiles}))
	}
	return text.Bytes(), err
}

// gather writes down what collectors have to tell.
func gather(text *bytes.Buffer, from ...prometheus.Collector) error {
	registry := prometheus.NewRegistry()
	for _, c := range from {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(text, family); err != nil {
			return err
		}
	}
	return nil
}

// A desc is one metric: its name, help and labels.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tokend_"+name, help, labels, nil)
}

var (
	buildInfo    = desc("build_info", "Always 1; the labels tell the versions of tokend and of Go.", "version", "goversion")
	profileInfo  = desc("profile_info", "Always 1; the labels tell of the profile.", "profile", "provider", "does", "renew")
	tokenUsable  = desc("token_usable", "1 while a token is at hand that is handed out, else 0.", "profile")
	tokenExpiry  = desc("token_expiry_timestamp_seconds", "When the token at hand ends.", "profile")
	tokenRenewal = desc("token_renewal_timestamp_seconds", "When the next token is to be obtained.", "profile")
	tokenUsed    = desc("token_last_used_timestamp_seconds", "When somebody last asked for the token.", "profile")
	tokenCount   = desc("tokens", "Tokens held, for all scopes and audiences, by state.", "profile", "state")
	tokenError   = desc("token_error", "1 while the last attempt to obtain the token has failed; the label tells why.", "profile", "code")
	failures     = desc("renewal_failures", "Attempts that failed since the last success.", "profile")
	renewals     = desc("renewals_total", "Attempts to obtain a token, by result: obtained, or the code of the error.", "profile", "result")
	credential   = desc("credential_expiry_timestamp_seconds", "When the credential itself ends, where that is known.", "profile")
	requests     = desc("requests_total", "Requests over the socket, by what was asked for and the result: ok, or the code of the error.", "do", "result")
	keystoreIs   = desc("keystore_state", "1 for the state that the keystore is in, 0 for the others.", "state")
	cacheIs      = desc("cache_state", "1 for the state that the token cache is in, 0 for the others.", "state")
	cacheWrites  = desc("cache_writes_total", "Writes of the token cache, of one token or of many at a time.")
	badFiles     = desc("config_bad_files", "Files of the configuration that are not in force.")
	watchers     = desc("event_watchers", "Programs that watch events.")
	clockSkew    = desc("clock_skew_seconds", "The clock of the last issuer that answered, minus this machine's.")
)

// gathered is one reading of the metrics of tokend itself.
type gathered struct {
	*metrics
	figures  daemon.Figures
	keystore error
}

// Describe implements prometheus.Collector: what there is depends on who asks.
func (gathered) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (g gathered) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	gauge(buildInfo, 1, versionText(), runtime.Version())
	if g.figures.MayManage {
		g.requests.All(func(do, result string, n uint64) { counter(requests, n, do, result) })
		counter(cacheWrites, g.figures.CacheWrites)
	}
	gauge(keystoreIs, number(g.keystore == nil), "ok")
	locked := errors.Is(g.keystore, token.ErrLocked)
	gauge(keystoreIs, number(locked), "locked")
	gauge(keystoreIs, number(g.keystore != nil && !locked), "unavailable")
	gauge(cacheIs, number(!g.figures.CacheFails), "ok")
	gauge(cacheIs, number(g.figures.CacheFails), "failing")
	gauge(badFiles, float64(g.figures.BadFiles))
	gauge(watchers, float64(g.figures.Watchers))
	if g.figures.SkewKnown {
		gauge(clockSkew, g.figures.Skew.Seconds())
	}
}

// A telling takes a value of a profile's metric, and its labels but the name.
type telling func(value float64, labels ...string)

// ofProfile is a metric of each profile.
type ofProfile struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	tell func(p daemon.ProfileFigures, tell telling)
}

var ofProfiles = []ofProfile{
	{profileInfo, prometheus.GaugeValue, func(p daemon.ProfileFigures, tell telling) {
		renew := daemon.RenewUsed
		if p.Always {
			renew = daemon.RenewAlways
		}
		tell(1, p.Provider, p.Does, string(renew))
	}},
	{credential, prometheus.GaugeValue, func(p daemon.ProfileFigures, tell telling) { tell.moment(p.CredentialExpires) }},
	{renewals, prometheus.CounterValue, func(p daemon.ProfileFigures, tell telling) {
		for code, n := range p.Attempts {
			tell(float64(n), result(code))
		}
	}},
	{tokenCount, prometheus.GaugeValue, func(p daemon.ProfileFigures, tell telling) {
		for state, n := range p.States {
			tell(float64(n), state)
		}
	}},
	{tokenUsable, prometheus.GaugeValue, own(func(t token.TokenStatus, tell telling) {
		tell(number(t.State == token.Fresh.String() || t.State == token.Due.String()))
	})},
	{failures, prometheus.GaugeValue, own(func(t token.TokenStatus, tell telling) { tell(float64(t.Failures)) })},
	{tokenExpiry, prometheus.GaugeValue, own(func(t token.TokenStatus, tell telling) { tell.moment(t.Expiry) })},
	{tokenRenewal, prometheus.GaugeValue, own(func(t token.TokenStatus, tell telling) { tell.moment(t.RenewAt) })},
	{tokenUsed, prometheus.GaugeValue, own(func(t token.TokenStatus, tell telling) { tell.moment(t.LastUsed) })},
	{tokenError, prometheus.GaugeValue, own(func(t token.TokenStatus, tell telling) {
		if t.Error != nil {
			tell(1, string(t.Error.Code))
		}
	})},
}

// own tells of a profile's own token, if it has one.
func own(of func(token.TokenStatus, telling)) func(daemon.ProfileFigures, telling) {
	return func(p daemon.ProfileFigures, tell telling) {
		if p.HasOwn {
			of(p.Own, tell)
		}
	}
}

// moment tells a time, unless there is none.
func (tell telling) moment(t time.Time) {
	if !t.IsZero() {
		tell(float64(t.UnixMilli()) / 1000)
	}
}

// ofEach is one reading of a metric of profiles.
type ofEach struct {
	ofProfile
	profiles []daemon.ProfileFigures
}

// Describe implements prometheus.Collector, as that of gathered.
func (ofEach) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (e ofEach) Collect(out chan<- prometheus.Metric) {
	for _, p := range e.profiles {
		e.tell(p, func(value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(e.desc, e.kind, value, append([]string{p.Name}, labels...)...)
		})
	}
}

func result(code token.Code) string {
	if code == "" {
		return string(token.EventObtained)
	}
	return string(code)
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// over measures the requests of one provider that go through a client.
func (m *metrics) over(client *http.Client, provider string) *http.Client {
	if m == nil {
		return client
	}
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
func listenMetrics(c daemon.Config) (net.Listener, error) {
	if c.Metrics == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return l, nil
}

// maxScrapers is how many connections are served on loopback; what goes beyond
// is closed at once. Each can hold a text about all profiles.
const maxScrapers = 8

// serveMetrics answers Prometheus on a loopback address until ctx ends. All
// users of this machine can ask there, and see the names of all profiles.
func (m *metrics) serveMetrics(ctx context.Context, listener net.Listener) {
	var open atomic.Int32
	server := &http.Server{
		Handler: m.loopback(listener.Addr().String()),
		ConnState: func(c net.Conn, now http.ConnState) {
			switch now {
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

// loopback answers GET /metrics alone, and not to web pages: the Host that a
// browser sends is the name that led it here.
func (m *metrics) loopback(address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, port, _ := net.SplitHostPort(address)
		switch {
		case r.Host != address && r.Host != "localhost:"+port, r.Header.Get("Origin") != "":
			http.Error(w, "tokend answers no web pages", http.StatusForbidden)
		case r.URL.Path != ipc.MetricsPath:
			http.Error(w, "only "+ipc.MetricsPath+" is here", http.StatusNotFound)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "only GET is possible", http.StatusMethodNotAllowed)
		default:
			text, err := m.write(r.Context())
			if err != nil {
				http.Error(w, "the metrics cannot be written", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			_, _ = w.Write(text) // whoever left does not need it
		}
	})
}
