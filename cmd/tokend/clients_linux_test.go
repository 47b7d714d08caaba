package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tokend/providers/providertest"
)

// The servers that the tools under test talk to, over TLS: a git repository, a
// container registry, package registries. Each takes what the tools present
// only if it holds a token that Aspose's API takes at that moment.

// A host is those servers.
type host struct {
	good  func(r *http.Request, tok string) bool // a token, at this moment
	plant func(secrets ...string)                // gets all tokens
	root  string                                 // of the git repositories
	mu    sync.Mutex
	seen  map[string]int // how requests were answered, by what was presented
	// refuses: no token is taken; tokens are those presented meanwhile.
	refuses bool
	tokens  map[string]bool
}

// toolNames are the names under which tools look for tokenctl.
var toolNames = []string{"git-credential-tokend", "docker-credential-tokend", "cargo-credential-tokend",
	"bazel-credential-tokend", "terraform-credentials-tokend", "pnpm-credential-tokend-aspose", "keyring"}

// cmdHost: start | presented WHAT N | refuses | refused REQUESTS TOKENS. Start starts the servers at $HOST
// (https://localhost:…), has all tools trust them, and puts the helpers' names
// into $PATH.
func cmdHost(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	if len(args) == 1 && args[0] == "start" {
		s.startHost(ts)
		return
	}
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	switch {
	case len(args) == 3 && args[0] == "presented":
		if (fmt.Sprint(s.host.seen[args[1]]) == args[2]) == neg {
			ts.Fatalf("presented: %v", s.host.seen)
		}
	case len(args) == 1 && args[0] == "refuses":
		s.host.refuses, s.host.tokens, s.host.seen = !neg, map[string]bool{}, map[string]int{}
	case len(args) == 3 && args[0] == "refused":
		if got := fmt.Sprint(s.host.seen["bad"], " ", len(s.host.tokens)); (got == args[1]+" "+args[2]) == neg {
			ts.Fatalf("%s requests and tokens were refused", got)
		}
	default:
		ts.Fatalf("usage: host start | presented WHAT N | [!] refuses | refused REQUESTS TOKENS")
	}
}

func (s *stage) startHost(ts *testscript.TestScript) {
	ca, err := providertest.NewAuthority()
	ts.Check(err)
	cert, err := ca.Issue([]string{"localhost", "127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	ts.Check(err)
	s.host = &host{good: s.takenByAspose, plant: s.plant, root: ts.MkAbs("repositories"), seen: map[string]int{}}
	handler, err := s.host.handler()
	ts.Check(err)
	srv := httptest.NewUnstartedServer(handler)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	ts.Defer(srv.Close)
	at := "localhost:" + srv.URL[strings.LastIndex(srv.URL, ":")+1:]
	ts.Setenv("HOST", "https://"+at)
	ts.Setenv("HOST_PORT", at)

	// tokend trusts both; every tool has a variable of its own.
	file := ts.MkAbs("ca.pem")
	ts.Check(os.WriteFile(file, append(ca.CertPEM(), s.issuers.CertPEM()...), 0o600))
	for _, name := range []string{"SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "CARGO_HTTP_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE"} {
		ts.Setenv(name, file)
	}
	// Version managers find their own files by $HOME, which is another here.
	if home, err := os.UserHomeDir(); err == nil {
		ts.Setenv("RUSTUP_HOME", cmp.Or(os.Getenv("RUSTUP_HOME"), filepath.Join(home, ".rustup")))
		ts.Setenv("NODE_PATH", os.Getenv("NODE_PATH"))
		ts.Setenv("PYENV_ROOT", cmp.Or(os.Getenv("PYENV_ROOT"), filepath.Join(home, ".pyenv")))
	}
	links := ts.MkAbs("links")
	ts.Check(os.MkdirAll(links, 0o700))
	tokenctl, err := exec.LookPath("tokenctl")
	ts.Check(err)
	for _, name := range toolNames {
		ts.Check(os.Symlink(tokenctl, filepath.Join(links, name)))
	}
	ts.Setenv("PATH", links+string(filepath.ListSeparator)+ts.Getenv("PATH"))
}

// takes reports whether a request presents a token that is good now.
func (h *host) takes(r *http.Request) bool {
	kind, tok := "nothing", ""
	if user, password, ok := r.BasicAuth(); ok {
		kind, tok = "basic:"+user, password
	} else if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		kind, tok = "bearer", t
	} else if t := r.Header.Get("X-Api-Key"); t != "" {
		kind, tok = "header", t
	}
	good := tok != "" && h.good(r, tok)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuses && tok != "" {
		good, h.tokens[tok] = false, true
	}
	if tok != "" && !good {
		kind = "bad"
	}
	h.seen[kind]++
	if tok != "" {
		h.plant(tok)
	}
	return good
}

// takenByAspose asks the API that the tokens are for.
func (s *stage) takenByAspose(r *http.Request, tok string) bool {
	return takes(s.issuers, "/api/aspose/", r, tok)
}

// takes reports whether an API below a path of issuers takes a token now.
func takes(issuers *providertest.Server, path string, r *http.Request, tok string) bool {
	request := httptest.NewRequestWithContext(r.Context(), http.MethodGet, path, nil)
	request.Header.Set("Authorization", "Bearer "+tok)
	answer := httptest.NewRecorder()
	issuers.Handler().ServeHTTP(answer, request)
	return answer.Code == http.StatusOK
}

func (h *host) handler() (http.Handler, error) {
	backend, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, err
	}
	repositories := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(backend)), "git-http-backend"), Root: "/git",
		Env: []string{"GIT_PROJECT_ROOT=" + h.root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=somebody"},
	}
	mux := http.NewServeMux()
	mux.Handle("/git/", h.demand("Basic", repositories))
	mux.Handle("/v2/", h.demand("Basic", http.HandlerFunc(registry)))
	mux.HandleFunc("POST /oauth2/exchange", h.exchange)
	mux.Handle("/broken/", h.demand("Basic", http.NotFoundHandler()))
	mux.Handle("/other/", h.demand("Basic", http.NotFoundHandler()))
	mux.Handle("/index/", h.demand("Bearer", http.HandlerFunc(h.crates)))
	mux.Handle("/crates/", h.demand("Bearer", http.HandlerFunc(h.crates)))
	mux.Handle("/modules/", h.demand("Bearer", http.HandlerFunc(modules)))
	mux.Handle("/simple/", h.demand("Basic", http.HandlerFunc(simple)))
	mux.Handle("/npm/", h.demand("Bearer", http.HandlerFunc(h.packages)))
	mux.Handle("/version", h.demand("Bearer", http.HandlerFunc(cluster)))
	mux.Handle("/data/", h.demand("Bearer", http.HandlerFunc(grid)))
	mux.Handle("/dav/", h.demand("Bearer", http.HandlerFunc(collection)))
	return mux, nil
}

