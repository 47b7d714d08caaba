package providers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokend/packaging/checktest"
	"tokend/providers/fixturetest"
	"tokend/providers/jose"
	"tokend/providers/strictjson"
	"tokend/providers/token"
)

const datarockExample = "https://mine.datarock.com.au/some-api?projectUuid=0ccf3042-de5e-41b5-b344-e1366916d06f"

func TestRequestHashIsThatOfDatarocksExample(t *testing.T) {
	const want = "54e387bb0db4cc441d720b044d0a904626821e972545e50fdbe9eb646c1dcb87a2e8a8f7b4455999e8243dd879c1eca1cfdc7c2ed6b015f7380f26bf4a062493"
	if got := requestHash("testuser@datarock.com.au", time.Unix(1679292000, 0), datarockExample); got != want {
		t.Errorf("got %s", got)
	}
}

// openDatarock opens a profile as `tokenctl add` does; the result has the public
// key too.
func openDatarock(t testing.TB, settings map[string]any, secrets map[string]token.Secret) (*datarock, token.CreateProfile) {
	t.Helper()
	all := map[string]any{"email": "user@example.org"}
	maps.Copy(all, settings)
	opened, a := add(t, "datarock", http.DefaultClient, all, secrets)
	return opened.(*datarock), a
}

func signed(t testing.TB, d *datarock, target string) (token.Signed, string) {
	t.Helper()
	s, err := d.Sign(t.Context(), token.Request{URL: target})
	check(t, err)
	return s, s.Headers[0].Value.Reveal()
}

// askDatarock sends a request with these headers, and returns the status.
func askDatarock(t *testing.T, client *http.Client, target string, headers []token.Header) int {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequest(http.MethodGet, target, nil))
	for _, h := range headers {
		req.Header.Set(h.Name, h.Value.Reveal())
	}
	res := must[*http.Response](t)(client.Do(req))
	res.Body.Close()
	return res.StatusCode
}

func TestDatarockAcceptsASignedRequest(t *testing.T) {
	s, client := startWithClient(t)
	d, a := openDatarock(t, nil, nil)
	ask := func(target string, headers []token.Header) int { return askDatarock(t, client, target, headers) }
	check(t, s.Datarock().Register("user@example.org", a.Settings["public_key"].(string)))
	for _, path := range []string{"", "a?b=2&a=1", "a?b=1&b=0&a", "a%2Fb/%C3%A9?q=a+b%20c&e=&=x", "?", "#f", "x?&&z=1&y=2&#f"} {
		r, _ := signed(t, d, s.Datarock().APIURL()+path)
		if status := ask(r.URL, r.Headers); status != http.StatusOK {
			t.Errorf("%q signed as %q: %d: %s", path, r.URL, status, s.Datarock().Refusal())
		}
	}
	r, _ := signed(t, d, s.Datarock().APIURL()+"a?x=1")
	for target, want := range map[string]string{
		s.Datarock().APIURL() + "a?x=2":    "requestHash is not that of this request",
		s.Datarock().APIURL() + "a?x=1&y=": "requestHash is not that of this request",
		s.Datarock().APIURL() + "b?x=1":    "requestHash is not that of this request",
	} {
		if status := ask(target, r.Headers); status != http.StatusUnauthorized || s.Datarock().Refusal() != want {
			t.Errorf("%s: %d, %s", target, status, s.Datarock().Refusal())
		}
	}
	// Another key for the account takes the place of the first.
	_, next := openDatarock(t, nil, nil)
	check(t, s.Datarock().Register("user@example.org", next.Settings["public_key"].(string)))
	if status := ask(r.URL, r.Headers); status != http.StatusUnauthorized {
		t.Errorf("the old key is still good: %d", status)
	}
}

