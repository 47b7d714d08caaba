package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tokend/providers/clmstest"
	"tokend/providers/providertest"
)

// An internet is what the documentation's commands talk to: every host that
// they name is played on loopback, over TLS, as strictly as providertest does.
// Programs come to it through a proxy, by $HTTPS_PROXY, and trust the
// certificates of its authority, so that the commands run as they stand.
type internet struct {
	authority *providertest.Authority
	hosts     map[string]http.Handler
	proxy     string

	clms, entra, aspose, datarock, dataspace, issuer, cdse *providertest.Server

	portal *clmstest.Portal

	root string            // of the git repositories
	real map[string]string // where the tools of this machine have their files
}

// What the documentation's examples have as their own.
const (
	exampleTenant = "contoso.onmicrosoft.com"
	exampleSecret = "fX8Q~an-example.of-a-client-secret_0123"
	exampleDSI    = "dpp://group:variant@ds.example.com/Weather/Current_v1.0"
	entraApp      = "4f1f2c3a-9b1e-4c55-8c0d-0d2f8a7c1e52" // has exampleSecret
	entraCertApp  = "8a6b41d0-7d52-4c0e-a1f3-5f2f0b9c6e11" // has a certificate
)

func newInternet(t *testing.T) *internet {
	t.Helper()
	authority, err := providertest.NewAuthority()
	check(t, err)
	n := &internet{authority: authority, root: filepath.Join(t.TempDir(), "repositories"), real: map[string]string{}}
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", name).Output()
		check(t, err)
		n.real[name] = strings.TrimSpace(string(out))
	}
	if home, err := os.UserHomeDir(); err == nil {
		n.real["RUSTUP_HOME"] = cmp.Or(os.Getenv("RUSTUP_HOME"), filepath.Join(home, ".rustup"))
	}
	repository := filepath.Join(n.root, "org", "app")
	if out, err := exec.Command("git", "init", "-q", "--bare", repository).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	for host, server := range map[string]**providertest.Server{
		"land.copernicus.eu": &n.clms, "login.microsoftonline.com": &n.entra, "api.aspose.cloud": &n.aspose,
		"api.prod.datarock.com.au": &n.datarock, "ds.example.com": &n.dataspace, "id.example.com": &n.issuer,
		"identity.dataspace.copernicus.eu": &n.cdse,
	} {
		*server, err = providertest.Start(providertest.Options{Host: host, Authority: authority, Tenant: exampleTenant})
		check(t, err)
		t.Cleanup(func() { _ = (*server).Close() })
	}
	n.entra.Azure().AddSecret(entraApp, exampleSecret)
	n.aspose.Aspose().AddClient("3b0f6a7e-1d0c-4a50-9f3b-2f6d0f1c9a10", exampleSecret)
	n.issuer.OAuth2().AddClient("my-app", exampleSecret)
	n.cdse.OAuth2().AddClient("sh-5d7a3f0e", exampleSecret)
	n.cdse.OAuth2().SetLifetime(10 * time.Minute)
	n.play(t)
	n.listen(t)
	return n
}

// play assigns each host its part.
func (n *internet) play(t *testing.T) {
	t.Helper()
	n.portal = clmstest.New(clmstest.Options{
		Guard: func(next http.Handler) http.Handler { return guarded(n.clms, "/api/clms/", next) },
		Step:  time.Minute, Preparation: 5 * time.Minute, Settling: 2 * time.Minute,
	})
	tools := &host{good: n.good, plant: func(...string) {}, root: n.root, seen: map[string]int{}}
	registries, err := tools.handler()
	check(t, err)
	n.hosts = map[string]http.Handler{
		"land.copernicus.eu":           n.land(),
		"copernicus-fme.eea.europa.eu": n.portal.Files(),
		"login.microsoftonline.com":    n.entra.Handler(),
		"api.kalibrate.example":        kalibrate(guarded(n.entra, "/api/azure/", http.HandlerFunc(kalibrateStatus))),
		"api.aspose.cloud":             n.asposeCloud(),
		"api.prod.datarock.com.au":     n.datarockAPI(),
		"ds.example.com":               n.dataspace.Handler(),
		"gateway.ds.example.com":       under("/gateway", n.dataspace.Handler()),
		"id.example.com":               tokenEndpoint("/token", n.issuer),
		// Keycloak's path (documentation.dataspace.copernicus.eu, Authentication).
		"identity.dataspace.copernicus.eu": tokenEndpoint("/auth/realms/CDSE/protocol/openid-connect/token", n.cdse),
		"sh.dataspace.copernicus.eu":       guarded(n.cdse, "/api/generic/", answering(`{"collections":[]}`)),
		"api.example.com":                  guarded(n.issuer, "/api/generic/", answering(`{"data":"there"}`)),
		"dev.azure.com":                    under("/git", registries),
		"registry.example":                 registries,
		"example.azurecr.io":               registries,
		"crates.example":                   registries,
		"proxy.example":                    under("/modules", registries),
		"pkgs.dev.azure.com":               moved("/org/_packaging/feed/pypi", "", registries),
		"cluster.example":                  registries,
		"management.azure.com":             guarded(n.entra, "/api/azure/", answering(`{"value":[]}`)),
	}
}

