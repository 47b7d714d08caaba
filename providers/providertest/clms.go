package providertest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"time"
)

// CLMS issues tokens as the Copernicus Land Monitoring Service does: a Plone
// site with ftw.tokenauth. It checks in that package's order, with its texts
// and those of the PyJWT below it. The rules are those of ftw/tokenauth:
// oauth2/browser/oauth2_token.py (token), oauth2/jwt_grants.py (clmsFault),
// pas/plugin.py (what tokens are, and what an API answers to bad ones),
// service_keys/key_generation.py (NewServiceKey). Package clmstest plays the
// rest of the portal.
type CLMS struct {
	*issuer
	url  string
	keys map[string]clmsKey // by client_id; guarded by issuer.mu
}

type clmsKey struct {
	user   string
	public *rsa.PublicKey
}

const grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// TokenURI is the token endpoint, as service keys name it.
func (c *CLMS) TokenURI() string { return c.url + "/@@oauth2-token" }

// APIURL is below what the tokens open.
func (c *CLMS) APIURL() string { return c.url + "/api/clms/" }

// NewServiceKey registers a fresh key and returns the JSON that the portal shows
// once, to be copied. The members are those of clms-api-docs,
// source/others/token.json.
func (c *CLMS) NewServiceKey(bits int) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, err
	}
	clientID, user := randomHex(16), "n"+randomHex(4)
	c.mu.Lock()
	c.keys[clientID] = clmsKey{user, &key.PublicKey}
	c.mu.Unlock()
	return json.MarshalIndent(map[string]any{
		"client_id":   clientID,
		"ip_range":    nil,
		"issued":      time.Now().Format("2006-01-02T15:04:05.000000"),
		"key_id":      randomHex(20),
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		"title":       "made by providertest",
		"token_uri":   c.TokenURI(),
		"user_id":     user,
	}, "", "  ")
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Revoke forgets all service keys.
func (c *CLMS) Revoke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.keys)
}

func (c *CLMS) token(w http.ResponseWriter, r *http.Request) {
	form, _ := formOf(r)
	refuse := func(status int, oauth, text string) { writeJSON(w, status, oauthError{oauth, text}) }
	switch {
	case r.Method != http.MethodPost:
		refuse(http.StatusMethodNotAllowed, "invalid_request", "POST only")
		return
	case !form.Has("grant_type"):
		refuse(http.StatusBadRequest, "invalid_request", "Missing 'grant_type'")
		return
	case form.Get("grant_type") != grantJWTBearer:
		refuse(http.StatusBadRequest, "invalid_request", "Only grant type '"+grantJWTBearer+"' is supported")
		return
	case form.Get("assertion") == "":
		refuse(http.StatusBadRequest, "invalid_request", "Missing 'assertion'")
		return
	}
	assertion := form.Get("assertion")
	header, claims, err := unverified(assertion)
	if err != nil {
		// The endpoint does not catch this: Zope's error page.
		Status(http.StatusInternalServerError, "")(w, r)
		return
	}
	if header.text("alg") != "RS256" {
		refuse(http.StatusBadRequest, "invalid_request", "Only RS256 signature algorithm is supported")
		return
	}
	c.mu.Lock()
	key, known := c.keys[claims.text("iss")]
	c.mu.Unlock()
	switch {
	case !claims.has("iss"):
		Status(http.StatusInternalServerError, "")(w, r)
	case !known:
		refuse(http.StatusBadRequest, "invalid_grant", "No associated key found")
	case !signedBy(assertion, "RS256", key.public):
		refuse(http.StatusBadRequest, "invalid_grant", "Signature verification failed")
	default:
		if fault := clmsFault(claims, key.user, c.TokenURI(), time.Now()); fault != "" {
			refuse(http.StatusBadRequest, "invalid_grant", fault)
			return
		}
		c.issue(w, func(time.Duration) (string, error) { return opaque(64), nil }, nil)
	}
}

// clmsFault judges the claims of a properly signed assertion: first as PyJWT
// does, then as the grant processor. An iat in the future is for PyJWT in its
// current versions, for the grant processor (with a minute's tolerance) above
// older ones; both texts can be had here, the second further ahead.
func clmsFault(claims part, user, tokenURI string, now time.Time) string {
	iat, hasIAT := claims.number("iat")
	exp, hasExp := claims.number("exp")
	switch {
	case hasIAT && iat.After(now) && !iat.After(now.Add(time.Minute)):
		return "The token is not yet valid (iat)"
	case hasExp && !exp.After(now):
		return "Signature has expired"
	case !claims.has("aud"):
		return `Token is missing the "aud" claim`
	case claims.text("aud") != tokenURI:
		return "Audience doesn't match"
	case !hasExp:
		return "Missing 'exp' claim"
	case exp.After(now.Add(24 * time.Hour)):
		return "JWT expiration is more than a day in the future"
	case claims.has("nbf"):
		return "The 'nbf' claim is not suppported"
	case !hasIAT:
		return "Missing 'iat' claim"
	case iat.Before(now.Add(-time.Hour)):
		return "JWT was issued more than an hour in the past"
	case iat.After(now):
		return "JWT issue time is in the future"
	case claims.has("scope"):
		return "Scopes are not supported yet"
	case claims.text("sub") != user:
		return "JWT subject doesn't match user_id of service key."
	}
	return ""
}
