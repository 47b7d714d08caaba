package providers

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"html"
	"maps"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"

	"tokend/providers/token"
)

// What a trace shows of a token request. Of everything else it shows the name
// alone.
var (
	shownFields  = []string{"grant_type", "client_id", "client_assertion_type", "scope", "audience", "resource", "requested_token_type"}
	shownMembers = []string{"token_type", "expires_in", "ext_expires_in", "refresh_in", "scope", "error"}
	shownClaims  = []string{"iss", "sub", "aud", "iat", "nbf", "exp"}
)

// listed lists the members of m by name, with the values of those that are shown.
func listed[V any](m map[string]V, shown []string, q quoter, show func(V) string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		value := hidden
		if slices.Contains(shown, name) {
			value = show(m[name])
		}
		parts = append(parts, q.quote(name)+"="+value)
	}
	return strings.Join(parts, " ")
}

// traceRequest adds the request, and the connection's steps as they happen.
func (m *minter) traceRequest(ctx context.Context, r *request, q quoter) context.Context {
	t := token.TraceOf(ctx)
	if t == nil {
		return ctx
	}
	text := listed(r.form, shownFields, q, func(values []string) string { return q.quote(values[0]) })
	if !r.authorization.IsZero() {
		text += " Authorization: Basic " + hidden
	}
	t.Add("request", "POST %s with %s", m.Endpoint(), text)
	return httptrace.WithClientTrace(ctx, connectionTrace(t))
}

// connectionTrace adds the steps of the way to the issuer.
func connectionTrace(t *token.Trace) *httptrace.ClientTrace {
	add := func(what string, err error, text string) {
		if err != nil {
			text = "no: the issuer " + whyUnreachable(err).words
		}
		t.Add(what, "%s", text)
	}
	return &httptrace.ClientTrace{
		DNSStart: func(i httptrace.DNSStartInfo) { t.Add("dns", "looking up %s", i.Host) },
		DNSDone: func(i httptrace.DNSDoneInfo) {
			var addresses []string
			for _, a := range i.Addrs[:min(len(i.Addrs), 4)] {
				addresses = append(addresses, a.String())
			}
			add("dns", i.Err, strings.Join(addresses, ", "))
		},
		ConnectStart: func(_, address string) { t.Add("connect", "connecting to %s", address) },
		ConnectDone:  func(_, address string, err error) { add("connect", err, "connected to "+address) },
		TLSHandshakeDone: func(s tls.ConnectionState, err error) {
			text := tls.VersionName(s.Version)
			if s.ServerName != "" {
				text += " for " + s.ServerName
			}
			if len(s.PeerCertificates) > 0 {
				text += ", certificate by " + token.Printable(s.PeerCertificates[0].Issuer.CommonName, 60)
			}
			add("tls", err, text)
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { t.Add("sent", "the request was sent") },
		GotFirstResponseByte: func() { t.Add("first byte", "the answer begins") },
	}
}

// traceAnswer adds the answer.
func traceAnswer(ctx context.Context, a answer, q quoter) {
	t := token.TraceOf(ctx)
	if t == nil {
		return
	}
	m, fault := a.object()
	if fault != nil {
		t.Add("answer", "%s with %v", statusText(a.status), fault)
		return
	}
	text := listed(m, shownMembers, q, func(raw json.RawMessage) string {
		var text string
		if json.Unmarshal(raw, &text) != nil { // no text, but JSON of another kind
			text = string(raw)
		}
		return q.quote(text)
	})
	t.Add("answer", "%s, %d bytes of JSON: %s", statusText(a.status), len(a.body), token.Printable(text, 4*maxQuote))
	if skew := a.skew(); skew != 0 {
		t.Add("clock", "the issuer's clock is %v ahead of this machine's", skew)
	}
}

const (
	// maxQuote is how many characters of an issuer's own words are shown, maxScan
	// how many are searched for secrets.
	maxQuote = 200
	maxScan  = 4096
	hidden   = "[redacted]"
	// shingle is how many characters of a secret in a row count as a part of it.
	shingle = 12
)

// A quoter makes text from an issuer safe to show: short, on one line, and
// without the secrets that were sent to it. It is the spellings of the secrets in
// overlapping pieces.
type quoter []string

func newQuoter(secrets []token.Secret) (q quoter) {
	for _, s := range secrets {
		for _, spelling := range spellings(s.Reveal()) {
			spelling = token.Printable(spelling, len(spelling))
			n := min(shingle, len(spelling))
			for i := range len(spelling) - n + 1 {
				q = append(q, spelling[i:i+n])
			}
		}
	}
	return q
}

// spellings are the forms in which a server may send a secret back: as it is,
// as it was encoded in the form or header, or as its own encoder writes it.
func spellings(s string) []string {
	query := url.QueryEscape(s)
	return []string{
		s, query, url.PathEscape(s), strings.ToLower(query), html.EscapeString(s),
		base64.RawStdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
	}
}

// quote returns a short form of text that is safe to show.
func (q quoter) quote(text string) string { return token.Printable(q.redact(text), maxQuote) }

// redact is quote for what may be long. Text with a part of a secret in it is
// not shown at all.
func (q quoter) redact(text string) string {
	text = token.Printable(text[:min(len(text), maxScan)], maxScan)
	if slices.ContainsFunc(q, func(part string) bool { return part != "" && strings.Contains(text, part) }) {
		return hidden
	}
	return text
}
