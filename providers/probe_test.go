package providers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
)

func TestSeeFindsAnIssuer(t *testing.T) {
	var asked []string
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String())
		w.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusForbidden)
	}))
	defer issuer.Close()
	seen, err := See(t.Context(), issuer.Client(), issuer.URL+"/oauth2/token?x=y")
	if err != nil || !seen.Dated || seen.Skew > -9*time.Minute || seen.Skew < -11*time.Minute || !strings.HasPrefix(seen.TLS, "TLS 1.") {
		t.Errorf("%+v, %v", seen, err)
	}
	if len(asked) != 1 || asked[0] != "HEAD /" {
		t.Errorf("asked for %q", asked)
	}

	untrusting, err := NewHTTPClient(HTTPConfig{Proxy: "none"})
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
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
	if _, err := See(t.Context(), untrusting, "no URL"); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("no URL: %v", err)
	}
}

func TestProxyForKeepsThePasswordBack(t *testing.T) {
	for proxy, want := range map[string]string{
		"none":                              "",
		"http://me:CANARY@proxy.example:31": "http://proxy.example:31",
	} {
		client, err := NewHTTPClient(HTTPConfig{Proxy: proxy})
		if err != nil {
			t.Fatal(err)
		}
		if got := ProxyFor(client, "https://issuer.example/token"); got != want {
			t.Errorf("%s: %q", proxy, got)
		}
	}
}
