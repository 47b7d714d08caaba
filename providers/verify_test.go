package providers

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokend/providers/jose"
	"tokend/providers/providertest"
	"tokend/providers/token"
)

// The bounds that docs promise (jose).
const (
	keysAge, fetchPause, patience = time.Hour, 10 * time.Second, time.Second
	maxJWS                        = 16 << 10
)

const testDSI = "dpp://group:variant@dataspace.example/Weather/Current_v1.0"

// openKind opens a profile of these settings alone.
func openKind(t testing.TB, kind string, client *http.Client, settings map[string]any) token.Verifier {
	t.Helper()
	opened, _ := add(t, kind, client, settings, nil)
	return opened.(token.Verifier)
}

func openIOXIO(t testing.TB, s *providertest.Server, client *http.Client, more map[string]any) *ioxio {
	t.Helper()
	settings := map[string]any{"dataspace": s.Dataspace().Issuer(), "dsi": []string{testDSI, "dpp://other@dataspace.example/X"}, "gateway": s.Dataspace().Gateway()}
	maps.Copy(settings, more)
	return openKind(t, "ioxio", client, settings).(*ioxio)
}

func openOpenID(t testing.TB, issuer *providertest.OpenID, client *http.Client, more map[string]any) *jose.Verifier {
	t.Helper()
	settings := map[string]any{"issuer": issuer.Issuer(), "audiences": []string{"https://api.example"}}
	maps.Copy(settings, more)
	return openKind(t, "jwt-verify", client, settings).(*jose.Verifier)
}

