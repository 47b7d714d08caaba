package soak

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A proxy stands between tokend and its issuers (RFC 9110 §9.3.6, CONNECT) and
// breaks what goes through it.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	mode     proxyMode
	conns    map[net.Conn]struct{}
}

type proxyMode string

const (
	passes  proxyMode = "passes"
	refuses proxyMode = "refuses" // closes every connection at once
	hangs   proxyMode = "hangs"   // takes connections and says nothing
	denies  proxyMode = "denies"  // answers 407
	cuts    proxyMode = "cuts"    // closes after some bytes of the answer
)

// cutAfter is where in the issuer's answer a cutting proxy closes: within the
// TLS handshake.
const cutAfter = 1500

func startProxy(t testing.TB) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, mode: passes, conns: map[net.Conn]struct{}{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.set(refuses)
		serving.Wait()
	})
	return p
}

func (p *proxy) url() string { return "http://" + p.listener.Addr().String() }

// set changes what the proxy does, and breaks what goes through it now.
func (p *proxy) set(m proxyMode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	if m == passes {
		return
	}
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) serve(c net.Conn) {
	p.mu.Lock()
	mode := p.mode
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
		c.Close()
	}()
	if mode == refuses {
		return
	}
	r := bufio.NewReader(c)
	request, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	switch {
	case mode == hangs:
		_, _ = io.Copy(io.Discard, r) // until either side has enough
		return
	case mode == denies || request.Method != http.MethodConnect:
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return
	}
	to, err := net.DialTimeout("tcp", request.Host, 5*time.Second)
	if err != nil {
		_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	defer to.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(to, r)
		to.Close()
	}()
	answer := io.Reader(to)
	if mode == cuts {
		answer = io.LimitReader(to, cutAfter)
	}
	_, _ = io.Copy(c, answer)
}