// under serves a host below a path of another handler.
func under(path string, next http.Handler) http.Handler { return moved("", path, next) }

// moved replaces the beginning of the path.
func moved(from, to string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		if to == "/api/datarock" {
			r.URL.Path = to + r.URL.Path // the signature is over RequestURI
		} else {
			r.URL.Path = to + strings.TrimPrefix(r.URL.Path, from)
			r.URL.RawPath = ""
		}
		next.ServeHTTP(w, r)
	})
}

func answering(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body+"\n")
	})
}

// guarded lets through who brings a token that the API of issuers takes, and
// has that API refuse the others.
func guarded(issuers *providertest.Server, path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tok, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && takes(issuers, path, r, tok) {
			next.ServeHTTP(w, r)
			return
		}
		r = r.Clone(r.Context())
		r.URL.Path = path
		issuers.Handler().ServeHTTP(w, r)
	})
}

// good are the tokens that the tools' servers take.
func (n *internet) good(r *http.Request, tok string) bool {
	return takes(n.entra, "/api/azure/", r, tok) || takes(n.issuer, "/api/generic/", r, tok)
}

// tokenEndpoint moves the token endpoint to another path.
func tokenEndpoint(path string, issuers *providertest.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		if r.URL.Path == path {
			r.URL.Path = "/oauth2/token"
		}
		issuers.Handler().ServeHTTP(w, r)
	})
}

// land is the portal of the Copernicus Land Monitoring Service, and what is
// beside its API: the token endpoint, and a raster that takes a token.
func (n *internet) land() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/@@oauth2-token", n.clms.Handler())
	mux.Handle("/api/", n.portal)
	mux.Handle("GET /data.tif", guarded(n.clms, "/api/clms/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "data.tif", time.Unix(1, 0), bytes.NewReader(clmstest.GeoTIFF()))
	})))
	return mux
}

// datarockAPI has the versions of Datarock's API that clients use (v3; v2 in older
// ones), and nothing beside them.
func (n *internet) datarockAPI() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v2/", under("/api/datarock", n.datarock.Handler()))
	mux.Handle("/v3/", under("/api/datarock", n.datarock.Handler()))
	return mux
}

// kalibrateStatus has the members of Kalibrate's /api/status, which says what it
// read in the token (dev.data.thekalibratecloud.com/portal/docs/exampleauth).
func kalibrateStatus(w http.ResponseWriter, r *http.Request) {
	claims := jwt.MapClaims{}
	_, _, err := jwt.NewParser().ParseUnverified(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), claims)
	if err != nil || r.URL.Path != "/api/status" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": "valid", "audience": claims["aud"], "issuer": claims["iss"], "version": "1.0",
		"clientId": claims["appid"], "tenantId": claims["tid"], "expirationTime": claims["exp"],
	})
}

