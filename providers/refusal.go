package providers

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"tokend/providers/strictjson"
	"tokend/providers/token"
)

// A refusal is an error answer (RFC 6749 §5.2), its texts fit to be shown.
type refusal struct {
	oauth, description string

	// The rest is what a provider knows of it that RFC 6749 does not. detail is the
	// issuer's own code, topic the text that explains it, empty if RFC 6749's must
	// do. A passing refusal may be gone at the next try.
	detail, topic string
	passing       bool
	// advice follows the issuer's own words.
	advice string
}

// A finding is why there is no token: the topic of docs/errors.md, and words
// that continue "issuer.example …". As an error, its words follow "answered with".
type finding struct{ topic, words string }

func (f finding) Error() string { return f.words }

// Topics with more than one use.
const (
	topicRedirect  = "redirect"
	topicOutage    = "outage"
	topicBadAnswer = "bad-answer"
	topicClock     = "clock"
	topicTimeout   = "timeout"
	topicTokenType = "token-type"
	topicPassing   = "temporarily_unavailable"
)

// passing reports whether asking again makes sense after an error; "" is an answer
// without an OAuth error.
func passing(oauth string) bool { return oauth == "" || oauthTopic(oauth) == topicPassing }

// clockTolerance is how far the clocks may differ before it is worth a word.
const clockTolerance = time.Minute

// refused is the error for an error answer. It is permanent only if the answer
// says so in the terms of RFC 6749: anything else may come from a proxy or an
// overload.
func (e *endpoint) refused(a answer, m strictjson.Object, q quoter) *token.Error {
	r := &refusal{oauth: q.quote(m.Text("error")), description: q.quote(m.Text("error_description"))}
	if a.status/100 == 3 { // what answers so is not the token endpoint
		r = &refusal{}
	}
	if e.explain != nil && r.oauth != "" {
		e.explain(r)
	}
	err := a.unavailable(e.host, r.finding(a))
	err.OAuth, err.Detail = r.oauth, r.detail
	if !overloaded(a.status) && !passing(r.oauth) && !r.passing {
		err.Code, err.RetryAt = token.ErrRejected, time.Time{}
	}
	if to, bad := url.Parse(a.header.Get("Location")); err.Topic == topicRedirect && bad == nil && to.Host != "" && to.Host != e.host {
		err.Message += "; it leads to " + q.quote(to.Host)
	}
	if err.Code == token.ErrRejected || r.passing {
		words := clockWords(a.skew())
		err.Message += words
		if words != "" && r.oauth == "invalid_grant" && r.topic == "" {
			err.Topic = topicClock // what a wrong clock looks like
		}
	}
	return err
}

// finding classifies an error answer.
func (r *refusal) finding(a answer) finding {
	f := a.finding("blocked")
	switch {
	case r.oauth != "":
		f = finding{cmp.Or(r.topic, oauthTopic(r.oauth)), r.words(a.status)}
	case a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed || a.status == http.StatusGone:
		f = finding{"no-endpoint", f.words + ": that URL is not a token endpoint"}
	case f.topic == "blocked":
		f.words += " with no OAuth error; a proxy or firewall may stand in between"
	}
	return f
}

// oauthTopic is the topic of an error of RFC 6749, §4.1.2.1 and §5.2, or RFC 8628
// §3.5.
func oauthTopic(oauth string) string {
	switch oauth {
	case "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "unauthorized_client", "unsupported_grant_type":
		return oauth
	case "temporarily_unavailable", "server_error", "slow_down":
		return topicPassing
	}
	return "oauth-error"
}

// words continue "issuer.example …" with an OAuth error.
func (r *refusal) words(status int) string {
	text := "refused the request: "
	if overloaded(status) {
		text = "answered " + statusText(status) + ": "
	}
	text += r.oauth
	if description, _, _ := strings.Cut(r.description, " Trace ID: "); description != "" { // which ends those of Entra ID
		text += ": " + description
	}
	if !strings.Contains(r.description, r.detail) {
		text += " (" + r.detail + ")"
	}
	return text + r.advice
}