func TestDatarocksWindow(t *testing.T) {
	s := startIssuers(t)
	d, a := openDatarock(t, nil, nil)
	check(t, s.Datarock().Register("user@example.org", a.Settings["public_key"].(string)))
	synctest.Test(t, func(t *testing.T) {
		client := fixturetest.InProcess(s.Handler())
		r, _ := signed(t, d, s.Datarock().APIURL())
		if !r.Issued.Equal(time.Now()) {
			t.Errorf("signed at %v, which is %v", r.Issued, time.Now())
		}
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 200}, {5 * time.Minute, 200}, {time.Second, 401}} {
			time.Sleep(step.wait)
			if status := askDatarock(t, client, r.URL, r.Headers); status != step.want {
				t.Errorf("after %v: %d, %s", step.wait, status, s.Datarock().Refusal())
			}
		}
	})
}

func TestDatarockSignaturesHaveTheTwoClaimsAlone(t *testing.T) {
	d, _ := openDatarock(t, nil, nil)
	s, text := signed(t, d, datarockExample+"#f")
	claims := claimsOf(t, text)
	if len(claims) != 2 {
		t.Fatalf("claims are %v", claims)
	}
	if claims["iat"] != float64(s.Issued.Unix()) || claims["requestHash"] != requestHash("user@example.org", s.Issued, s.URL) {
		t.Errorf("claims are %v", claims)
	}
	if headerOf(t, text)["alg"] != "RS256" || s.URL != datarockExample || s.Headers[1].Name != "x-api-user" || s.Headers[1].Value.Reveal() != "user@example.org" {
		t.Errorf("got %+v", s)
	}
}

func TestDatarockKeys(t *testing.T) {
	d, a := openDatarock(t, map[string]any{"key_bits": "4096"}, nil)
	if d.public.N.BitLen() != 4096 {
		t.Errorf("made a key of %d bits", d.public.N.BitLen())
	}
	again, b := openDatarock(t, nil, map[string]token.Secret{"private_key": a.Secrets["private_key"]})
	if !again.public.Equal(d.public) || b.Settings["public_key"] != a.Settings["public_key"] {
		t.Error("an existing key was not taken")
	}
	for _, bits := range []any{2048, int64(2048), 2048.0, "2048"} {
		if d, _ := openDatarock(t, map[string]any{"key_bits": bits}, nil); d.public.N.BitLen() != 2048 {
			t.Errorf("key_bits %v: %d bits", bits, d.public.N.BitLen())
		}
	}
	if !d.RotatesInSteps() || !token.Covers(d.Hosts(), "https://api.prod.datarock.com.au/v3/projects") {
		t.Errorf("hosts are %v", d.Hosts())
	}
}

func TestDatarockRefusesWhatCannotWork(t *testing.T) {
	kind, _ := Lookup("datarock")
	ec := `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----`
	for _, c := range []struct {
		settings map[string]any
		secrets  map[string]token.Secret
		field    string
	}{
		{map[string]any{"key_bits": 1024}, nil, "key_bits"},
		{map[string]any{"key_bits": "many"}, nil, "key_bits"},
		{nil, map[string]token.Secret{"private_key": secret(ec)}, "private_key"},
		{nil, map[string]token.Secret{"client_secret": secret("x")}, "client_secret"},
	} {
		a := token.CreateProfile{Settings: c.settings, Secrets: c.secrets}
		if e := errorOf(kind.Prepare(&a)); e.Field != c.field || e.Code != token.ErrInvalid {
			t.Errorf("%v: %v", c.settings, e)
		}
	}
	_, a := openDatarock(t, nil, nil)
	for field, bad := range map[string][]any{
		"email":      {"", "user", "@x", "a b@example.org", "a@b/c", "ä@example.org", "a@b\r\nX: y"},
		"key_bits":   {1024, "x"},
		"public_key": {"", "x", ec},
	} {
		for _, value := range bad {
			with := map[string]any{"email": "user@example.org", "public_key": a.Settings["public_key"]}
			with[field] = value
			if _, err := opens("datarock", with); err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%s = %q: %v", field, value, err)
			}
		}
	}
	d, _ := openDatarock(t, nil, nil)
	other, _ := openDatarock(t, nil, nil)
	for _, target := range []string{"https://h.example/a b", ""} {
		_, err := d.Sign(t.Context(), token.Request{URL: target})
		if e := errorOf(err); e.Field != "url" || e.Code != token.ErrInvalid {
			t.Errorf("%q: %v", target, err)
		}
	}
	d.env = other.env
	if _, err := d.Sign(t.Context(), token.Request{URL: datarockExample}); err == nil || !strings.HasPrefix(err.Error(), "public_key does not belong to") {
		t.Errorf("with another key: %v", err)
	}
}

