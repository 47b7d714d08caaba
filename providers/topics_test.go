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
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tokend/docs"
	"tokend/providers/fixturetest"
	"tokend/providers/providertest"
	"tokend/providers/token"
)

// ownGroups are the groups of docs/errors.md about errors of this package.
var ownGroups = []string{
	"The issuer cannot be reached", "The issuer answers with something else", "Refusals of any issuer",
	"CLMS", "Microsoft Entra ID", "Aspose", "Datarock", "Tokens that are verified", "Registries",
}

// Every refusal carries a topic that docs/errors.md has, and every topic there
// is reached: this walks all the places where the strict issuers refuse, and
// all other faults that a request can meet.
func TestEveryErrorHasATopicAndEveryTopicAnError(t *testing.T) {
	documented := map[string]docs.Topic{}
	for _, topic := range docs.ErrorTopics() {
		if slices.Contains(ownGroups, topic.Group) {
			for _, name := range topic.Names {
				documented[name] = topic
			}
		}
	}
	reached := map[string]bool{}
	reach := func(what, topic string) {
		t.Helper()
		if _, ok := documented[topic]; !ok {
			t.Errorf("%s: topic %q is not in docs/errors.md", what, topic)
		}
		reached[topic] = true
	}
	reachError := func(err error) { reach(errorOf(err).Message, errorOf(err).Topic) }

	s, client := startWithClient(t)
	minters := map[string]trial{}
	for _, tr := range trials(t, s) {
		if _, first := minters[tr.kind]; !first {
			minters[tr.kind] = tr
		}
	}
	topicOf := func(kind string, fault providertest.Fault) string {
		t.Helper()
		tr := minters[kind]
		tr.issuer.Fail(fault)
		defer tr.issuer.Heal()
		_, err := tr.open(t, client).Mint(t.Context(), token.Target{})
		return errorOf(err).Topic
	}

	clms := inSource(t, "clms.go", `"invalid_(?:request|grant)", "([^"]+)"`, "return [\"`](.+)[\"`]\n")
	for _, text := range append(clms, "JWT issuer doesn't match client_id of service key") { // the key is found by it first
		topic := topicOf("clms", providertest.Refuse(400, "invalid_grant", text))
		reach("CLMS says "+text, topic)
		if !strings.HasPrefix(topic, "clms-") && topic != "clock" {
			t.Errorf("CLMS says %s: topic is %q", text, topic)
		}
	}
	for _, code := range inSource(t, "azure.go", `\t"(\d+)": +\{\d`) {
		topic := topicOf("azure", providertest.AADSTS(code))
		reach("Entra ID says "+code, topic)
		if topic != "AADSTS"+code && code != "900561" { // which a POST does not meet
			t.Errorf("Entra ID says %s: topic is %q", code, topic)
		}
	}
	for kind, codes := range map[string]string{"aspose": `fault = "([a-z_]+)"`, "oauth2": `oauthError\{"([a-z_]+)"`} {
		for _, code := range inSource(t, kind+".go", codes) {
			reach(kind+" says "+code, topicOf(kind, providertest.Refuse(400, code, "")))
		}
	}
	// A program sees these, not tokend, in words that Datarock does not publish.
	for _, name := range []string{"datarock-clock", "datarock-unregistered", "datarock-request"} {
		reach("a page", name)
	}
	for _, reason := range inSource(t, "../jose/verify.go", `Reason[A-Z]\w+ += "(\w+)"`) {
		reach("a verdict", reason)
	}

	answers := map[string]providertest.Fault{
		"redirect":                providertest.Redirect(302, "https://elsewhere.example"),
		"html-answer":             providertest.Answer(200, "text/html", "<form>"),
		"bad-answer":              providertest.Answer(200, "application/json", "{}"),
		"token-type":              providertest.Answer(200, "application/json", `{"access_token":"a"}`),
		"no-endpoint":             providertest.Status(404, ""),
		"blocked":                 providertest.Status(403, ""),
		"rate-limit":              providertest.Status(429, ""),
		"outage":                  providertest.Status(503, ""),
		"temporarily_unavailable": providertest.Refuse(400, "server_error", ""),
		"invalid_grant":           providertest.Refuse(400, "invalid_grant", "words"),
		"invalid_scope":           providertest.Refuse(400, "invalid_scope", ""),
		"unauthorized_client":     providertest.Refuse(400, "unauthorized_client", ""),
		"oauth-error":             providertest.Refuse(400, "something_new", ""),
		"clock": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			providertest.Refuse(400, "invalid_grant", "words")(w, r)
		},
	}
	for want, fault := range answers {
		if got := topicOf("oauth2", fault); got != want {
			t.Errorf("topic is %q, want %q", got, want)
		}
		reach("an answer", want)
	}
	for want, err := range map[string]error{
		"host-not-found":        &net.DNSError{IsNotFound: true},
		"host-lookup":           &net.DNSError{IsTimeout: true},
		"connection-refused":    &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"no-route":              &net.OpError{Op: "dial", Err: syscall.ENETUNREACH},
		"timeout":               context.DeadlineExceeded,
		"connection-closed":     io.ErrUnexpectedEOF,
		"inward-address":        &net.OpError{Op: "dial", Err: errInward},
		"proxy-refused":         refusedByProxy(t.Context(), nil, nil, &http.Response{StatusCode: 407}),
		"proxy-unreachable":     &net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED},
		"tls-unknown-authority": x509.UnknownAuthorityError{},
		"tls-wrong-name":        x509.HostnameError{},
		"tls-expired":           x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{}},
		"tls-not-yet-valid":     x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{NotBefore: time.Now().Add(time.Hour)}},
		"tls-invalid":           &tls.CertificateVerificationError{Err: errors.New("x")},
		"tls-handshake":         &net.OpError{Op: "remote error", Err: errors.New("tls: protocol version not supported")},
		"no-tls":                tls.RecordHeaderError{},
		"no-http":               errors.New("malformed HTTP response"),
	} {
		if got := whyUnreachable(fmt.Errorf("asking: %w", err)); got.topic != want {
			t.Errorf("%v: topic is %q, want %q", err, got.topic, want)
		}
		reach("no answer", want)
	}

	keysFail := func(want string, answer providertest.Fault) {
		t.Helper()
		v := openKind(t, "jwt-verify", fixturetest.InProcess(http.HandlerFunc(answer)),
			map[string]any{"issuer": "https://issuer.example", "audiences": []string{"a"}})
		_, err := v.Verify(t.Context(), token.Presented{Token: secret(b64(`{"alg":"RS256","kid":"k"}`) + "." + b64(`{}`) + ".AA")})
		if errorOf(err).Topic != want {
			t.Errorf("keys: got %#v, want topic %q", err, want)
		}
		reach("keys", want)
	}
	keysFail("issuer-metadata", providertest.Answer(200, "application/json", `{"issuer":"https://another.example"}`))
	keysFail("issuer-keys", providertest.Answer(200, "application/json", `{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/jwks"}`))
	keysFail("html-answer", providertest.Answer(200, "text/html", "<html>"))
	keysFail("rate-limit", providertest.Status(429, ""))
	keysFail("redirect", providertest.Redirect(302, "/elsewhere"))

	s.Dataspace().Fail(providertest.Status(503, ""))
	_, err := openIOXIO(t, s, client, nil).Verify(t.Context(), token.Presented{Token: secret(must[string](t)(s.Dataspace().NewToken(testDSI))), Remote: true})
	reachError(err)

	_, err = ExchangeACR(t.Context(), Env{HTTP: fixturetest.InProcess(http.HandlerFunc(providertest.Status(401, "")))}, "https://r.example", "", secret("x"))
	reachError(err)

	rock, _ := openDatarock(t, nil, nil)
	other, _ := openDatarock(t, nil, nil)
	rock.env = other.env // whose private key is another
	_, err = rock.Sign(t.Context(), token.Request{URL: "https://api.prod.datarock.com.au/x"})
	reachError(err)

	for name := range documented {
		if !reached[name] {
			t.Errorf("nothing leads to topic %q of docs/errors.md", name)
		}
	}
}

// inSource finds what the patterns' first groups match in a source file of
// providertest, such as all the texts that an issuer refuses with.
func inSource(t *testing.T, file string, patterns ...string) (found []string) {
	t.Helper()
	text := string(must[[]byte](t)(os.ReadFile(filepath.Join("providertest", file))))
	for _, pattern := range patterns {
		matches := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
		if len(matches) == 0 {
			t.Errorf("%s has nothing like %s", file, pattern)
		}
		for _, m := range matches {
			found = append(found, m[1])
		}
	}
	return found
}
