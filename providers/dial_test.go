package providers

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokend/providers/token"
)

func TestInwardAddressesAreRefused(t *testing.T) {
	for addr, refused := range map[string]bool{
		"127.0.0.1:443": true, "127.1.2.3:443": true, "[::1]:443": true, "[::ffff:127.0.0.1]:443": true,
		"169.254.169.254:80": true, "[fe80::1%eth0]:443": true, "0.0.0.0:443": true, "[ff02::1]:443": true,
		"192.0.2.1:443": false, "10.0.0.1:443": false, "[2001:db8::1]:443": false,
	} {
		if err := refuseInward(addr, false); errors.Is(err, errInward) != refused {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// A name, unlike the address itself, that leads to loopback: nothing is sent.
func TestANameThatLeadsInward(t *testing.T) {
	s := startIssuers(t)
	id, text := s.Aspose().NewClient()
	try := func(base string, allowed bool) error {
		_, err := trial{kind: "aspose", settings: map[string]any{"client_id": id, "base_url": base, "loopback": allowed},
			secrets: map[string]token.Secret{"client_secret": secret(text)}}.open(t, clientFor(t, s.CertPEM(), HTTPConfig{})).Mint(t.Context(), token.Target{})
		return err
	}
	port := s.URL()[len("https://127.0.0.1"):]
	if err := try("https://localhost"+port, false); err != nil {
		t.Errorf("localhost itself: %v", err)
	}
	err := try("https://LOCALHOST"+port, false) // a name like any other that resolves so
	if !errors.Is(err, token.ErrUnavailable) || s.Aspose().Requests() != 1 {
		t.Errorf("%v after %d requests", err, s.Aspose().Requests())
	}
	if err := try("https://LOCALHOST"+port, true); err != nil {
		t.Errorf("with loopback = true: %v", err)
	}
	if want := "LOCALHOST" + port + " " + errInward.Error(); err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// A name server that is silent costs five seconds, not the answer of the next one (or
// of its own second try, which is the same to the resolver); the connection has its
// own limit then.
func TestNameServersThatAreSilent(t *testing.T) {
	port := func(l net.Listener) string { _, port, _ := net.SplitHostPort(l.Addr().String()); return port }
	issuer := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer issuer.Close()
	_, _ = (&net.Resolver{PreferGo: true}).LookupHost(t.Context(), "localhost") // package net must not make its state in a bubble
	for _, c := range []struct {
		silent int
		proxy  string
		took   time.Duration
		want   string // empty for a connection
	}{
		{0, "issuer.test", 0, ""}, {1, "issuer.test", 5 * time.Second, ""},
		{1, "", 5 * time.Second, "was not asked: its host name resolves to this machine or its link-local network"},
		{100, "issuer.test", lookupLimit, "cannot be reached: the host name could not be looked up"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			asked := map[bool]int{} // by what is asked for: IPv4 or not
			resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go nameServer(server, func(ipv4 bool) bool {
					mu.Lock()
					defer mu.Unlock()
					asked[ipv4]++
					return asked[ipv4] > c.silent
				})
				return client, nil
			}}
			began := time.Now()
			conn, err := guardedDial(c.proxy, resolver)(t.Context(), "tcp", "issuer.test:"+port(issuer))
			if took := time.Since(began); took > c.took || c.want == "" && took != c.took {
				t.Errorf("%d silent: took %v", c.silent, took)
			}
			if err == nil {
				conn.Close()
			}
			if err == nil && c.want != "" || err != nil && whyUnreachable(err).words != c.want {
				t.Errorf("%d silent: %v", c.silent, err)
			}
		})
	}
}

// nameServer answers that a name is 127.0.0.1 (RFC 1035 §4, over TCP), or not at all.
func nameServer(conn net.Conn, answers func(ipv4 bool) bool) {
	defer conn.Close()
	var size uint16
	if binary.Read(conn, binary.BigEndian, &size) != nil {
		return
	}
	query := make([]byte, size)
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	question := query[12 : 12+bytes.IndexByte(query[12:], 0)+5]
	ipv4 := question[len(question)-3] == 1
	if !answers(ipv4) {
		_, _ = conn.Read(query) // until the client gives up
		return
	}
	reply := append(query[:2:2], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	reply = append(reply, question...)
	if ipv4 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
}