// wantVerdict checks a verdict; reason "" means a good token.
func wantVerdict(t *testing.T, v token.Verifier, text, reason string) token.Verdict {
	t.Helper()
	got, err := v.Verify(context.Background(), token.Presented{Token: secret(text)})
	if err != nil {
		t.Errorf("no verdict: %v", err)
	}
	if got.Reason != reason || got.Valid != (reason == "") || got.Valid == (got.Claims == nil) || got.Valid == (got.Message != "") {
		t.Errorf("got %q (%s), want %q", got.Reason, got.Message, reason)
	}
	if strings.ContainsFunc(got.Message, func(r rune) bool { return r < ' ' }) || len(got.Message) > 600 {
		t.Errorf("message is not fit to be shown: %q", got.Message)
	}
	return got
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// edited replaces or, by nil, removes members of a JSON object's text.
func edited(t *testing.T, text string, by map[string]any) string {
	t.Helper()
	m := map[string]any{}
	check(t, json.Unmarshal([]byte(text), &m))
	maps.Copy(m, by)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return string(must[[]byte](t)(json.Marshal(m)))
}

// Cases 49 to 54, 56 and 57.
func TestHostileTokens(t *testing.T) {
	s, client := startWithClient(t)
	d := s.Dataspace()
	v := openIOXIO(t, s, client, nil)
	public, kid := d.PublicKey("RS256")
	rsaPublic := public.(*rsa.PublicKey)
	now := time.Now()
	header := fmt.Sprintf(`{"alg":"RS256","typ":"JWT","kid":%q}`, kid)
	payload := fmt.Sprintf(`{"iss":%q,"sub":"app","aud":%q,"iat":%d,"exp":%d}`, d.Issuer(), testDSI, now.Unix(), now.Add(time.Hour).Unix())
	sign := func(header, payload string) string { return must[string](t)(d.SignText("RS256", header, payload)) }
	with := func(h map[string]any) string { return sign(edited(t, header, h), payload) }
	claim := func(c map[string]any) string { return sign(header, edited(t, payload, c)) }
	good := sign(header, payload)
	parts := strings.Split(good, ".")
	unsigned := func(header string) string { return b64(header) + "." + parts[1] + "." }
	broken := func(text string) string { // another signature
		i := strings.LastIndexByte(text, '.') + 10
		return text[:i] + map[bool]string{true: "B", false: "A"}[text[i] == 'A'] + text[i+1:]
	}
	hmacWith := func(key []byte) string {
		text := b64(edited(t, header, map[string]any{"alg": "HS256"})) + "." + parts[1]
		mac := must[[]byte](t)(jwt.SigningMethodHS256.Sign(text, key))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac)
	}
	der := must[[]byte](t)(x509.MarshalPKIXPublicKey(public))

	// An attacker's own key, which the header brings along.
	evil := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	forge := func(h map[string]any) string {
		text := b64(edited(t, header, h)) + "." + parts[1]
		return text + "." + base64.RawURLEncoding.EncodeToString(must[[]byte](t)(jwt.SigningMethodRS256.Sign(text, evil)))
	}
	jwk := map[string]any{"kty": "RSA", "kid": "evil", "alg": "RS256", "use": "sig", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(evil.N.Bytes())}

	// A spelling of the signature's last character with bits that say nothing.
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	spare := good[:len(good)-1] + string(alphabet[last|1])

	huge := new(big.Int).Lsh(big.NewInt(1), 80).String()
	raw := func(name, text string) string { // a claim whose value is any text
		return sign(header, strings.TrimSuffix(edited(t, payload, map[string]any{name: nil}), "}")+fmt.Sprintf(",%q:%s}", name, text))
	}
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }

	tests := []struct{ name, text, reason string }{
		{"good", good, ""},

		// 49
		{"none", unsigned(`{"alg":"none"}`), jose.ReasonAlgorithm},
		{"none with kid", unsigned(edited(t, header, map[string]any{"alg": "none"})), jose.ReasonAlgorithm},
		{"none without the last dot", strings.TrimSuffix(unsigned(`{"alg":"none"}`), "."), jose.ReasonMalformed},
		{"empty alg", unsigned(`{"alg":""}`), jose.ReasonMalformed},
		{"empty alg without the last dot", strings.TrimSuffix(unsigned(`{"alg":""}`), "."), jose.ReasonMalformed},
		{"no alg", with(map[string]any{"alg": nil}), jose.ReasonMalformed},
		{"alg null", sign(`{"alg":null}`, payload), jose.ReasonMalformed},
		{"alg a list", with(map[string]any{"alg": []string{"RS256"}}), jose.ReasonMalformed},
		{"rs256", with(map[string]any{"alg": "rs256"}), jose.ReasonAlgorithm},
		{"alg with NUL", with(map[string]any{"alg": "RS256\x00"}), jose.ReasonAlgorithm},
		{"Alg", sign(strings.Replace(header, "alg", "Alg", 1), payload), jose.ReasonMalformed},
		{"no signature", parts[0] + "." + parts[1] + ".", jose.ReasonSignature},

		// 50
		{"HS256 with the PEM", hmacWith(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), jose.ReasonAlgorithm},
		{"HS256 with the DER", hmacWith(der), jose.ReasonAlgorithm},
		{"HS256 with n", hmacWith([]byte(base64.RawURLEncoding.EncodeToString(rsaPublic.N.Bytes()))), jose.ReasonAlgorithm},
		{"PS256 by the key of RS256", must[string](t)(d.SignText("RS256", edited(t, header, map[string]any{"alg": "PS256"}), payload)), jose.ReasonAlgorithm},

		// 51
		{"jwk with the own key", forge(map[string]any{"jwk": jwk}), jose.ReasonSignature},
		{"jwk and its kid", forge(map[string]any{"jwk": jwk, "kid": "evil"}), jose.ReasonUnknownKey},
		{"jku", forge(map[string]any{"jku": "https://attacker.example/jwks"}), jose.ReasonSignature},
		{"x5u", forge(map[string]any{"x5u": "https://attacker.example/cert"}), jose.ReasonSignature},
		{"x5c", forge(map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(der)}}), jose.ReasonSignature},
		{"jwk in a good token", with(map[string]any{"jwk": jwk, "jku": "https://attacker.example/", "x5c": []string{}}), ""},
		{"kid with escapes", with(map[string]any{"kid": "\x1b[31m\r\n" + strings.Repeat("k", 5000)}), jose.ReasonUnknownKey},
		{"kid a number", with(map[string]any{"kid": 1}), jose.ReasonMalformed},
		{"crit", with(map[string]any{"crit": []string{"exp"}}), jose.ReasonUnsupported},
		{"zip", with(map[string]any{"zip": "DEF"}), jose.ReasonUnsupported},

		// 52
		{"expired and forged", broken(claim(map[string]any{"exp": at(-time.Hour)})), jose.ReasonSignature},
		{"another issuer's and forged", broken(claim(map[string]any{"iss": "https://attacker.example"})), jose.ReasonSignature},
		{"no JSON and forged", broken(sign(header, "x")), jose.ReasonSignature},

		// 53
		{"empty", "", jose.ReasonMalformed},
		{"1 MB of dots", strings.Repeat(".", 1<<20), jose.ReasonMalformed},
		{"16 KiB of dots", strings.Repeat(".", maxJWS), jose.ReasonMalformed},
		{"long", good + strings.Repeat("A", maxJWS), jose.ReasonMalformed},
		{"one part", parts[0], jose.ReasonMalformed},
		{"four parts", good + ".x", jose.ReasonMalformed},
		{"two dots", "..", jose.ReasonMalformed},

		// 54
		{"five parts", good + ".x.y", jose.ReasonUnsupported},
		{"JWE header", sign(`{"alg":"RS256","enc":"A256GCM"}`, payload), jose.ReasonUnsupported},
		{"JSON serialization", fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]), jose.ReasonUnsupported},
		{"general JSON serialization", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, parts[1], parts[0], parts[2]), jose.ReasonUnsupported},

		// 56, what is not of an algorithm
		{"padding", good + "==", jose.ReasonMalformed},
		{"newline at the end", good + "\n", jose.ReasonMalformed},
		{"newline inside", good[:20] + "\n" + good[20:], jose.ReasonMalformed},
		{"CR inside the signature", good[:len(good)-9] + "\r" + good[len(good)-9:], jose.ReasonMalformed},
		{"space before", " " + good, jose.ReasonMalformed},
		{"standard base64", b64(header) + "." + parts[1] + "." + "+/+/", jose.ReasonMalformed},
		{"spare bits", spare, jose.ReasonMalformed},
		{"Bearer", "Bearer " + good, jose.ReasonMalformed},
		{"alg twice", sign(strings.Replace(header, "{", `{"alg":"none",`, 1), payload), jose.ReasonMalformed},
		{"exp twice", sign(header, strings.Replace(payload, "{", `{"exp":9999999999,`, 1)), jose.ReasonMalformed},
		{"exp twice, one escaped", sign(header, strings.Replace(payload, "{", `{"\u0065xp":9999999999,`, 1)), jose.ReasonMalformed},
		{"BOM", sign("\ufeff"+header, payload), jose.ReasonMalformed},
		{"not UTF-8", sign(header, strings.Replace(payload, "app", "a\xffp", 1)), jose.ReasonMalformed},
		{"deep payload", sign(header, strings.Repeat("[", 9000)), jose.ReasonMalformed},

		// 57
		{"iss a list", claim(map[string]any{"iss": []string{d.Issuer()}}), jose.ReasonBadClaim},
		{"iss with a slash", claim(map[string]any{"iss": d.Issuer() + "/"}), jose.ReasonIssuer},
		{"iss in capitals", claim(map[string]any{"iss": strings.ToUpper(d.Issuer())}), jose.ReasonIssuer},
		{"aud null", claim(map[string]any{"aud": json.RawMessage("null")}), jose.ReasonBadClaim},
		{"aud a list with ours", claim(map[string]any{"aud": []string{testDSI}}), jose.ReasonBadClaim},
		{"aud another source", claim(map[string]any{"aud": testDSI + "0"}), jose.ReasonAudience},
		{"aud without the variant", claim(map[string]any{"aud": strings.Replace(testDSI, ":variant", "", 1)}), jose.ReasonAudience},
		{"aud in capitals", claim(map[string]any{"aud": strings.ToUpper(testDSI)}), jose.ReasonAudience},
		{"aud our second source", claim(map[string]any{"aud": "dpp://other@dataspace.example/X"}), ""},
		{"expired", claim(map[string]any{"exp": at(-2 * time.Minute)}), jose.ReasonExpired},
		{"expired within the leeway", claim(map[string]any{"exp": at(-30 * time.Second)}), ""},
		{"nbf ahead", claim(map[string]any{"nbf": at(2 * time.Minute)}), jose.ReasonNotYetValid},
		{"nbf within the leeway", claim(map[string]any{"nbf": at(30 * time.Second)}), ""},
		{"iat ahead", claim(map[string]any{"iat": at(2 * time.Minute)}), jose.ReasonNotYetValid},
		{"iat within the leeway", claim(map[string]any{"iat": at(30 * time.Second)}), ""},
		{"sub a number", claim(map[string]any{"sub": 1}), jose.ReasonBadClaim},
	}
	add := func(reason, name, text string) {
		tests = append(tests, struct{ name, text, reason string }{name, text, reason})
	}
	for _, alg := range []string{"None", "nONE", "NONE"} {
		add(jose.ReasonAlgorithm, alg, unsigned(`{"alg":"`+alg+`"}`)+parts[2])
	}
	for _, kid := range []any{nil, "", "../../dev/null", "' OR 1=1 --"} {
		add(jose.ReasonUnknownKey, fmt.Sprint("kid ", kid), with(map[string]any{"kid": kid}))
	}
	for _, more := range []map[string]any{{"crit": []string{}}, {"b64": false, "crit": []string{"b64"}}, {"b64": false}} {
		add(jose.ReasonUnsupported, fmt.Sprint(more), with(more))
	}
	for _, text := range []string{"[]", "null", header + header} {
		add(jose.ReasonMalformed, "header "+text, sign(text, payload))
	}
	for _, text := range []string{"[]", ""} {
		add(jose.ReasonMalformed, "payload "+text, sign(header, text))
	}
	for _, name := range []string{"iss", "aud", "exp", "iat", "sub"} {
		add(jose.ReasonMissingClaim, "no "+name, claim(map[string]any{name: nil}))
	}
	for value, reason := range map[string]string{
		fmt.Sprintf("%d.75", at(time.Hour)): "", "4.1e9": "", "0": jose.ReasonExpired, fmt.Sprintf(`"%d"`, at(time.Hour)): jose.ReasonBadClaim,
		"-1": jose.ReasonBadClaim, huge: jose.ReasonBadClaim, "1e999": jose.ReasonBadClaim, "null": jose.ReasonBadClaim, "true": jose.ReasonBadClaim, "[9999999999]": jose.ReasonBadClaim,
	} {
		add(reason, "exp "+value, raw("exp", value))
	}
	add(jose.ReasonBadClaim, "nbf a text", raw("nbf", `"0"`))
	add(jose.ReasonBadClaim, "iat null", raw("iat", "null"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantVerdict(t, v, tt.text, tt.reason) })
	}
	if n := d.Requests(); n > 4 {
		t.Errorf("%d requests were made, and each fetch takes 2", n)
	}
}

