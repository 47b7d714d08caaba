package providers

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"tokend/providers/jose"
	"tokend/providers/token"
)

type datarockSettings struct {
	Email      string      `toml:"email" need:"yes" doc:"email address of the account, sent as x-api-user"`
	KeyBits    any         `toml:"key_bits" default:"2048" doc:"size of the RSA key that is made: 2048 or 4096"`
	Key        secretField `toml:"private_key" doc:"an RSA key in PEM or DER that is registered already; without it, tokend makes one"`
	Passphrase secretField `toml:"passphrase" doc:"passphrase of the private key, if it is encrypted"`
	PublicKey  string      `toml:"public_key" need:"private_key" doc:"public half of the key in PEM, to register at Datarock"`
}

// keyBits returns the size of a key, which settings have as a number or as text.
func keyBits(setting any) (int, error) {
	bits := map[string]int{"2048": 2048, "4096": 4096}[fmt.Sprint(setting)]
	if bits == 0 {
		return 0, invalid("key_bits", "key_bits \"%v\" is neither 2048 nor 4096", setting)
	}
	return bits, nil
}

func (s *datarockSettings) open(env Env) (any, error) {
	_, err := keyBits(s.KeyBits)
	if err = cmp.Or(checkEmail(s.Email), err); err != nil {
		return nil, err
	}
	public, err := parsePublicRSA(s.PublicKey)
	if err != nil {
		return nil, err
	}
	return &datarock{email: s.Email, public: public, env: env}, nil
}

// checkEmail refuses what cannot be in a header or would make the hashed text
// ambiguous.
func checkEmail(email string) error {
	name, domain, _ := strings.Cut(email, "@")
	if name == "" || domain == "" || strings.ContainsFunc(email, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == ',' }) {
		return invalid("email", "email %q is not an email address", email)
	}
	return nil
}

func parsePublicRSA(text string) (*rsa.PublicKey, error) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		key, _ := x509.ParsePKIXPublicKey(block.Bytes)
		if public, ok := key.(*rsa.PublicKey); ok {
			return public, nil
		}
	}
	return nil, invalid("public_key", "public_key is not an RSA public key in PEM")
}

// prepare makes a key pair, unless a private key was handed in.
func (s *datarockSettings) prepare(a *token.CreateProfile) error {
	bits, err := keyBits(cmp.Or(a.Settings["key_bits"], s.KeyBits))
	if err != nil {
		return err
	}
	if _, given := a.Secrets["private_key"]; !given {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err == nil {
			a.Secrets["private_key"], err = jose.MarshalKey(key)
		}
		if err != nil {
			return err
		}
	}
	if err := prepareKey(a, "RS256"); err != nil {
		return err
	}
	key, err := jose.ParseKey(a.Secrets["private_key"].Reveal())
	if err != nil {
		return invalid("private_key", "private_key is %v", err)
	}
	der, _ := x509.MarshalPKIXPublicKey(key.Public()) // which cannot fail for an RSA key
	a.Settings["public_key"] = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return nil
}

// datarock signs requests as Datarock wants them: each has a Signature header with
// a JWT over the time and a hash of account, time and URL.
type datarock struct {
	email  string
	public *rsa.PublicKey
	env    Env
}

// RotatesInSteps reports true: an account has one registered key, and a new one
// does nothing until a person has registered it.
func (*datarock) RotatesInSteps() bool { return true }

// Hosts returns that of Datarock's API (api-docs.prod.datarock.com.au).
func (*datarock) Hosts() []string { return []string{"https://api.prod.datarock.com.au"} }

// Sign signs a request made now for the canonical form of r.URL (canonicalURL),
// which the client must request. Datarock accepts it from a minute before until
// five minutes after now.
func (d *datarock) Sign(ctx context.Context, r token.Request) (token.Signed, error) {
	target, warning, err := canonicalURL(r.URL)
	if err != nil {
		return token.Signed{}, invalid("url", "%v", err)
	}
	now := time.Now().Truncate(time.Second).Round(0)
	var signature token.Secret
	err = d.env.withKey(ctx, func(key crypto.Signer) error {
		if !d.public.Equal(key.Public()) {
			return &token.Error{Code: token.ErrInvalid, Topic: "datarock-key-mismatch", Field: "public_key",
				Message: "public_key does not belong to the private key in the keystore"}
		}
		signature, err = jose.Assertion{Algorithm: "RS256"}.Sign(key, map[string]any{"iat": now.Unix(), "requestHash": requestHash(d.email, now, target)})
		return err
	})
	if err != nil {
		return token.Signed{}, err
	}
	return token.Signed{
		URL:     target,
		Headers: []token.Header{{Name: "Signature", Value: signature}, {Name: "x-api-user", Value: token.NewSecret(d.email)}},
		Issued:  now,
		Warning: warning,
	}, nil
}

// requestHash is the lower-case hexadecimal SHA-512 of email/iat/URL.
func requestHash(email string, iat time.Time, target string) string {
	sum := sha512.Sum512(fmt.Appendf(nil, "%s/%d/%s", email, iat.Unix(), target))
	return hex.EncodeToString(sum[:])
}

