package providers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tokend/providers/strictjson"
	"tokend/providers/token"
)

const (
	// maxAnswer bounds the body of an answer: a set of 1,000 keys with certificates.
	// maxToken bounds the token in it.
	maxAnswer = 4 << 20
	maxToken  = 64 << 10
	// maxRetry bounds how far Retry-After may put off the next try.
	maxRetry = time.Hour
)

// An answer is what a server answered.
type answer struct {
	status   int
	header   http.Header
	body     []byte
	received time.Time
}

// object decodes the body, a JSON object whatever its type is said to be. The error
// says what it is instead, in words that follow "answered with".
func (a answer) object() (strictjson.Object, error) {
	if encoding := a.header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, errors.New("a compressed body, which tokend did not ask for")
	}
	if len(a.body) > maxAnswer {
		return nil, errors.New("more than 4 MiB")
	}
	o, err := strictjson.Parse(bytes.TrimPrefix(a.body, []byte("\ufeff")))
	if err == nil {
		return o, nil
	}
	media, _, _ := mime.ParseMediaType(cmp.Or(a.header.Get("Content-Type"), http.DetectContentType(a.body)))
	switch {
	case media == "text/html":
		return nil, finding{"html-answer", "an HTML page; a proxy or a login page may stand in between"}
	case strings.HasSuffix(media, "json"), json.Valid(a.body):
		return nil, err
	}
	return nil, errors.New("something that is not JSON")
}

// finding says what a status means by itself; topic is that of a status that has
// none of its own.
func (a answer) finding(topic string) finding {
	switch {
	case 300 <= a.status && a.status < 400: // which tokend never follows, because a credential would go along
		return finding{topicRedirect, fmt.Sprintf("answered with a redirect (%s), which tokend does not follow", statusText(a.status))}
	case a.status == http.StatusTooManyRequests:
		topic = token.RateLimited
	case overloaded(a.status):
		topic = topicOutage
	}
	return finding{topic, "answered " + statusText(a.status)}
}

// nonsense is the finding about an answer that object or grant refuses: most
// often it is not the issuer that answers, so the next try may succeed.
func (a answer) nonsense(fault error) finding {
	f, _ := errors.AsType[finding](fault)
	return finding{cmp.Or(f.topic, topicBadAnswer), fmt.Sprintf("answered %s with %v", statusText(a.status), fault)}
}

// overloaded reports whether a status says nothing of the request.
func overloaded(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// unavailable is the error for an answer that is of no use.
func (a answer) unavailable(who string, f finding) *token.Error {
	err := unavailable(who, f, nil)
	err.RetryAt = a.retryAt()
	return err
}

// checkType refuses a token of another type than Bearer and the one that the profile
// accepts. q holds what must not be shown.
func (m *minter) checkType(o strictjson.Object, q quoter) error {
	came := o.Text("token_type")
	if strings.EqualFold(came, "Bearer") || strings.EqualFold(cmp.Or(came, noTokenType), m.settings.TokenType) {
		return nil
	}
	which := "without token_type"
	if came != "" {
		which = fmt.Sprintf("of the token_type %q", q.quote(came))
	}
	came = cmp.Or(q.quote(came), noTokenType)
	return finding{topicTokenType, fmt.Sprintf("a token %s; if it is used like Bearer, set token_type = %q in the profile", which, came)}
}

// grant reads a successful answer (RFC 6749 §5.1). The error's words follow
// "answered with".
func (m *minter) grant(o strictjson.Object, received time.Time, q quoter) (token.Token, error) {
	secret, err := tokenIn(o, "access_token")
	if err != nil {
		return token.Token{}, err
	}
	if err := m.checkType(o, append(newQuoter([]token.Secret{secret}), q...)); err != nil {
		return token.Token{}, err
	}
	scope := o.Text("scope")
	if checkScope("scope", scope) != nil {
		return token.Token{}, errors.New("a scope with characters that RFC 6749 does not allow")
	}
	life, err := seconds(o, "expires_in")
	if err != nil {
		return token.Token{}, err
	}
	life = min(cmp.Or(life, time.Duration(m.settings.DefaultLifetime)), time.Duration(m.settings.MaxLifetime))
	t := token.Token{
		Secret: secret,
		Type:   "Bearer",
		Scope:  scope,
		Issued: received,
		Expiry: received.Add(life),
	}
	if early, err := seconds(o, "refresh_in"); err == nil && 0 < early && early < life {
		t.RenewAt = received.Add(early)
	}
	return t, nil
}

// tokenIn reads a token: visible ASCII (RFC 6749 appendix A.12, without spaces).
func tokenIn(m strictjson.Object, name string) (token.Secret, error) {
	text := m.Text(name)
	switch {
	case text == "":
		return token.Secret{}, errors.New("no " + name)
	case len(text) > maxToken:
		return token.Secret{}, errors.New("more than 64 KiB as " + name)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return token.Secret{}, errors.New("characters in " + name + " that RFC 6749 does not allow")
	}
	return token.NewSecret(text), nil
}

// seconds reads a number of seconds, or a string with one, which some servers
// send. It drops fractions, takes absent and null for zero, and cuts what is too
// large for any use to a century.
func seconds(m strictjson.Object, name string) (time.Duration, error) {
	const century = 100 * 365 * 24 * time.Hour
	if !m.Has(name) || string(m[name]) == "null" {
		return 0, nil
	}
	var number json.Number
	err := json.Unmarshal(m[name], &number)
	n, _ := number.Float64() // infinite if float64 cannot hold it
	if err != nil || n < 0 {
		return 0, errors.New("an " + name + " that is not a number of seconds")
	}
	return time.Duration(min(n, century.Seconds())) * time.Second, nil
}

// skew returns the issuer's clock minus ours, according to the Date header.
func (a answer) skew() time.Duration {
	date, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return 0
	}
	return date.Sub(a.received).Truncate(time.Second)
}

