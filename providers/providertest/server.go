package providertest

import (
	"cmp"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Server is a set of issuers behind one address.
type Server struct {
	authority *Authority
	cert      tls.Certificate
	handler   http.Handler
	clms      *CLMS
	azure     *Azure
	aspose    *Aspose
	oauth2    *OAuth2
	datarock  *Datarock
	dataspace *Dataspace
	openID    *OpenID
	rfc8414   *OpenID
	addr      string
	host      string // with the port, as clients know it

	mu   sync.Mutex
	stop func() error // nil while stopped
}

// Options for Start. The zero value is good.
type Options struct {
	// Address to listen on; 127.0.0.1 and a free port if empty.
	Address string
	// Lifetime of all issuers' tokens, in place of their own defaults.
	Lifetime time.Duration
	// Host is the name that clients know the server by, where something leads
	// them to it; its address if empty.
	Host string
	// Authority issues the server's certificate; a new one if nil.
	Authority *Authority
	// Tenant of Azure; a random one if empty.
	Tenant string
}

// Start starts the issuers. Close ends them.
func Start(o Options) (*Server, error) {
	authority := o.Authority
	if authority == nil {
		var err error
		if authority, err = NewAuthority(); err != nil {
			return nil, err
		}
	}
	names := []string{"127.0.0.1", "::1", "localhost"}
	if o.Host != "" {
		names = append(names, o.Host)
	}
	cert, err := authority.Issue(names, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	if err != nil {
		return nil, err
	}
	s := &Server{authority: authority, cert: cert}
	l, err := net.Listen("tcp", cmp.Or(o.Address, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr().String()
	s.host = cmp.Or(o.Host, s.addr)
	if err := s.build(o.Lifetime, cmp.Or(o.Tenant, newGUID())); err != nil {
		l.Close()
		return nil, err
	}
	s.serve(l)
	return s, nil
}

func (s *Server) build(life time.Duration, tenant string) error {
	sign, err := newTokenSigner(s.URL())
	if err != nil {
		return err
	}
	s.clms = &CLMS{issuer: newIssuer(time.Hour, life), url: s.URL(), keys: map[string]clmsKey{}}
	s.azure = &Azure{issuer: newIssuer(3599*time.Second, life), host: s.host, tenant: tenant, sign: sign,
		apps: map[string]*application{}, seen: map[string]bool{}}
	s.aspose = &Aspose{issuer: newIssuer(24*time.Hour, life), url: s.URL(), sign: sign, clients: map[string]string{}}
	s.oauth2 = &OAuth2{issuer: newIssuer(time.Hour, life), url: s.URL(), clients: map[string]string{},
		keys: map[string]registeredKey{}, grants: map[string]registeredKey{}, seen: map[string]bool{}}

	s.datarock = &Datarock{url: s.URL(), keys: map[string]*rsa.PublicKey{}}
	s.dataspace = newDataspace(s.URL())
	s.openID = &OpenID{newPublisher(s.URL()+"/openid", "RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")}
	s.rfc8414 = &OpenID{newPublisher(s.URL()+"/rfc8414", "RS256")}

	mux := http.NewServeMux()
	mux.HandleFunc("/@@oauth2-token", s.clms.answering(s.clms.token))
	mux.HandleFunc("/{tenant}/oauth2/v2.0/token", s.azure.answering(s.azure.token))
	mux.HandleFunc("/connect/token", s.aspose.answering(s.aspose.token))
	mux.HandleFunc("/oauth2/token", s.oauth2.answering(s.oauth2.token))
	mux.HandleFunc("/api/clms/", s.clms.guard(plone401))
	mux.HandleFunc("/api/azure/", s.azure.guard(bearer401))
	mux.Handle("/api/apim/", APIManagement(SubscriptionKey, s.azure.guard(bearer401)))
	mux.HandleFunc("/api/aspose/", s.aspose.guard(bearer401))
	mux.HandleFunc("/api/generic/", s.oauth2.guard(bearer401))
	mux.HandleFunc("/api/datarock/", s.datarock.serve)
	s.dataspace.routes(mux)
	s.openID.routes(mux, "/openid/.well-known/openid-configuration", "/openid")
	s.rfc8414.routes(mux, "/.well-known/oauth-authorization-server/rfc8414", "/rfc8414")
	s.handler = mux
	return nil
}

// serve answers on l, in the background.
func (s *Server) serve(l net.Listener) {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that refuse our certificate are no news
	}
	secure := tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{s.cert}, MinVersion: tls.VersionTLS12})
	served := make(chan error, 1)
	go func() { served <- server.Serve(secure) }()
	s.stop = func() error {
		err := server.Close()
		l.Close() // Serve may not have come to know its listener yet
		<-served
		return err
	}
}

// Stop makes the server's port refuse connections and breaks those that are
// open, as if the host was down. What it issued stays good.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		return nil
	}
	stop := s.stop
	s.stop = nil
	return stop()
}

// Resume listens again, on the same port.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return errors.New("providertest: the server is not stopped")
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.serve(l)
	return nil
}

// Close ends the server.
func (s *Server) Close() error { return s.Stop() }

// URL is where clients find the server: https, host and port, no slash at the
// end.
func (s *Server) URL() string { return "https://" + s.host }

// CertPEM is the certificate to trust.
func (s *Server) CertPEM() []byte { return s.authority.CertPEM() }

// CLMS is the Copernicus Land Monitoring Service.
func (s *Server) CLMS() *CLMS { return s.clms }

// Azure is Microsoft Entra ID with one tenant.
func (s *Server) Azure() *Azure { return s.azure }

// Aspose is Aspose Cloud.
func (s *Server) Aspose() *Aspose { return s.aspose }

// OAuth2 is an issuer that does what RFC 6749 and RFC 7523 say.
func (s *Server) OAuth2() *OAuth2 { return s.oauth2 }

// Datarock is Datarock's API.
func (s *Server) Datarock() *Datarock { return s.datarock }

// Dataspace is an IOXIO dataspace.
func (s *Server) Dataspace() *Dataspace { return s.dataspace }

// OpenID is an issuer with OpenID metadata and keys of all kinds.
func (s *Server) OpenID() *OpenID { return s.openID }

// RFC8414 is an issuer with a path and RFC 8414 metadata.
func (s *Server) RFC8414() *OpenID { return s.rfc8414 }

// Handler answers in place of the server, for tests that have a time of their
// own.
func (s *Server) Handler() http.Handler { return s.handler }
