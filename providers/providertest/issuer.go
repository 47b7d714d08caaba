package providertest

import (
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// An issuer is what all of them have in common; its methods are theirs.
type issuer struct {
	mu       sync.Mutex
	lifetime time.Duration
	fault    Fault
	limit    *Limit
	tokens   map[string]time.Time // each one's expiry
	requests int
	minted   int
}

func newIssuer(usual, wanted time.Duration) *issuer {
	if wanted > 0 {
		usual = wanted
	}
	return &issuer{lifetime: usual, tokens: map[string]time.Time{}}
}

// Minted counts the tokens issued.
func (i *issuer) Minted() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.minted
}

// Requests counts the token requests received, the faulty answers included.
func (i *issuer) Requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// SetLifetime says how long tokens issued from now on live, in whole seconds.
func (i *issuer) SetLifetime(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lifetime = d
}

// Fail answers token requests by f, until Heal.
func (i *issuer) Fail(f Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = f
}

// Heal ends a fault.
func (i *issuer) Heal() { i.Fail(nil) }

// RevokeTokens makes all tokens issued so far unknown to the API.
func (i *issuer) RevokeTokens() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tokens = map[string]time.Time{}
}

// Expiry says when a token that was issued expires; the zero time if it was
// not issued here.
func (i *issuer) Expiry(text string) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.tokens[text]
}

// Tokens lists all tokens issued, in no order.
func (i *issuer) Tokens() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Collect(maps.Keys(i.tokens))
}

// answering counts a token request and hands it to the fault, if there is
// one, or to the issuer.
func (i *issuer) answering(token http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.requests++
		fault, limit := i.fault, i.limit
		i.mu.Unlock()
		if !limit.hold(w, r) {
			return
		}
		if fault != nil {
			fault(w, r)
			return
		}
		token(w, r)
	}
}

// issue answers with a token made by mint from its lifetime.
func (i *issuer) issue(w http.ResponseWriter, mint func(life time.Duration) (string, error), more map[string]any) {
	i.mu.Lock()
	life := i.lifetime
	i.mu.Unlock()
	text, err := mint(life)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	i.mu.Lock()
	i.minted++
	i.tokens[text] = time.Now().Add(life)
	i.mu.Unlock()
	body := map[string]any{"access_token": text, "token_type": "Bearer", "expires_in": int(life / time.Second)}
	for name, value := range more {
		body[name] = value
	}
	writeJSON(w, http.StatusOK, body)
}

// A verdict is what the API makes of a token.
type verdict int

const (
	good verdict = iota
	absent
	unknown
	expired
)

func (i *issuer) judge(r *http.Request) verdict {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	i.mu.Lock()
	defer i.mu.Unlock()
	expiry, known := i.tokens[text]
	switch {
	case !ok:
		return absent
	case !known:
		return unknown
	case !time.Now().Before(expiry):
		return expired
	}
	return good
}

// guard is the API: it answers who brings a good token.
func (i *issuer) guard(refuse func(http.ResponseWriter, verdict)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if v := i.judge(r); v != good {
			refuse(w, v)
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"path": r.URL.Path, "good": true})
	}
}

// plone401 refuses as CLMS does.
func plone401(w http.ResponseWriter, v verdict) {
	if v == expired {
		writeJSON(w, http.StatusUnauthorized, oauthError{"invalid_token", "Access token expired"})
		return
	}
	writeJSON(w, http.StatusUnauthorized, map[string]string{"type": "Unauthorized", "message": "You are not authorized to access this resource."})
}

// bearer401 refuses as RFC 6750 §3 says: without an error where there was no token
// (§3.1).
func bearer401(w http.ResponseWriter, v verdict) {
	challenge := `Bearer error="invalid_token"`
	switch v {
	case absent:
		challenge = "Bearer"
	case expired:
		challenge += `, error_description="The access token expired"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
}

// An oauthError is a refusal (RFC 6749 §5.2).
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// writeJSON answers with the headers of RFC 6749 §5.1, unless others are set.
func writeJSON(w http.ResponseWriter, status int, body any) {
	for name, usual := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"} {
		if w.Header().Get(name) == "" {
			w.Header().Set(name, usual)
		}
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that left is no concern of ours
}

// formOf reads a form body, empty if the body is something else, as servers
// see a JSON body. repeated names a field that came twice, which RFC 6749 §3.2
// forbids.
func formOf(r *http.Request) (form url.Values, repeated string) {
	if !isForm(r) {
		return url.Values{}, ""
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return url.Values{}, ""
	}
	form, err = url.ParseQuery(string(text))
	if err != nil {
		return url.Values{}, ""
	}
	for name, values := range form {
		if len(values) > 1 {
			repeated = name
		}
	}
	return form, repeated
}

func isForm(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/x-www-form-urlencoded"
}