// kalibrate refuses the User-Agents that programs have by default, as Kalibrate's
// gateway does: with a page for people.
func kalibrate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent := strings.ToLower(r.UserAgent())
		for _, usual := range []string{"", "curl", "python", "go-http-client", "libcurl", "httr", "r-curl", "wget", "java", "node"} {
			if agent == usual || usual != "" && strings.HasPrefix(agent, usual) {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, "<html><head><title>403 Forbidden</title></head></html>\n")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// asposeCloud converts documents, after a fashion.
func (n *internet) asposeCloud() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/connect/token", n.aspose.Handler())
	mux.Handle("PUT /v4.0/words/convert", guarded(n.aspose, "/api/aspose/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := r.FormFile("document"); err != nil || r.FormValue("format") != "pdf" {
			http.Error(w, `{"Error":{"Code":"errorInvalidInputData"}}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/pdf")
		_, _ = io.WriteString(w, "%PDF-1.7\n")
	})))
	return mux
}

// listen opens the proxy, and behind it one server for all hosts.
func (n *internet) listen(t *testing.T) {
	t.Helper()
	certificate, err := n.authority.Issue(slices.Collect(maps.Keys(n.hosts)), time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	check(t, err)
	servers := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(r.Host, ":")
		n.hosts[name].ServeHTTP(w, r)
	}))
	servers.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	servers.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that leave
	servers.StartTLS()
	t.Cleanup(servers.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.connect(w, r, servers.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	n.proxy = proxy.URL
}

// connect serves one connection of the proxy (RFC 9110 §9.3.6). A host that
// no part covers does not answer.
func (n *internet) connect(w http.ResponseWriter, r *http.Request, to string) {
	name, _, _ := strings.Cut(r.Host, ":")
	server, err := net.Dial("tcp", to)
	if err != nil || n.hosts[name] == nil || r.Method != http.MethodConnect {
		http.Error(w, "no such host", http.StatusBadGateway)
		return
	}
	defer server.Close()
	c, b, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "HTTP/1.1 200 Connected\r\n\r\n")
	go func() {
		_, _ = io.Copy(server, b)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, server)
}

// equip prepares a reader's home and environment as they are before the first
// command: the way to the hosts, the files that portals gave them.
func (n *internet) equip(t *testing.T, home, work string) {
	t.Helper()
	ca := filepath.Join(filepath.Dir(home), "ca.pem")
	system := read(t, "/etc/ssl/certs/ca-certificates.crt")
	key, err := n.clms.CLMS().NewServiceKey(2048)
	check(t, err)
	apiToken, err := n.dataspace.Dataspace().NewToken(exampleDSI)
	check(t, err)
	consent, err := n.dataspace.Dataspace().NewConsent(exampleDSI, nil)
	check(t, err)
	for name, content := range map[string][]byte{
		ca:                                      append([]byte(system), n.authority.CertPEM()...),
		filepath.Join(work, "service-key.json"): key,
		filepath.Join(work, "secret.txt"):       []byte(exampleSecret + "\n"),
		filepath.Join(work, "report.docx"):      []byte("a document"),
	} {
		check(t, os.WriteFile(name, content, 0o600))
	}
	for _, name := range []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NPM_CONFIG_CAFILE"} {
		t.Setenv(name, ca)
	}
	for name, value := range map[string]string{
		"HTTPS_PROXY": n.proxy, "https_proxy": n.proxy, "HTTP_PROXY": "", "http_proxy": "", "ALL_PROXY": "", "all_proxy": "",
		"NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost,127.0.0.1",
		"API_TOKEN": apiToken, "CONSENT_TOKEN": consent, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
		"CLMS_POLL": "0", // the portal's clock moves on by itself
	} {
		setenv(t, name, value)
	}
	// R's curl knows no variable for what it trusts.
	profile := filepath.Join(filepath.Dir(home), "Rprofile")
	check(t, os.WriteFile(profile, []byte(trustInR), 0o600))
	t.Setenv("R_PROFILE_USER", profile)
	// Python is the system's, which has the libraries; Go keeps its caches.
	bin := filepath.Join(home, ".local", "bin")
	for _, program := range []string{"tokend", "tokenctl", "/usr/bin/python3"} {
		path, err := exec.LookPath(program)
		check(t, err)
		check(t, os.Symlink(path, filepath.Join(bin, filepath.Base(program))))
	}
	for name, value := range n.real {
		t.Setenv("REAL_"+name, value)
	}
	clone, err := filepath.Abs(root)
	check(t, err)
	t.Setenv("CLONE", clone)
	t.Setenv("GOFLAGS", "-modcacherw")
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

const trustInR = `setHook(packageEvent("curl", "onLoad"), function(...) {
  curl <- asNamespace("curl")
  make <- curl$new_handle
  unlockBinding("new_handle", curl)
  assign("new_handle", function(...) make(cainfo = Sys.getenv("SSL_CERT_FILE"), ...), curl)
})
`

// visit does what a person does at a portal:
//
//	register EMAIL FILE       Datarock: the account's public key
//	certificate FILE          Entra ID: a certificate for the application
func (n *internet) visit(home string, words []string) error {
	if len(words) < 2 {
		return fmt.Errorf("no such step: %s", strings.Join(words, " "))
	}
	content, err := os.ReadFile(filepath.Join(home, "work", words[len(words)-1]))
	if err != nil {
		return err
	}
	switch words[0] {
	case "register":
		return n.datarock.Datarock().Register(words[1], string(content))
	case "certificate":
		return n.entra.Azure().AddCertificate(entraCertApp, content)
	}
	return fmt.Errorf("no such step: %s", strings.Join(words, " "))
}
