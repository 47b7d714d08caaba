package providertest

import (
	"crypto"
	"net/http"
	"net/url"
	"time"
)

// OAuth2 issues tokens by the client credentials grant (RFC 6749 §4.4) with
// every way to authenticate (§2.3.1; RFC 7523 §2.2), and by the JWT bearer grant
// (RFC 7523 §2.1). Its refusals are those of RFC 6749 §5.2; the descriptions are ours.
type OAuth2 struct {
	*issuer
	url     string
	clients map[string]string        // secrets by client ID; guarded by issuer.mu, as are the others
	keys    map[string]registeredKey // of clients with private_key_jwt
	grants  map[string]registeredKey // of issuers of assertions
	seen    map[string]bool          // jti of all assertions
}

type registeredKey struct {
	algorithm string
	public    crypto.PublicKey
}

// TokenURL is the token endpoint.
func (o *OAuth2) TokenURL() string { return o.url + "/oauth2/token" }

// APIURL is below what the tokens open.
func (o *OAuth2) APIURL() string { return o.url + "/api/generic/" }

// NewClient registers a client with a secret. Both have characters that
// client_secret_basic must encode, a space among them (RFC 6749 A.2).
func (o *OAuth2) NewClient() (id, secret string) {
	id, secret = "client:"+newGUID(), "s %+/&=:"+opaque(24)
	o.AddClient(id, secret)
	return id, secret
}

// AddClient registers a client whose secret is known.
func (o *OAuth2) AddClient(id, secret string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clients[id] = secret
}

// NewKeyClient registers a client that authenticates by private_key_jwt.
func (o *OAuth2) NewKeyClient(algorithm string) (id string, privateKey []byte, err error) {
	key, text, err := newKey(algorithm)
	if err != nil {
		return "", nil, err
	}
	id = "client-" + newGUID()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keys[id] = registeredKey{algorithm, key.Public()}
	return id, text, nil
}

// NewGrantKey registers an issuer of assertions for the JWT bearer grant.
func (o *OAuth2) NewGrantKey(algorithm string) (iss string, privateKey []byte, err error) {
	key, text, err := newKey(algorithm)
	if err != nil {
		return "", nil, err
	}
	iss = "issuer-" + newGUID()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.grants[iss] = registeredKey{algorithm, key.Public()}
	return iss, text, nil
}

func (o *OAuth2) token(w http.ResponseWriter, r *http.Request) {
	form, repeated := formOf(r)
	o.mu.Lock()
	refusal := o.check(r, form, repeated)
	o.mu.Unlock()
	if refusal != nil {
		status := http.StatusBadRequest
		if refusal.Code == "invalid_client" && r.Header.Get("Authorization") != "" {
			status = http.StatusUnauthorized // RFC 6749 §5.2
			w.Header().Set("WWW-Authenticate", `Basic realm="providertest"`)
		}
		writeJSON(w, status, refusal)
		return
	}
	more := map[string]any{}
	if scope := form.Get("scope"); scope != "" {
		more["scope"] = scope
	}
	o.issue(w, func(time.Duration) (string, error) { return opaque(32), nil }, more)
}

// check returns the first thing that is wrong, nil for a good request. o.mu is
// held.
func (o *OAuth2) check(r *http.Request, form url.Values, repeated string) *oauthError {
	if r.Method != http.MethodPost {
		return &oauthError{"invalid_request", "the method must be POST"}
	}
	if repeated != "" {
		return &oauthError{"invalid_request", "parameter repeated: " + repeated}
	}
	switch form.Get("grant_type") {
	case "":
		return &oauthError{"invalid_request", "grant_type is missing"}
	case grantJWTBearer:
		return o.checkJWT(form.Get("assertion"), o.grants, "invalid_grant", nil)
	case "client_credentials":
		return o.checkClient(r, form)
	}
	return &oauthError{"unsupported_grant_type", ""}
}

func (o *OAuth2) checkClient(r *http.Request, form url.Values) *oauthError {
	ways := 0
	for _, used := range []bool{r.Header.Get("Authorization") != "", form.Has("client_secret"), form.Has("client_assertion")} {
		if used {
			ways++
		}
	}
	if ways > 1 {
		return &oauthError{"invalid_request", "more than one way of client authentication"} // RFC 6749 §2.3
	}
	if form.Has("client_assertion") {
		if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			return &oauthError{"invalid_client", "unknown client_assertion_type"}
		}
		id := form.Get("client_id")
		return o.checkJWT(form.Get("client_assertion"), o.keys, "invalid_client", &id)
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if name, password, ok := r.BasicAuth(); ok {
		var err1, err2 error
		id, err1 = url.QueryUnescape(name)
		secret, err2 = url.QueryUnescape(password)
		if err1 != nil || err2 != nil {
			return &oauthError{"invalid_client", "id and secret must be form-encoded"}
		}
	}
	if want, known := o.clients[id]; !known || secret != want {
		return &oauthError{"invalid_client", "unknown client or wrong secret"}
	}
	return nil
}

// checkJWT judges an assertion by RFC 7523 §3: aud, which is the token endpoint
// here, iss, sub, exp; iat and jti, which are optional there, must be in it, as
// RFC 7521 §5.1 and OpenID Connect Core §9 want them. exp within an hour is Google's
// rule. clientID, if there is one, must be its subject.
func (o *OAuth2) checkJWT(text string, registered map[string]registeredKey, code string, clientID *string) *oauthError {
	header, claims, err := unverified(text)
	if err != nil {
		return &oauthError{code, "the assertion is no JWT"}
	}
	key, known := registered[claims.text("iss")]
	iat, hasIAT := claims.number("iat")
	exp, hasExp := claims.number("exp")
	now := time.Now()
	fault := ""
	switch {
	case !known:
		fault = "unknown iss"
	case header.text("alg") != key.algorithm:
		fault = "alg must be " + key.algorithm
	case !signedBy(text, key.algorithm, key.public):
		fault = "wrong signature"
	case claims.text("aud") != o.TokenURL():
		fault = "aud must be the token endpoint"
	case clientID != nil && claims.text("sub") != claims.text("iss"):
		fault = "sub must be iss"
	case clientID != nil && *clientID != "" && *clientID != claims.text("sub"):
		fault = "client_id must be sub"
	case !hasExp || !exp.After(now) || exp.After(now.Add(time.Hour)):
		fault = "exp must be within an hour"
	case !hasIAT || iat.After(now):
		fault = "iat must be in the past"
	case claims.text("jti") == "" || o.seen[claims.text("jti")]:
		fault = "jti must be new"
	}
	if fault != "" {
		return &oauthError{code, fault}
	}
	o.seen[claims.text("jti")] = true
	return nil
}