func TestClaimsOfAGoodTokenAreGivenAsTheyStand(t *testing.T) {
	s, client := startWithClient(t)
	v := openIOXIO(t, s, client, nil)
	text := must[string](t)(s.Dataspace().Sign("RS256", nil, map[string]any{"aud": testDSI, "big": json.Number("9007199254740993")}))
	claims := wantVerdict(t, v, text, "").Claims
	if claims["sub"] != "user" || claims["aud"] != testDSI || fmt.Sprint(claims["big"]) != "9007199254740993" {
		t.Errorf("claims are %v", claims)
	}
}

// Case 53.
func TestAHugeTokenCostsNothing(t *testing.T) {
	s, client := startWithClient(t)
	v := openIOXIO(t, s, client, nil)
	for _, text := range []string{strings.Repeat(".", 1<<20), strings.Repeat("A", 100<<20)} {
		r := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				wantVerdict(t, v, text, jose.ReasonMalformed)
			}
		})
		if took := time.Duration(r.NsPerOp()); took > 10*time.Millisecond || r.AllocedBytesPerOp() > 1<<20 {
			t.Errorf("%d bytes took %v and %d bytes", len(text), took, r.AllocedBytesPerOp())
		}
	}
}

func signatureOf(t *testing.T, text string) []byte {
	t.Helper()
	return must[[]byte](t)(base64.RawURLEncoding.DecodeString(text[strings.LastIndexByte(text, '.')+1:]))
}