// independents returns the programs that sign and verify as Datarock does
// (testdata/datarock.*) and that this machine can run; in full it must run both.
func independents(t *testing.T) (have [][]string) {
	for _, i := range []struct{ program, probe, try, script string }{
		{"node", "-e", `require("jsonwebtoken")`, "testdata/datarock.js"},
		{"/usr/bin/python3", "-c", "import jwt, cryptography", "testdata/datarock.py"},
	} {
		if exec.Command(i.program, i.probe, i.try).Run() == nil {
			have = append(have, []string{i.program, i.script})
		} else if checktest.Full() {
			t.Fatalf("%s cannot %s; packaging/check.sh installs it", i.program, i.try)
		}
	}
	if len(have) == 0 {
		checktest.Unable(t, "neither Node's jsonwebtoken nor Python's PyJWT is installed")
	}
	return have
}

func TestDatarockSignaturesAgreeWithOtherImplementations(t *testing.T) {
	private := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	pemText := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must[[]byte](t)(x509.MarshalPKCS8PrivateKey(private))}))
	d, a := openDatarock(t, nil, map[string]token.Secret{"private_key": secret(pemText)})
	for _, program := range independents(t) {
		run := func(what, pem, target, text string) string {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, program[0], program[1:]...)
			cmd.Stdin = strings.NewReader(strings.Join([]string{what, strings.ReplaceAll(pem, "\n", `\n`), d.email, target, text}, "\n"))
			cmd.Stderr = t.Output()
			return string(must[[]byte](t)(cmd.Output()))
		}
		t.Run(program[1], func(t *testing.T) {
			for _, target := range []string{datarockExample, "https://h.example/?b=2&a=1+1&a=%20&c", "https://h.example:8443/a%2Fb?x=y=z"} {
				s, text := signed(t, d, target)
				if got := run("verify", a.Settings["public_key"].(string), s.URL, text); got != "good" {
					t.Errorf("%s, signed here: %s", s.URL, got)
				}
				now := time.Now().Truncate(time.Second)
				theirs := run("sign", pemText, s.URL, fmt.Sprint(now.Unix()))
				parts := strings.Split(theirs, ".")
				signature := must[[]byte](t)(base64.RawURLEncoding.DecodeString(parts[2]))
				if err := jwt.SigningMethodRS256.Verify(parts[0]+"."+parts[1], signature, private.Public()); err != nil {
					t.Errorf("%s, signed there: %v", s.URL, err)
				}
				m := must[strictjson.Object](t)(jose.Unverified(theirs))
				if len(m) != 2 || string(m["iat"]) != fmt.Sprint(now.Unix()) || m.Text("requestHash") != requestHash(d.email, now, s.URL) {
					t.Errorf("%s, signed there: %s", s.URL, m)
				}
			}
		})
	}
}

func TestCanonicalURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://mine.datarock.com.au/some-api?projectUuid=0ccf3042":   "https://mine.datarock.com.au/some-api?projectUuid=0ccf3042",
		"HTTPS://Mine.Datarock.COM.au":                                 "https://mine.datarock.com.au/",
		"https://h.example:443/a":                                      "https://h.example/a",
		"https://h.example:/a":                                         "https://h.example/a",
		"https://h.example:8443":                                       "https://h.example:8443/",
		"http://127.0.0.1:80/":                                         "http://127.0.0.1/",
		"http://localhost:8080":                                        "http://localhost:8080/",
		"http://[::1]:8080/":                                           "http://[::1]:8080/",
		"https://h.example?b=1&a=2":                                    "https://h.example/?a=2&b=1",
		"https://h.example/?":                                          "https://h.example/",
		"https://h.example/?&&":                                        "https://h.example/",
		"https://h.example/?b&&a=&":                                    "https://h.example/?a=&b",
		"https://h.example/?a=2&b=0&a=1":                               "https://h.example/?a=2&a=1&b=0",
		"https://h.example/?" + strings.Repeat("a=2&b=9&a=1&b=8&", 25): "https://h.example/?" + strings.Repeat("a=2&a=1&", 25) + strings.TrimSuffix(strings.Repeat("b=9&b=8&", 25), "&"),
		"https://h.example/?a=&a":                                      "https://h.example/?a=&a",
		"https://h.example/?ab=1&a=2":                                  "https://h.example/?a=2&ab=1",
		"https://h.example/?a-b=1&a=2":                                 "https://h.example/?a=2&a-b=1",
		"https://h.example/?b=1&B=2&%41=3":                             "https://h.example/?%41=3&B=2&b=1",
		"https://h.example/?q=a+b%20c%2B&a=x=y":                        "https://h.example/?a=x=y&q=a+b%20c%2B",
		"https://h.example/?a=1;b=2":                                   "https://h.example/?a=1;b=2",
		"https://h.example/?x=a/b?c":                                   "https://h.example/?x=a/b?c",
		"https://h.example/A%2fb;v=1/?#f":                              "https://h.example/A%2fb;v=1/",
		"https://h.example#ä ?x":                                       "https://h.example/",
		"https://h.example/it's/..a/.b/...":                            "https://h.example/it's/..a/.b/...",
		"https://xn--bcher-kva.example/b%C3%BCcher":                    "https://xn--bcher-kva.example/b%C3%BCcher",
	} {
		got, _, err := canonicalURL(in)
		if got != want || err != nil {
			t.Errorf("%s\nis %q, %v\nwant %q", in, got, err, want)
		}
	}
}

func TestURLsThatClientsSeeDifferentlyAreRefused(t *testing.T) {
	const encode = ", which must be percent-encoded"
	for want, all := range map[string][]string{
		`the URL must begin with https://, with a host, without a user name, and without "." or ".." in its path`: {
			"", "h.example/a", "ftp://h.example/", "http://h.example/", " https://h.example/", "https:///a", "https://:443/", "https://u@h.example/",
			"https://u:p@h.example/", "https://h.example:443@evil/", "https://h.example/a/../b", "https://h.example/a/.", "https://h.example/%2E%2e/b",
			"https://h.example/a/.%2e?x=/..",
		},
		"the URL's path has the character ' '" + encode:                          {"https://h.example/a b"},
		"the URL's path has the character 'ä'" + encode:                          {"https://h.example/ä"},
		`the URL's path has the character '\n'` + encode:                         {"https://h.example/a\nb"},
		`the URL's path has the character '\\'` + encode:                         {"https://h.example/a\\b"},
		"the URL's path has the character '<'" + encode:                          {"https://h.example/<a>"},
		"the URL's query has the character '['" + encode:                         {"https://h.example/?a[]=1"},
		`the URL's query has the character '"'` + encode:                         {"https://h.example/?a=\"1\""},
		`the URL's query has the character '\''` + encode:                        {"https://h.example/?a='1'"},
		`the URL's query has the character '\x00'` + encode:                      {"https://h.example/?a=\x00"},
		"the URL's query has the character '\ufffd'" + encode:                    {"https://h.example/?a=\xff"},
		`the URL's query has the character '%'` + encode:                         {"https://h.example/?a=100%"},
		`the URL's path has the character '%'` + encode:                          {"https://h.example/%zz"},
		`the URL's path begins with "//", which clients treat in different ways`: {"https://h.example//a", "https://h.example//"},
		"the URL is longer than 16 KiB":                                          {"https://h.example/" + strings.Repeat("a", maxURL)},
	} {
		for _, in := range all {
			if got, _, err := canonicalURL(in); err == nil || err.Error() != want {
				t.Errorf("%q is %q, %v\nwant %q", in, got, err, want)
			}
		}
	}
	for _, host := range []string{"bücher.example", "h.example.", ".h.example", "h..example", "h%2eexample", "-h.example", "127.1", "0x7f.0.0.1", "1.2.3.04", "256.1.1.1",
		"[0:0:0:0:0:0:0:1]", "[::1%25eth0]", "[::ffff:1.2.3.4]", "::1", "[::1", "[1.2.3.4]", "h example", "h\texample", "h\\.example",
		"h.example:0443", "h.example:0", "h.example:655360", "1.2.3.4:0", "1.2.3.4:065"} {
		if got, _, err := canonicalURL("https://" + host + "/"); err == nil {
			t.Errorf("host %q is %q", host, got)
		}
	}
}

