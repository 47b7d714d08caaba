package providers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
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
		return nil, errHTML
	case strings.HasSuffix(media, "json"), json.Valid(a.body):
		return nil, err
	}
	return nil, errors.New("something that is not JSON")
}

// errHTML is the error for a page for people.
var errHTML = finding{"html-answer", "an HTML page; a proxy or a login page may stand in between"}

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
func (e *endpoint) checkType(m strictjson.Object, q quoter) error {
	const advice = "a token %s; if it is used like Bearer, set token_type = %q in the profile"
	came := m.Text("token_type")
	switch {
	case strings.EqualFold(came, "Bearer"), strings.EqualFold(cmp.Or(came, noTokenType), e.settings.TokenType):
		return nil
	case came == "":
		return finding{topicTokenType, fmt.Sprintf(advice, "without token_type", noTokenType)}
	}
	came = q.quote(came)
	return finding{topicTokenType, fmt.Sprintf(advice, fmt.Sprintf("of the token_type %q", came), came)}
}

// grant reads a successful answer (RFC 6749 §5.1). The error's words follow
// "answered with".
func (e *endpoint) grant(m strictjson.Object, received time.Time, q quoter) (token.Token, error) {
	secret, err := tokenIn(m, "access_token")
	if err != nil {
		return token.Token{}, err
	}
	if err := e.checkType(m, append(newQuoter([]token.Secret{secret}), q...)); err != nil {
		return token.Token{}, err
	}
	scope := m.Text("scope")
	if checkScope("scope", scope) != nil {
		return token.Token{}, errors.New("a scope with characters that RFC 6749 does not allow")
	}
	life, err := seconds(m, "expires_in")
	if err != nil {
		return token.Token{}, err
	}
	if life == 0 {
		life = time.Duration(e.settings.DefaultLifetime)
	}
	life = min(life, time.Duration(e.settings.MaxLifetime))
	t := token.Token{
		Secret: secret,
		Type:   "Bearer",
		Scope:  scope,
		Issued: received,
		Expiry: received.Add(life),
	}
	if early, err := seconds(m, "refresh_in"); err == nil && 0 < early && early < life {
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