// resigned replaces the signature of a token.
func resigned(text string, signature []byte) string {
	return text[:strings.LastIndexByte(text, '.')+1] + base64.RawURLEncoding.EncodeToString(signature)
}

// Case 56.
func TestMalformedSignatures(t *testing.T) {
	s := startIssuers(t)
	o := s.OpenID()
	v := openOpenID(t, o, clientFor(t, s.CertPEM()), nil)
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			text := must[string](t)(o.Sign(algorithm, nil, map[string]any{"aud": "https://api.example"}))
			wantVerdict(t, v, text, "")
			good := signatureOf(t, text)
			other := signatureOf(t, must[string](t)(o.Sign(algorithm, nil, map[string]any{"aud": "x"})))
			size := len(good)
			flipped := append([]byte{good[0] ^ 1}, good[1:]...)
			bad := map[string][]byte{
				"nothing":        {},
				"one byte short": good[:size-1],
				"one byte more":  append(append([]byte{}, good...), 0),
				"a zero before":  append([]byte{0}, good...),
				"all zero":       make([]byte, size),
				"all ones":       []byte(strings.Repeat("\xff", size)),
				"a flipped bit":  flipped,
				"twice":          append(append([]byte{}, good...), good...),
				"another text's": other,
			}
			public, _ := o.PublicKey(algorithm)
			switch public := public.(type) {
			case *rsa.PublicKey: // the same number modulo n
				if sum := new(big.Int).Add(new(big.Int).SetBytes(good), public.N); sum.BitLen() <= 8*size {
					bad["plus n"] = sum.FillBytes(make([]byte, size))
				}
			case *ecdsa.PublicKey:
				r, s := new(big.Int).SetBytes(good[:size/2]), new(big.Int).SetBytes(good[size/2:])
				n := public.Curve.Params().N
				pair := func(r, s *big.Int) []byte {
					return append(r.FillBytes(make([]byte, size/2)), s.FillBytes(make([]byte, size/2))...)
				}
				bad["DER"] = must[[]byte](t)(asn1.Marshal(struct{ R, S *big.Int }{r, s}))
				bad["r 0"], bad["s 0"] = pair(new(big.Int), s), pair(r, new(big.Int))
				bad["r n"], bad["s n"] = pair(n, s), pair(r, n)
				bad["s and r"] = pair(s, r)
				wantVerdict(t, v, resigned(text, pair(r, new(big.Int).Sub(n, s))), "") // high and low s are equally good
			case ed25519.PublicKey: // S plus the group's order, which RFC 8032 §5.1.7 refuses
				order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
				reversed := func(b []byte) []byte {
					out := make([]byte, len(b))
					for i := range b {
						out[len(b)-1-i] = b[i]
					}
					return out
				}
				sum := new(big.Int).Add(new(big.Int).SetBytes(reversed(good[32:])), order)
				bad["S not canonical"] = append(append([]byte{}, good[:32]...), reversed(sum.FillBytes(make([]byte, 32)))...)
			}
			for name, signature := range bad {
				t.Run(name, func(t *testing.T) { wantVerdict(t, v, resigned(text, signature), jose.ReasonSignature) })
			}
		})
	}
}