// clockWords say how far this machine's clock is off, if that is far.
func clockWords(skew time.Duration) string {
	if skew.Abs() <= clockTolerance {
		return ""
	}
	return fmt.Sprintf("; this machine's clock is %s %s the issuer's", skew.Abs(), map[bool]string{true: "behind", false: "ahead of"}[skew > 0])
}

// unavailable is the error for an issuer, or a URL of one, that gave no answer of
// use. It does not use the library's own text, which could contain a URL's query
// or what the server sent.
func unavailable(who string, f finding, cause error) *token.Error {
	who, _, _ = strings.Cut(who, "?")
	return &token.Error{Code: token.ErrUnavailable, Topic: f.topic, Cause: cause, Message: token.Printable(who, maxQuote) + " " + f.words}
}

// whyUnreachable classifies an error of net/http.
func whyUnreachable(err error) finding {
	if f, ok := errors.AsType[finding](err); ok {
		return f
	}
	op, _ := errors.AsType[*net.OpError](err)
	if op != nil && op.Op == "proxyconnect" {
		return finding{"proxy-unreachable", "cannot be reached: the proxy " + whyUnreachable(op.Err).words}
	}
	cert, _ := errors.AsType[x509.CertificateInvalidError](err)
	expired := cert.Reason == x509.Expired
	name, isName := errors.AsType[*net.DNSError](err)
	dialing, alert := false, ""
	if op != nil {
		dialing = op.Op == "dial"
		alert = strings.TrimPrefix(op.Err.Error(), "tls: ") // of a TLS alert, whose texts are fixed
	}
	netError, _ := errors.AsType[net.Error](err)
	timeout := netError != nil && netError.Timeout()
	for _, known := range []struct {
		holds bool
		finding
	}{
		{errors.Is(err, context.Canceled), finding{"", "did not answer before the request was given up"}},
		{is[x509.HostnameError](err), finding{"tls-wrong-name", "cannot be trusted: its certificate is for another name"}},
		{is[x509.UnknownAuthorityError](err), finding{"tls-unknown-authority", "cannot be trusted: its certificate is from an unknown authority"}},
		{expired && cert.Cert != nil && time.Now().Before(cert.Cert.NotBefore), finding{"tls-not-yet-valid", "cannot be trusted: its certificate is not valid yet"}},
		{expired, finding{"tls-expired", "cannot be trusted: its certificate has expired"}},
		{is[*tls.CertificateVerificationError](err), finding{"tls-invalid", "cannot be trusted: its certificate is not valid"}},
		{is[tls.RecordHeaderError](err) || errors.Is(err, http.ErrSchemeMismatch), finding{"no-tls", "does not speak TLS"}},
		{op != nil && strings.HasSuffix(op.Op, " error"), finding{"tls-handshake", "cannot be reached: no TLS handshake: " + alert}},
		{isName && name.IsNotFound, finding{"host-not-found", "cannot be reached: there is no such host name"}},
		{isName, finding{"host-lookup", "cannot be reached: the host name could not be looked up"}},
		{isErrno(err, syscall.ECONNREFUSED, 10061), finding{"connection-refused", "cannot be reached: it refuses connections"}},
		{isErrno(err, syscall.ENETUNREACH, 10051) || isErrno(err, syscall.EHOSTUNREACH, 10065), finding{"no-route", "cannot be reached: there is no route to it"}},
		{timeout && dialing, finding{topicTimeout, "cannot be reached: the connection timed out"}},
		{timeout, finding{topicTimeout, "did not answer in time"}},
		{isErrno(err, syscall.ECONNRESET, 10054) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF),
			finding{"connection-closed", "closed the connection before its answer was complete"}},
		{dialing, finding{"no-route", "cannot be reached"}},
	} {
		if known.holds {
			return known.finding
		}
	}
	return finding{"no-http", "did not answer with HTTP"}
}

// is reports whether err is or wraps an E.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// isErrno compares with the portable number and Windows' own.
func isErrno(err error, posix, windows syscall.Errno) bool {
	return errors.Is(err, posix) || errors.Is(err, windows)
}
