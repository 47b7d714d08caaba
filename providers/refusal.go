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
	members            strictjson.Object
}

// An explanation is what a provider knows of a refusal that RFC 6749 does not.
type explanation struct {
	// detail is the issuer's own code.
	detail string
	// topic is the text that explains it; empty if RFC 6749's must do.
	topic string
	// passing refusals may be gone at the next try.
	passing bool
}

// A finding is why there is no token: the topic of docs/errors.md, and words
// that continue "issuer.example …".
type finding struct{ topic, words string }

// Topics with more than one use.
const (
	topicRedirect  = "redirect"
	topicOutage    = "outage"
	topicRateLimit = token.RateLimited
	topicBadAnswer = "bad-answer"
	topicClock     = "clock"
	topicTimeout   = "timeout"
)

// passing reports whether asking again makes sense after an error (RFC 6749
// §4.1.2.1, RFC 8628 §3.5); "" is an answer without an OAuth error.
func passing(oauth string) bool {
	switch oauth {
	case "", "temporarily_unavailable", "server_error", "slow_down":
		return true
	}
	return false
}

// clockTolerance is how far the clocks may differ before it is worth a word.
const clockTolerance = time.Minute

// refused is the error for an error answer. It is permanent only if the answer
// says so in the terms of RFC 6749: anything else may come from a proxy or an
// overload.
func (e *endpoint) refused(a answer, m strictjson.Object, q quoter) *token.Error {
	r := refusal{q.quote(m.Text("error")), q.quote(m.Text("error_description")), m}
	var x explanation
	if e.explain != nil && r.oauth != "" {
		x = e.explain(r)
	}
	err := &token.Error{Code: token.ErrRejected, OAuth: r.oauth, Detail: x.detail}
	if overloaded(a.status) || passing(r.oauth) || x.passing {
		err.Code, err.RetryAt = token.ErrUnavailable, a.retryAt()
	}
	f := r.finding(a.status, x)
	err.Topic, err.Message = f.topic, e.host()+" "+f.words
	if err.Code == token.ErrRejected || x.passing {
		words := clockWords(a.skew())
		err.Message += words
		if words != "" && r.oauth == "invalid_grant" && x.topic == "" {
			err.Topic = topicClock // what a wrong clock looks like
		}
	}
	return err
}

