package providers

import (
	"net/http"
	"net/http/httptest"
)

// inProcess asks a handler without a network, so that a test can have a time
// of its own (testing/synctest).
type inProcess struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	sent := *r.URL
	sent.Fragment, sent.RawFragment = "", ""
	in := httptest.NewRequest(r.Method, sent.String(), r.Body).WithContext(r.Context())
	in.Header, in.RequestURI = r.Header, r.URL.RequestURI()
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, in)
	return w.Result(), nil
}