func TestWarningsAboutWhatAServiceMayReadDifferently(t *testing.T) {
	for in, want := range map[string]string{
		"https://h.example/?a=1&b=2&a=3":                   `the query has "a" and then "a", and the service may expect another order`,
		"https://h.example/?a=1&%7A=2":                     `the query has "z" and then "a", and the service may expect another order`,
		"https://h.example/?a=1&%61=2":                     `the query has "a" and then "a", and the service may expect another order`,
		"https://h.example/?a%20b&a+b":                     `the query has "a b" and then "a b", and the service may expect another order`,
		"https://h.example/?a=1&B=2":                       `the query has "B" and then "a", and the service may expect another order`,
		"https://h.example/?id=1&ID=2":                     `the query has "ID" and then "id", and the service may expect another order`,
		"https://h.example/?a=1&%42=2&c":                   `the query has "B" and then "a", and the service may expect another order`,
		"https://h.example/?projectId=1&projectUuid=2&A&b": "",
		"https://h.example/?q=%2f&%20=+":                   "",
		"https://h.example/a//b?c=1&d=2":                   "",
	} {
		if _, got, err := canonicalURL(in); got != want || err != nil {
			t.Errorf("%s: %q, %v\nwant %q", in, got, err, want)
		}
	}
}

// What is signed goes over the wire as it is, and is its own canonical form.
func FuzzCanonicalURL(f *testing.F) {
	for _, seed := range []string{"https://h.example/a?b=1&a=2#f", "https://[::1]:8443?x&x=", "http://127.0.0.1/%2e%2e", "https://h.example:443/a;b?c='", "HTTPS://A.B//?&=&a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, _, err := canonicalURL(text)
		if err != nil {
			return
		}
		if again, _, err := canonicalURL(got); again != got || err != nil {
			t.Fatalf("%q becomes %q, and that %q, %v", text, got, again, err)
		}
		req, err := http.NewRequest(http.MethodGet, got, nil)
		if err != nil {
			t.Fatalf("%q cannot be requested: %v", got, err)
		}
		if sent := req.URL.Scheme + "://" + req.URL.Host + req.URL.RequestURI(); sent != got {
			t.Fatalf("%q is sent as %q", got, sent)
		}
		_, query, _ := strings.Cut(got, "?")
		names := []string{}
		for piece := range strings.SplitSeq(query, "&") {
			names = append(names, nameIn(piece))
		}
		if !slices.IsSorted(names) {
			t.Fatalf("%q is not in order", got)
		}
	})
}