// Case 50.
func TestAnAlgorithmIsBoundToItsKey(t *testing.T) {
	s, client := startWithClient(t)
	o := s.OpenID()
	v := openOpenID(t, o, client, nil)
	aud := map[string]any{"aud": "https://api.example"}
	// Each signed properly by an RSA key, with the kid of another's.
	for _, other := range []string{"PS256", "ES256", "EdDSA"} {
		_, kid := o.PublicKey(other)
		wantVerdict(t, v, must[string](t)(o.Sign("RS256", map[string]any{"kid": kid}, aud)), jose.ReasonAlgorithm)
	}
	// EdDSA by its newer name (RFC 9864) is another algorithm.
	o.AddKey("Ed25519")
	v = openOpenID(t, o, client, nil)
	wantVerdict(t, v, must[string](t)(o.Sign("Ed25519", nil, aud)), "")
	wantVerdict(t, v, must[string](t)(o.Sign("Ed25519", map[string]any{"alg": "EdDSA"}, aud)), jose.ReasonAlgorithm)
	wantVerdict(t, openOpenID(t, o, client, map[string]any{"algorithms": []string{"EdDSA"}}), must[string](t)(o.Sign("Ed25519", nil, aud)), jose.ReasonAlgorithm)
	wantVerdict(t, v, must[string](t)(o.Sign("RS256", map[string]any{"alg": "RS512"}, aud)), jose.ReasonAlgorithm)
	wantVerdict(t, openOpenID(t, o, client, map[string]any{"algorithms": []string{"ES256"}}), must[string](t)(o.NewToken("https://api.example")), jose.ReasonAlgorithm)
}