// overloaded reports whether a status says nothing of the request.
func overloaded(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// overload is the topic of a status of an overloaded server.
func overload(status int) string {
	if status == http.StatusTooManyRequests {
		return topicRateLimit
	}
	return topicOutage
}

// finding classifies a refusal.
func (r refusal) finding(status int, x explanation) finding {
	if r.oauth == "" {
		switch {
		case overloaded(status):
			return finding{overload(status), "answered " + statusText(status)}
		case status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusGone:
			return finding{"no-endpoint", "answered " + statusText(status) + ": that URL is not a token endpoint"}
		}
		return finding{"blocked", "answered " + statusText(status) + " with no OAuth error; a proxy or firewall may stand in between"}
	}
	return finding{cmp.Or(x.topic, oauthTopic(r.oauth)), r.words(status, x)}
}

// oauthTopic is the topic of an error of RFC 6749.
func oauthTopic(oauth string) string {
	switch oauth {
	case "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "unauthorized_client", "unsupported_grant_type":
		return oauth
	}
	if passing(oauth) {
		return "temporarily_unavailable"
	}
	return "oauth-error"
}

// words continue "issuer.example …" with an OAuth error.
func (r refusal) words(status int, x explanation) string {
	text := "refused the request: "
	if overloaded(status) {
		text = "answered " + statusText(status) + ": "
	}
	text += r.oauth
	if description, _, _ := strings.Cut(r.description, " Trace ID: "); description != "" { // which ends those of Entra ID
		text += ": " + description
	}
	if !strings.Contains(r.description, x.detail) {
		text += " (" + x.detail + ")"
	}
	return text
}

// clockWords say how far this machine's clock is off, if that is far.
func clockWords(skew time.Duration) string {
	switch {
	case skew > clockTolerance:
		return fmt.Sprintf("; this machine's clock is %s behind the issuer's", skew)
	case skew < -clockTolerance:
		return fmt.Sprintf("; this machine's clock is %s ahead of the issuer's", -skew)
	}
	return ""
}

// redirected is the error for a redirect. tokend never follows one, because the
// credential would go along.
func (e *endpoint) redirected(a answer, q quoter) *token.Error {
	text := fmt.Sprintf("%s answered with a redirect (%s), which tokend does not follow", e.host(), statusText(a.status))
	if to, err := url.Parse(a.header.Get("Location")); err == nil && to.Host != "" && to.Host != e.host() {
		text += "; it leads to " + q.quote(to.Host)
	}
	return &token.Error{Code: token.ErrUnavailable, Topic: topicRedirect, Message: text}
}

// unreachable is the error for no answer. It does not use the library's own text
// where that could contain a URL's query or what the server sent.
func (e *endpoint) unreachable(ctx context.Context, err error) *token.Error {
	f := whyUnreachable(err)
	return &token.Error{Code: token.ErrUnavailable, Topic: f.topic, Cause: context.Cause(ctx), Message: e.host() + " " + f.words}
}

// whyUnreachable classifies an error of net/http.
func whyUnreachable(err error) finding {
	var refusal *proxyRefusal
	if errors.As(err, &refusal) {
		return finding{"proxy-refused", "cannot be reached: " + refusal.Error()}
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "proxyconnect" {
		return finding{"proxy-unreachable", "cannot be reached: the proxy " + whyNoConnection(op.Err).words}
	}
	return whyNoConnection(err)
}

func whyNoConnection(err error) finding {
	if errors.Is(err, context.Canceled) {
		return finding{"", "did not answer before the request was given up"}
	}
	if f := whyNoTLS(err); f.words != "" {
		return f
	}
	var (
		name    *net.DNSError
		timeout net.Error
		op      *net.OpError
	)
	switch {
	case errors.Is(err, errInward):
		return finding{"inward-address", "was not asked: " + errInward.Error()}
	case errors.As(err, &name) && name.IsNotFound:
		return finding{"host-not-found", "cannot be reached: there is no such host name"}
	case errors.As(err, &name):
		return finding{"host-lookup", "cannot be reached: the host name could not be looked up"}
	case isErrno(err, syscall.ECONNREFUSED, 10061):
		return finding{"connection-refused", "cannot be reached: it refuses connections"}
	case isErrno(err, syscall.ENETUNREACH, 10051), isErrno(err, syscall.EHOSTUNREACH, 10065):
		return finding{"no-route", "cannot be reached: there is no route to it"}
	case errors.As(err, &timeout) && timeout.Timeout():
		if errors.As(err, &op) && op.Op == "dial" {
			return finding{topicTimeout, "cannot be reached: the connection timed out"}
		}
		return finding{topicTimeout, "did not answer in time"}
	case isErrno(err, syscall.ECONNRESET, 10054), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return finding{"connection-closed", "closed the connection before its answer was complete"}
	case errors.As(err, &op) && op.Op == "dial":
		return finding{"no-route", "cannot be reached"}
	}
	return finding{"no-http", "did not answer with HTTP"}
}

// isErrno compares with the portable number and Windows' own.
func isErrno(err error, posix, windows syscall.Errno) bool {
	return errors.Is(err, posix) || errors.Is(err, windows)
}

// whyNoTLS classifies an error of a TLS handshake; other errors have no words.
func whyNoTLS(err error) finding {
	var (
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		cert    x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &host):
		return finding{"tls-wrong-name", "cannot be trusted: its certificate is for another name"}
	case errors.As(err, &unknown):
		return finding{"tls-unknown-authority", "cannot be trusted: its certificate is from an unknown authority"}
	case errors.As(err, &cert) && cert.Reason == x509.Expired && cert.Cert != nil && time.Now().Before(cert.Cert.NotBefore):
		return finding{"tls-not-yet-valid", "cannot be trusted: its certificate is not valid yet"}
	case errors.As(err, &cert) && cert.Reason == x509.Expired:
		return finding{"tls-expired", "cannot be trusted: its certificate has expired"}
	case errors.As(err, &verify):
		return finding{"tls-invalid", "cannot be trusted: its certificate is not valid"}
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return finding{"no-tls", "does not speak TLS"}
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"):
		return finding{"tls-handshake", "cannot be reached: no TLS handshake: " + strings.TrimPrefix(op.Err.Error(), "tls: ")} // an alert's fixed text
	}
	return finding{}
}