// retryAt returns when the issuer wants to be asked again (RFC 9110 §10.2.3),
// zero if it does not say. A date is a time of the issuer's own clock.
func (a answer) retryAt() time.Time {
	text := strings.TrimSpace(a.header.Get("Retry-After"))
	var wait time.Duration
	if n, err := strconv.ParseUint(text, 10, 32); err == nil || errors.Is(err, strconv.ErrRange) { // then n is the largest
		wait = time.Duration(n) * time.Second
	} else if date, err := http.ParseTime(text); err == nil {
		wait = date.Sub(a.received.Add(a.skew()))
	}
	if wait <= 0 {
		return time.Time{}
	}
	return a.received.Add(min(wait, maxRetry))
}

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
	topicMetadata  = "issuer-metadata" // that leads to no keys
)

// clockTolerance is how far the clocks may differ before it is worth a word.
const clockTolerance = time.Minute

// refused is the error for an error answer. It is permanent only if the answer
// says so in the terms of RFC 6749: anything else may come from a proxy or an
// overload.
func (m *minter) refused(a answer, o strictjson.Object, q quoter) *token.Error {
	r := &refusal{oauth: q.quote(o.Text("error")), description: q.quote(o.Text("error_description"))}
	if a.status/100 == 3 { // what answers so is not the token endpoint
		r = &refusal{}
	}
	if m.explain != nil && r.oauth != "" {
		m.explain(r)
	}
	err := a.unavailable(m.host, r.finding(a))
	err.OAuth, err.Detail = r.oauth, r.detail
	if !overloaded(a.status) && r.oauth != "" && oauthTopic(r.oauth) != topicPassing && !r.passing {
		err.Code, err.RetryAt = token.ErrRejected, time.Time{}
	}
	if to, bad := url.Parse(a.header.Get("Location")); err.Topic == topicRedirect && bad == nil && to.Host != "" && to.Host != m.host {
		err.Message += "; it leads to " + q.quote(to.Host)
	}
	if skew := a.skew(); skew.Abs() > clockTolerance && (err.Code == token.ErrRejected || r.passing) {
		err.Message += fmt.Sprintf("; this machine's clock is %s %s the issuer's", skew.Abs(), map[bool]string{true: "behind", false: "ahead of"}[skew > 0])
		if r.oauth == "invalid_grant" && r.topic == "" {
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
	op, isOp := errors.AsType[*net.OpError](err)
	if !isOp {
		op = &net.OpError{Err: err}
	}
	if op.Op == "proxyconnect" {
		return finding{"proxy-unreachable", "cannot be reached: the proxy " + whyUnreachable(op.Err).words}
	}
	cert, _ := errors.AsType[x509.CertificateInvalidError](err)
	expired := cert.Reason == x509.Expired
	name, isName := errors.AsType[*net.DNSError](err)
	alert := strings.TrimPrefix(op.Err.Error(), "tls: ") // of a TLS alert, whose texts are fixed
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
		{strings.HasSuffix(op.Op, " error"), finding{"tls-handshake", "cannot be reached: no TLS handshake: " + alert}},
		{isName && name.IsNotFound, finding{"host-not-found", "cannot be reached: there is no such host name"}},
		{isName, finding{"host-lookup", "cannot be reached: the host name could not be looked up"}},
		{isErrno(err, syscall.ECONNREFUSED, 10061), finding{"connection-refused", "cannot be reached: it refuses connections"}},
		{isErrno(err, syscall.ENETUNREACH, 10051) || isErrno(err, syscall.EHOSTUNREACH, 10065), finding{"no-route", "cannot be reached: there is no route to it"}},
		{timeout && op.Op == "dial", finding{topicTimeout, "cannot be reached: the connection timed out"}},
		{timeout, finding{topicTimeout, "did not answer in time"}},
		{isErrno(err, syscall.ECONNRESET, 10054) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF),
			finding{"connection-closed", "closed the connection before its answer was complete"}},
		{op.Op == "dial", finding{"no-route", "cannot be reached"}},
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