func TestAnyIssuerWithMetadata(t *testing.T) {
	s, client := startWithClient(t)
	for name, o := range map[string]*providertest.OpenID{"OpenID": s.OpenID(), "RFC 8414": s.RFC8414()} {
		t.Run(name, func(t *testing.T) {
			v := openOpenID(t, o, client, map[string]any{"audiences": []string{"a", "b"}})
			sign := func(header, claims map[string]any) string { return must[string](t)(o.Sign("RS256", header, claims)) }
			for _, aud := range []any{"a", "b", []string{"b"}, []string{"x", "a"}} {
				wantVerdict(t, v, sign(nil, map[string]any{"aud": aud}), "")
			}
			for _, aud := range []any{"", "c", []string{}, []string{"c"}, "a b", "A"} {
				wantVerdict(t, v, sign(nil, map[string]any{"aud": aud}), jose.ReasonAudience)
			}
			for _, aud := range []any{1, true, map[string]any{"a": "a"}, []any{"a", 1}, []any{"a", nil}} {
				wantVerdict(t, v, sign(nil, map[string]any{"aud": aud}), jose.ReasonBadClaim)
			}
			wantVerdict(t, v, sign(map[string]any{"kid": nil}, map[string]any{"aud": "a"}), "") // it has one key for RS256
			o.AddKey("RS256")
			wantVerdict(t, openOpenID(t, o, client, nil), sign(map[string]any{"kid": nil}, map[string]any{"aud": "https://api.example"}), jose.ReasonUnknownKey)

			typed := openOpenID(t, o, client, map[string]any{"typ": "at+jwt"})
			wantVerdict(t, typed, sign(nil, map[string]any{"aud": "https://api.example"}), jose.ReasonUnsupported)
			for _, typ := range []string{"at+jwt", "AT+JWT", "application/at+jwt"} {
				wantVerdict(t, typed, sign(map[string]any{"typ": typ}, map[string]any{"aud": "https://api.example"}), "")
			}
			if _, err := v.Verify(t.Context(), token.Presented{Token: secret("x"), Remote: true}); !errors.Is(err, token.ErrInvalid) {
				t.Errorf("remote: %v", err)
			}
		})
	}
}