// demand lets through who presents a good token, and asks others for one.
func (h *host) demand(scheme string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.takes(r) {
			w.Header().Set("WWW-Authenticate", scheme+` realm="host"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// exchange is an Azure Container Registry's: a refresh token for a token.
func (h *host) exchange(w http.ResponseWriter, r *http.Request) {
	tok := r.PostFormValue("access_token")
	if host, _, _ := strings.Cut(r.Host, ":"); r.PostFormValue("grant_type") != "access_token" || r.PostFormValue("service") != host || !h.good(r, tok) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen["exchange"]++
	h.plant(tok)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"refresh_token":"refresh-of-%s"}`, sum256([]byte(tok)))
}

// registry is a container registry (OCI distribution) with one image, whatever
// it is called.
func registry(w http.ResponseWriter, r *http.Request) {
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",` +
		`"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,"digest":"sha256:` + sum256([]byte("{}")) + `"},"layers":[]}`
	switch {
	case r.URL.Path == "/v2/":
	case strings.Contains(r.URL.Path, "/manifests/"):
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v2+json")
		w.Header().Set("Docker-Content-Digest", "sha256:"+sum256([]byte(manifest)))
		fmt.Fprint(w, manifest)
	case strings.Contains(r.URL.Path, "/blobs/"):
		fmt.Fprint(w, "{}")
	default:
		http.NotFound(w, r)
	}
}

func sum256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// crates is a sparse registry of cargo with one crate.
func (h *host) crates(w http.ResponseWriter, r *http.Request) {
	crate := archive("foob-1.0.0/", map[string]string{
		"Cargo.toml": "[package]\nname = \"foob\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
		"src/lib.rs": "pub fn foob() {}\n",
	})
	switch r.URL.Path {
	case "/index/config.json":
		fmt.Fprintf(w, `{"dl":"https://%s/crates/{crate}-{version}.crate","api":"https://%s","auth-required":true}`, r.Host, r.Host)
	case "/index/fo/ob/foob":
		fmt.Fprintf(w, `{"name":"foob","vers":"1.0.0","deps":[],"cksum":"%s","features":{},"yanked":false}`+"\n", sum256(crate))
	case "/crates/foob-1.0.0.crate":
		_, _ = w.Write(crate)
	default:
		http.NotFound(w, r)
	}
}

// archive makes a .tar.gz.
func archive(prefix string, files map[string]string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	for _, name := range []string{"Cargo.toml", "src/lib.rs", "package.json", "index.js"} {
		if text, ok := files[name]; ok {
			_ = t.WriteHeader(&tar.Header{Name: prefix + name, Mode: 0o644, Size: int64(len(text))})
			_, _ = t.Write([]byte(text))
		}
	}
	_, _ = t.Close(), z.Close()
	return b.Bytes()
}

// modules is a module proxy of Go (go help goproxy) with one module.
func modules(w http.ResponseWriter, r *http.Request) {
	const mod = "module example.com/m\n\ngo 1.20\n"
	switch strings.TrimPrefix(r.URL.Path, "/modules/example.com/m/@v/") {
	case "list":
		fmt.Fprintln(w, "v1.0.0")
	case "v1.0.0.info":
		fmt.Fprint(w, `{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}`)
	case "v1.0.0.mod":
		fmt.Fprint(w, mod)
	case "v1.0.0.zip":
		_, _ = w.Write(zipped(map[string]string{"example.com/m@v1.0.0/go.mod": mod, "example.com/m@v1.0.0/m.go": "package m\n"}))
	default:
		http.NotFound(w, r)
	}
}

func zipped(files map[string]string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		f, err := z.Create(name)
		if err == nil {
			_, _ = io.WriteString(f, text)
		}
	}
	_ = z.Close()
	return b.Bytes()
}

