package providers

import (
	"net/http"
	"net/http/httptest"
)

// inProcess returns a client that asks a handler without a network, so that a test
// can have a time of its own (testing/synctest).
func inProcess(handler http.Handler) *http.Client {
	return &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		sent := *r.URL
		sent.Fragment, sent.RawFragment = "", ""
		in := httptest.NewRequest(r.Method, sent.String(), r.Body).WithContext(r.Context())
		in.Header, in.RequestURI = r.Header, r.URL.RequestURI()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, in)
		return w.Result(), nil
	}), CheckRedirect: neverRedirect}
}

type transportFunc func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