func TestTheGatewayIsAsked(t *testing.T) {
	s, client := startWithClient(t)
	d := s.Dataspace()
	v := openIOXIO(t, s, client, nil)
	good := must[string](t)(d.NewToken(testDSI))
	for _, tt := range []struct {
		name, text, reason string
		fault              providertest.Fault
		requests           int
	}{
		{"good", good, "", nil, 1},
		{"expired", must[string](t)(d.Sign("RS256", nil, map[string]any{"aud": testDSI, "exp": 1})), jose.ReasonGateway, nil, 1},
		{"forbidden", good, jose.ReasonGateway, providertest.Status(403, ""), 1},
		{"another source's", must[string](t)(d.NewToken(testDSI + "0")), jose.ReasonAudience, nil, 0},
		{"nonsense", "x", jose.ReasonMalformed, nil, 0},
		{"no JSON", must[string](t)(d.SignText("RS256", `{"alg":"RS256"}`, "x")), jose.ReasonMalformed, nil, 0},
		{"outage", good, "-", providertest.Status(503, "30"), 1},
		{"rate limit", good, "-", providertest.Status(429, ""), 1},
		{"redirect", good, "-", providertest.Redirect(307, s.URL()+"/x"), 1},
		{"a page with status 200", good, "-", providertest.Answer(200, "text/html", "<html>Log in</html>"), 1},
		{"no verdict", good, "-", providertest.Answer(200, "application/json", `{"valid":"true"}`), 1},
		{"a bad verdict with status 200", good, jose.ReasonGateway, providertest.Answer(200, "application/json", `{"valid":false}`), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d.Fail(tt.fault)
			defer d.Heal()
			before := d.Requests()
			got, err := v.Verify(t.Context(), token.Presented{Token: secret(tt.text), Remote: true})
			if n := d.Requests() - before; n != tt.requests {
				t.Errorf("%d requests", n)
			}
			if tt.reason == "-" {
				if !errors.Is(err, token.ErrUnavailable) || strings.Contains(err.Error(), good) {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if err != nil || got.Reason != tt.reason || got.Valid != (tt.reason == "") || got.Valid && got.Claims["aud"] != testDSI {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	// Without the setting, the dataspace's configuration names the gateway.
	found := openIOXIO(t, s, client, map[string]any{"gateway": ""})
	if got, err := found.Verify(t.Context(), token.Presented{Token: secret(good), Remote: true}); err != nil || !got.Valid {
		t.Errorf("the configuration's gateway: %+v, %v", got, err)
	}
	d.Lack("product_gateway_url")
	if _, err := found.Verify(t.Context(), token.Presented{Token: secret(good), Remote: true}); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("without a gateway: %v", err)
	}
	check(t, s.Stop())
	if _, err := v.Verify(t.Context(), token.Presented{Token: secret(good), Remote: true}); !errors.Is(err, token.ErrUnavailable) {
		t.Errorf("while it is down: %v", err)
	}
}

func TestConsentTokens(t *testing.T) {
	s, client := startWithClient(t)
	d := s.Dataspace()
	const another = "dpp://other@dataspace.example/X" // the profile's second source
	good := must[string](t)(d.NewToken(testDSI))
	consent := func(changes map[string]any) string { return must[string](t)(d.NewConsent(testDSI, changes)) }
	optional, required := openIOXIO(t, s, client, nil), openIOXIO(t, s, client, map[string]any{"require_consent": true})
	cases := map[string]struct{ token, consent, optional, required string }{
		"good":                     {good, consent(nil), "", ""},
		"none":                     {good, "", "", jose.ReasonConsent},
		"a bad API token":          {"x", consent(nil), jose.ReasonMalformed, jose.ReasonMalformed},
		"nonsense":                 {good, "x", jose.ReasonConsent, jose.ReasonConsent},
		"the API token":            {good, good, jose.ReasonConsent, jose.ReasonConsent},
		"in place of an API token": {consent(nil), consent(nil), jose.ReasonUnknownKey, jose.ReasonUnknownKey},
		"another source":           {good, must[string](t)(d.NewConsent(testDSI+"0", nil)), jose.ReasonConsent, jose.ReasonConsent},
		"our second source":        {good, must[string](t)(d.NewConsent(another, nil)), jose.ReasonConsent, jose.ReasonConsent},
		"both our second source":   {must[string](t)(d.NewToken(another)), must[string](t)(d.NewConsent(another, nil)), "", ""},
		"another issuer":           {good, consent(map[string]any{"iss": d.Issuer()}), jose.ReasonConsent, jose.ReasonConsent},
		"aud, not dsi":             {good, consent(map[string]any{"dsi": nil, "aud": testDSI}), jose.ReasonConsent, jose.ReasonConsent},
		"expired":                  {good, consent(map[string]any{"exp": 1}), jose.ReasonConsent, jose.ReasonConsent},
	}
	for _, name := range []string{"sub", "subiss", "acr", "app", "appiss", "iat"} {
		missing := cases["expired"]
		missing.consent = consent(map[string]any{name: nil})
		cases["no "+name] = missing
	}
	for name, tt := range cases {
		for v, want := range map[*ioxio]string{optional: tt.optional, required: tt.required} {
			for _, remote := range []bool{false, true} {
				if remote && name == "in place of an API token" {
					continue // the gateway is not even asked
				}
				got, err := v.Verify(t.Context(), token.Presented{Token: secret(tt.token), Consent: secret(tt.consent), Remote: remote})
				if err != nil || got.Reason != want || got.Valid != (want == "") || (got.Consent["sub"] == "person") != (want == "" && tt.consent != "") || got.Valid == (got.Message != "") {
					t.Errorf("%s, remote %v: %+v (%v), want %q", name, remote, got, err, want)
				}
			}
		}
	}
	// An outage of the consent provider is no verdict, nor a page in its place.
	heir := openIOXIO(t, s, client, nil)
	d.Consents().Fail(providertest.Status(503, ""))
	shown := token.Presented{Token: secret(good), Consent: secret(consent(nil))}
	if got, err := heir.Verify(t.Context(), shown); !errors.Is(err, token.ErrUnavailable) {
		t.Errorf("the consent provider is down: %+v, %v", got, err)
	}
	heir = openIOXIO(t, s, client, nil)
	if heir.Inherit(optional); must[token.Verdict](t)(heir.Verify(t.Context(), shown)).Consent["sub"] != "person" {
		t.Error("the keys of consents were not inherited")
	}
	// Nor does any other dataspace's provider count.
	d.Consents().Fail(providertest.Answer(200, "application/json", `{"issuer":"https://attacker.example","jwks_uri":"https://attacker.example/jwks"}`))
	if got, err := openIOXIO(t, s, client, nil).Verify(t.Context(), shown); !errors.Is(err, token.ErrUnavailable) {
		t.Errorf("another provider's configuration: %+v, %v", got, err)
	}
	d.Consents().Heal()
	d.Lack("consent_providers")
	if got, err := openIOXIO(t, s, client, nil).Verify(t.Context(), shown); err != nil || got.Reason != jose.ReasonConsent {
		t.Errorf("a dataspace without consents: %+v, %v", got, err)
	}
	if got, err := openOpenID(t, s.OpenID(), client, nil).Verify(t.Context(), shown); err != nil || got.Reason != jose.ReasonConsent {
		t.Errorf("another issuer's profile: %+v, %v", got, err)
	}
}

// What add looks at.
func TestLook(t *testing.T) {
	s, client := startWithClient(t)
	d := s.Dataspace()
	look := func(more map[string]any) string {
		settings := map[string]any{"gateway": "", "dsi": []string{"dpp://a@127.0.0.1/X"}}
		maps.Copy(settings, more)
		found, err := openIOXIO(t, s, client, settings).Look(t.Context())
		if err != nil {
			return err.Error()
		}
		return strings.Join(found, "; ")
	}
	wants := func(name, got, want string) {
		t.Helper()
		if got != strings.ReplaceAll(want, "URL", d.Issuer()) {
			t.Errorf("%s: %s", name, got)
		}
	}
	wants("all", look(nil), "keys of URL: 1; product gateway: URL/gateway")
	wants("consents", look(map[string]any{"require_consent": true}), "keys of URL: 1; product gateway: URL/gateway; keys of the consent provider of URL: 1")
	wants("another dataspace's source", look(map[string]any{"dsi": []string{"dpp://a@ioxio.io/X"}}), `dpp://a@ioxio.io/X belongs to another dataspace than URL, whose domain is "127.0.0.1"`)
	d.Lack("jwks_url", "product_gateway_url", "consent_providers")
	wants("keys of the metadata for API Management", look(nil), "keys of URL: 1; product gateway: none")
	wants("no consents", look(map[string]any{"require_consent": true}), "the consent provider of URL publishes no key that can verify these tokens")
	d.Lack()
	d.DropKey()
	wants("no keys", look(nil), "URL publishes no key that can verify these tokens")
	d.Fail(providertest.Status(404, ""))
	wants("nothing", look(nil), "URL/.well-known/dataspace/dataspace-configuration.json answered 404 Not Found")
	found, err := openOpenID(t, s.OpenID(), client, nil).Look(t.Context())
	wants("any issuer", fmt.Sprint(found, err), "[keys of "+s.OpenID().Issuer()+": 6] <nil>")
}

func TestVerifierSettings(t *testing.T) {
	for _, tt := range []struct {
		kind, field string
		good        bool
		values      []any
	}{
		{"ioxio", "dataspace", false, []any{"http://dataspace.example", "https://dataspace.example/", "https://user@dataspace.example", "https://dataspace.example?x", "https://dataspace.example#", "https://"}},
		{"ioxio", "gateway", false, []any{"http://gateway.example", "https://gateway.example/"}},
		{"ioxio", "dsi", false, []any{[]string{}, []string{"dpp://group@dataspace.example/A", "https://x"}, []string{"dpp://group@dataspace.example/"},
			[]string{"dpp://@dataspace.example/A"}, []string{"dpp://group:@dataspace.example/A"}, []string{"dpp://group@dataspace.example/A b"}}},
		{"ioxio", "dsi", true, []any{[]string{"dpp://group:variant@ioxio.io/Weather/Current/Metric_v1.0", "dpp://group@ioxio.io/A"}}},
		{"ioxio", "leeway", true, []any{"5m"}},
		{"ioxio", "leeway", false, []any{"301s"}},
		{"ioxio", "user_agent", false, []any{""}},
		{"jwt-verify", "issuer", true, []any{"https://tenant.example/"}},
		{"jwt-verify", "issuer", false, []any{"http://tenant.example"}},
		{"jwt-verify", "audiences", false, []any{[]string{""}, []string{}}},
		{"jwt-verify", "algorithms", false, []any{[]string{"HS256"}, []string{"none"}}},
		{"jwt-verify", "leeway", false, []any{"6m"}},
	} {
		for _, value := range tt.values {
			_, err := opens(tt.kind, changed(t, tt.kind, tt.field, value))
			if e := errorOf(err); (err == nil) != tt.good || err != nil && (e.Field != tt.field || e.Code != token.ErrInvalid) {
				t.Errorf("%s, %s = %q: %v", tt.kind, tt.field, value, err)
			}
		}
	}
	for _, kind := range []string{"ioxio", "jwt-verify"} {
		k, _ := Lookup(kind)
		if err := k.Prepare(&token.CreateProfile{Secrets: map[string]token.Secret{"private_key": secret("x")}}); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s takes a secret: %v", kind, err)
		}
	}
}
