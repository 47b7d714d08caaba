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
	"fmt"
	"strings"
	"time"

	"tokend/providers/jose"
	"tokend/providers/token"
)

type datarockSettings struct {
	Email      string      `toml:"email" need:"yes" doc:"email address of the account, sent as x-api-user"`
	KeyBits    any         `toml:"key_bits" default:"2048" doc:"size of the RSA key that is made: 2048 or 4096"`
	Key        secretField `toml:"private_key" doc:"an RSA key in PEM or DER that is registered already; a new one is made if it is not given"`
	Passphrase secretField `toml:"passphrase" doc:"passphrase of the private key, if it is encrypted"`
	PublicKey  string      `toml:"public_key" need:"private_key" doc:"public half of the key in PEM, to register at Datarock"`
}

// keyBits returns the size of a key, which settings have as a number or as text.
func keyBits(setting any) (int, error) {
	switch text := fmt.Sprint(setting); text {
	case "2048":
		return 2048, nil
	case "4096":
		return 4096, nil
	default:
		return 0, invalid("key_bits", "key_bits %q is neither 2048 nor 4096", text)
	}
}

func (s *datarockSettings) open(env Env) (any, error) {
	if err := checkEmail(s.Email); err != nil {
		return nil, err
	}
	if _, err := keyBits(s.KeyBits); err != nil {
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
		if err != nil {
			return &token.Error{Code: token.ErrInternal, Message: "generating an RSA key failed"}
		}
		if a.Secrets["private_key"], err = jose.MarshalKey(key); err != nil {
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
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return invalid("private_key", "the public half of private_key cannot be written")
	}
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