// maxURL bounds the URL of a request to sign.
const maxURL = 16 << 10

// canonicalURL returns the form of a URL that tokend signs. What is signed must
// arrive byte for byte, so every client must send it as it is, and what clients
// treat in different ways is refused:
//
//   - scheme and host are lower-cased, a default port is dropped, and so is
//     the fragment, which is never sent; an empty path becomes "/";
//   - the query is split at each '&'; empty pieces are dropped, and an empty
//     query with its '?'; the pieces are sorted by the bytes of their names as
//     written, which end at the first '='; pieces of one name keep their order;
//   - nothing is encoded or decoded: '+', "%20", "a" and "a=" stay as they are;
//   - characters that RFC 3986 does not allow in their place must be
//     percent-encoded (RFC 3986 §2.1), and so must an apostrophe in the query,
//     which some clients encode on their own (URL Standard, special-query);
//   - what token.ParseURL refuses, a path that begins with "//", and hosts in
//     other than their usual spelling are refused.
//
// The warning says which order the service may still see in another way.
func canonicalURL(text string) (canonical, warning string, err error) {
	if len(text) > maxURL {
		return "", "", errors.New("the URL is longer than 16 KiB")
	}
	text, _, _ = strings.Cut(text, "#")
	rest, query, _ := strings.Cut(text, "?")
	_, rest, _ = strings.Cut(rest, "://")
	_, path, _ := strings.Cut(rest, "/")
	path = "/" + path
	if err := cmp.Or(checkSpelling("path", path, pathChars), checkSpelling("query", query, queryChars)); err != nil {
		return "", "", err
	}
	u, err := token.ParseURL(text)
	if err != nil {
		return "", "", errors.New(`the URL must begin with https://, with a host, without a user name, and without "." or ".." in its path`)
	}
	if strings.HasPrefix(path, "//") { // which some clients take for a host, and others send as "/"
		return "", "", errors.New(`the URL's path begins with "//", which clients treat in different ways`)
	}
	host, err := canonicalHost(u)
	if err != nil {
		return "", "", err
	}
	pieces := slices.DeleteFunc(strings.Split(query, "&"), func(piece string) bool { return piece == "" })
	slices.SortStableFunc(pieces, func(a, b string) int { return cmp.Compare(nameIn(a), nameIn(b)) })
	canonical = u.Scheme + "://" + host + path
	if len(pieces) > 0 {
		canonical += "?" + strings.Join(pieces, "&")
	}
	return canonical, ambiguity(pieces), nil
}

const (
	unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" // RFC 3986 §2.3
	pathChars  = unreserved + "!$&'()*+,;=:@/"                                        // RFC 3986 §3.3
	queryChars = unreserved + "!$&()*+,;=:@/?"                                        // RFC 3986 §3.4, but for the apostrophe
)

// checkSpelling refuses characters that must be percent-encoded.
func checkSpelling(where, text, allowed string) error {
	if _, err := url.PathUnescape(text); err == nil {
		allowed += "%"
	}
	for _, r := range text {
		if !strings.ContainsRune(allowed, r) {
			return fmt.Errorf("the URL's %s has the character %q, which must be percent-encoded", where, r)
		}
	}
	return nil
}

// hostName is a name in lower case, without a dot at its end, that nothing takes
// for an address, and a port.
var hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z_]([a-z0-9_-]*[a-z0-9_])?:[1-9][0-9]{0,4}$`)

// canonicalHost returns the host of a URL, with its port if that is not the
// default one. It refuses a host that clients may send in another spelling: other
// than a name or an IP address in its canonical form (RFC 5952).
func canonicalHost(u *url.URL) (string, error) {
	usual := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":")
	full := host
	if u.Port() == "" {
		full += usual
	}
	address, err := netip.ParseAddrPort(full)
	isAddress := err == nil && address.String() == full && address.Port() != 0 && address.Addr().Zone() == "" && !address.Addr().Is4In6()
	if !isAddress && !hostName.MatchString(full) {
		return "", fmt.Errorf("the URL's host %q is not a name or address, and perhaps a port, in its usual spelling (an international name in its xn-- form)", host)
	}
	return strings.TrimSuffix(full, usual), nil
}

// nameIn is the name of a piece of a query.
func nameIn(piece string) string {
	name, _, _ := strings.Cut(piece, "=")
	return name
}

// ambiguity returns a warning about an order that the service may see in another
// way: it may decode the names before it orders them, as many libraries do (URL
// Standard §5.1), or not distinguish upper and lower case, as the alphabet does.
func ambiguity(pieces []string) string {
	for i := 1; i < len(pieces); i++ {
		a, _ := url.QueryUnescape(nameIn(pieces[i-1])) // checkSpelling has checked both
		b, _ := url.QueryUnescape(nameIn(pieces[i]))
		if a >= b || strings.ToLower(a) >= strings.ToLower(b) {
			return fmt.Sprintf("the query has %q and then %q, and the service may expect another order", a, b)
		}
	}
	return ""
}