// simple is a package index of Python (PEP 503) with one package.
func simple(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/simple/foob/":
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<html><body><a href="foob-1.0-py3-none-any.whl">foob-1.0-py3-none-any.whl</a></body></html>`)
	case "/simple/foob/foob-1.0-py3-none-any.whl":
		_, _ = w.Write(zipped(map[string]string{
			"foob.py":                      "x = 1\n",
			"foob-1.0.dist-info/METADATA":  "Metadata-Version: 2.1\nName: foob\nVersion: 1.0\n",
			"foob-1.0.dist-info/WHEEL":     "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
			"foob-1.0.dist-info/RECORD":    "foob.py,,\nfoob-1.0.dist-info/METADATA,,\nfoob-1.0.dist-info/WHEEL,,\nfoob-1.0.dist-info/RECORD,,\n",
			"foob-1.0.dist-info/top_level": "foob\n",
		}))
	default:
		http.NotFound(w, r)
	}
}

// packages is a registry of npm with one package.
func (h *host) packages(w http.ResponseWriter, r *http.Request) {
	tgz := archive("package/", map[string]string{"package.json": `{"name":"foob","version":"1.0.0"}`, "index.js": "module.exports = 1\n"})
	sum := sha512.Sum512(tgz)
	switch r.URL.Path {
	case "/npm/foob":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"name":"foob","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"foob","version":"1.0.0","dist":{"tarball":"https://%s/npm/foob-1.0.0.tgz","integrity":"sha512-%s"}}}}`,
			r.Host, base64.StdEncoding.EncodeToString(sum[:]))
	case "/npm/foob-1.0.0.tgz":
		_, _ = w.Write(tgz)
	default:
		http.NotFound(w, r)
	}
}

// cluster is as much of a Kubernetes API server as reports its version.
func cluster(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"major":"1","minor":"32","gitVersion":"v1.32.0"}`)
}

// grid is a raster in the format of Arc/Info ASCII grids, which GDAL reads.
func grid(w http.ResponseWriter, r *http.Request) {
	const text = "ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\nNODATA_value -9\n1 2\n3 4\n"
	http.ServeContent(w, r, "grid.asc", time.Unix(1, 0), strings.NewReader(text))
}

// collection is an empty one of WebDAV (RFC 4918 §9.1.3).
func collection(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusMultiStatus)
	fmt.Fprint(w, `<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response><d:href>/dav/</d:href><d:propstat><d:prop>`+
		`<d:resourcetype><d:collection/></d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`)
}

// cmdBuild: build NAME [DIR] puts the program of testdata/NAME, a module of its
// own, into $WORK/DIR.
func cmdBuild(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("go", "build", "-o", filepath.Join(ts.MkAbs(filepath.Join(args[1:]...)), args[0]), ".")
	cmd.Dir = filepath.Join("testdata", args[0])
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("building %s: %v\n%s", args[0], err, out)
	}
}
