package providers

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tokend/providers/providertest"
	"tokend/providers/token"
)

// An authority that the system, or ca_file, gets while tokend runs is trusted after a
// reload, and without one when an issuer of it is asked, once a minute.
func TestAuthoritiesAreReadAgain(t *testing.T) {
	authority := must[*providertest.Authority](t)(providertest.NewAuthority())
	other := must[*providertest.Authority](t)(providertest.NewAuthority())
	cert := must[tls.Certificate](t)(authority.Issue([]string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, answerJSON(granted))
	for _, c := range []struct{ name, file, caFile string }{
		{"the system's file", "system.pem", ""},
		{"the system's file, with a ca_file", "system.pem", "ca.pem"},
		{"the system's directory", "certs/new.pem", ""},
		{"a link in the system's directory", "certs/link.pem", "ca.pem"},
		{"ca_file", "ca.pem", "ca.pem"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name string, pem []byte) {
				t.Helper()
				name = filepath.Join(dir, name)
				if strings.HasSuffix(name, "link.pem") { // as update-ca-certificates leaves it
					must[struct{}](t)(struct{}{}, os.WriteFile(dir+"/shared.pem", pem, 0o600))
					must[struct{}](t)(struct{}{}, os.Symlink("../shared.pem", name))
					return
				}
				must[struct{}](t)(struct{}{}, os.WriteFile(name+".new", pem, 0o600))
				must[struct{}](t)(struct{}{}, os.Rename(name+".new", name))
			}
			t.Setenv("SSL_CERT_FILE", filepath.Join(dir, "system.pem"))
			t.Setenv("SSL_CERT_DIR", "/nowhere:"+filepath.Join(dir, "certs"))
			must[struct{}](t)(struct{}{}, os.Mkdir(filepath.Join(dir, "certs"), 0o700))
			write("system.pem", other.CertPEM())
			config := HTTPConfig{Proxy: "none"}
			if c.caFile != "" {
				write(c.caFile, other.CertPEM())
				config.CAFile = filepath.Join(dir, c.caFile)
			}
			client := must[*http.Client](t)(NewHTTPClient(config))
			m := openAspose(t, s.URL, client)
			const unknown = "cannot be trusted: its certificate is from an unknown authority"
			wantUnavailable(t, m, unknown)
			write(c.file, authority.CertPEM())
			wantUnavailable(t, m, unknown) // they were read again a moment ago
			must[token.Token](t)(openAspose(t, s.URL, must[*http.Client](t)(NewHTTPClient(config))).Mint(t.Context(), token.Target{}))
			client.Transport.(*transport).read = time.Now().Add(-rootsAgain)
			must[token.Token](t)(m.Mint(t.Context(), token.Target{}))
			if c.caFile == c.file { // a bad file costs nothing
				write(c.file, []byte("no certificate"))
				client.Transport.(*transport).current, client.Transport.(*transport).read = nil, time.Time{}
				must[token.Token](t)(m.Mint(t.Context(), token.Target{}))
			}
		})
	}
}

// What this machine trusts is what crypto/x509 finds.
func TestTheSystemsAuthorities(t *testing.T) {
	if want, err := x509.SystemCertPool(); err == nil && !systemRoots().Equal(want) {
		t.Error("they are not those of crypto/x509")
	}
}
