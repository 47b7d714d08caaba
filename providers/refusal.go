package providers

import (
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

	"tokend/providers/token"
)

// A refusal is an error answer (RFC 6749 §5.2), its texts fit to be shown.
type refusal struct {
	oauth, description string
	members            members
}

// An explanation is what a provider knows of a refusal that RFC 6749 does not.
type explanation struct {
	// detail is the issuer's own code.
	detail string
	// words say what it means; empty if the issuer's description must do.
	words string
	// passing refusals may be gone at the next try.
	passing bool
}

// passing tells of the errors after which asking again makes sense (RFC 6749
// §4.1.2.1, RFC 8628 §3.5), "" being an answer that is none of OAuth's.
func passing(oauth string) bool {
	switch oauth {
	case "", "temporarily_unavailable", "server_error", "slow_down":
		return true
	}
	return false
}

// clockTolerance is how far the clocks may differ before it is worth a word.
const clockTolerance = time.Minute

// refused tells of an error answer. It is permanent only if it says so in the
// terms of RFC 6749: anything else may come from a proxy or an overload.
func (e *endpoint) refused(a answer, m members, q quoter) *token.Error {
	r := refusal{q.quote(m.text("error")), q.quote(m.text("error_description")), m}
	var x explanation
	if e.explain != nil && r.oauth != "" {
		x = e.explain(r)
	}
	err := &token.Error{Code: token.ErrRejected, OAuth: r.oauth, Detail: x.detail}
	if overloaded(a.status) || passing(r.oauth) || x.passing {
		err.Code, err.RetryAt = token.ErrUnavailable, a.retryAt()
	}
	err.Message = e.url.Host + " " + r.words(a.status, x)
	if err.Code == token.ErrRejected || x.passing {
		err.Message += clockWords(a.skew())
	}
	return err
}

// overloaded tells of statuses that say nothing of the request.
func overloaded(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// words continue "issuer.example …".
func (r refusal) words(status int, x explanation) string {
	if r.oauth == "" {
		switch {
		case overloaded(status):
			return "answered " + statusText(status)
		case status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusGone:
			return "answered " + statusText(status) + ": that URL is no token endpoint"
		}
		return "answered " + statusText(status) + " with no OAuth error; a proxy or firewall may stand in between"
	}
	text := "refused the request: "
	if overloaded(status) {
		text = "answered " + statusText(status) + ": "
	}
	text += r.oauth
	switch {
	case x.words != "":
		text += fmt.Sprintf(": %s (%s)", x.words, x.detail)
	case r.description != "":
		text += ": " + r.description
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

// redirected tells of a redirect, which is never followed: the credential
// would go along.
func (e *endpoint) redirected(a answer, q quoter) *token.Error {
	text := fmt.Sprintf("%s answered with a redirect (%s), which is not followed", e.url.Host, statusText(a.status))
	if to, err := url.Parse(a.header.Get("Location")); err == nil && to.Host != "" && to.Host != e.url.Host {
		text += "; it leads to " + q.quote(to.Host)
	}
	return &token.Error{Code: token.ErrUnavailable, Message: text}
}

// unreachable tells why there is no answer. The library's own text is not
// used where it could hold a URL's query or what the server sent.
func (e *endpoint) unreachable(ctx context.Context, err error) *token.Error {
	return &token.Error{Code: token.ErrUnavailable, Cause: context.Cause(ctx),
		Message: e.url.Host + " " + whyUnreachable(err)}
}

// whyUnreachable continues "issuer.example …".
func whyUnreachable(err error) string {
	var refusal *proxyRefusal
	if errors.As(err, &refusal) {
		return "cannot be reached: " + refusal.Error()
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "proxyconnect" {
		return "cannot be reached: the proxy " + whyNoConnection(op.Err)
	}
	return whyNoConnection(err)
}

func whyNoConnection(err error) string {
	if errors.Is(err, context.Canceled) {
		return "was not waited for"
	}
	if text := whyNoTLS(err); text != "" {
		return text
	}
	var (
		name    *net.DNSError
		timeout net.Error
		op      *net.OpError
	)
	switch {
	case errors.Is(err, errInward):
		return "is not asked: " + errInward.Error()
	case errors.As(err, &name) && name.IsNotFound:
		return "cannot be reached: there is no such host name"
	case errors.As(err, &name):
		return "cannot be reached: the host name could not be looked up"
	case isErrno(err, syscall.ECONNREFUSED, 10061):
		return "cannot be reached: it refuses connections"
	case isErrno(err, syscall.ENETUNREACH, 10051), isErrno(err, syscall.EHOSTUNREACH, 10065):
		return "cannot be reached: there is no route to it"
	case errors.As(err, &timeout) && timeout.Timeout():
		if errors.As(err, &op) && op.Op == "dial" {
			return "cannot be reached: no connection in time"
		}
		return "did not answer in time"
	case isErrno(err, syscall.ECONNRESET, 10054), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed the connection without a whole answer"
	case errors.As(err, &op) && op.Op == "dial":
		return "cannot be reached"
	}
	return "gave no answer that is HTTP"
}

// isErrno compares with the portable number and Windows' own.
func isErrno(err error, posix, windows syscall.Errno) bool {
	return errors.Is(err, posix) || errors.Is(err, windows)
}

// whyNoTLS tells what was wrong with a TLS handshake, "" if that is not it.
func whyNoTLS(err error) string {
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
		return "cannot be trusted: its certificate is for another name"
	case errors.As(err, &unknown):
		return "cannot be trusted: its certificate is from an unknown authority"
	case errors.As(err, &cert) && cert.Reason == x509.Expired && cert.Cert != nil && time.Now().Before(cert.Cert.NotBefore):
		return "cannot be trusted: its certificate is not valid yet"
	case errors.As(err, &cert) && cert.Reason == x509.Expired:
		return "cannot be trusted: its certificate has expired"
	case errors.As(err, &verify):
		return "cannot be trusted: its certificate is not valid"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "does not speak TLS"
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"):
		return "cannot be reached: no TLS handshake: " + strings.TrimPrefix(op.Err.Error(), "tls: ") // an alert's fixed text
	}
	return ""
}
