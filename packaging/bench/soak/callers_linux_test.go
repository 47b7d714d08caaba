package soak

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"time"

	"tokend/providers/token"
)

// patience is more than tokend's own for an issuer.
const patience = 45 * time.Second

// call asks for tokens until ctx ends, as programs do: mostly cached ones, now and
// then a new one, now and then after an API refused one.
func (s *stage) call(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		p := s.profiles[random.IntN(len(s.profiles))]
		switch n := random.IntN(100); {
		case n < 2:
			s.invalidate(p)
		case n < 4:
			s.get(p, token.Query{Fresh: true})
		case n < 8:
			s.tokenctl(p)
		default:
			s.get(p, token.Query{})
		}
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
	}
}

func (s *stage) get(p soakProfile, q token.Query) {
	// A call that tokend's end cuts short is asked again, as programs do.
	const tries = 5
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		asked := time.Now()
		g, err := s.client.Get(ctx, p.name, q)
		got := time.Now()
		cancel()
		switch {
		case err == nil:
			s.ledger.answered(p.name, g.Token, p.issuer.Expiry(g.Secret.Reveal()), asked, got)
			s.ledger.took(got.Sub(asked))
		case errors.Is(err, token.ErrNoDaemon) && try < tries:
			continue
		case q.Fresh: // there may well be a token, and it was not asked for
		default:
			var e *token.Error
			errors.As(err, &e)
			code := token.Code("none")
			if e != nil {
				code = e.Code
			}
			s.ledger.failed(p.name, code, err.Error(), asked, got)
		}
		return
	}
}

func (s *stage) invalidate(p soakProfile) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.ledger.dropped(p.name)
	err := s.client.Invalidate(ctx, p.name, token.Secret{})
	s.ledger.dropped(p.name)
	if err != nil && !errors.Is(err, token.ErrUnavailable) && !errors.Is(err, token.ErrNoDaemon) {
		s.ledger.note("unexpected errors", "invalidate %s: %v", p.name, err)
	}
}

// tokenctl runs the program itself, and looks at all that it prints.
func (s *stage) tokenctl(p soakProfile) {
	cmd := s.command("tokenctl", "get", p.name, "--socket", s.client.Socket, "--timeout", patience.String())
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	asked := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		text := strings.TrimSpace(out.String())
		switch expiry := p.issuer.Expiry(text); {
		case expiry.IsZero():
			s.ledger.note("foreign tokens", "tokenctl get %s printed what the issuer did not issue", p.name)
		case !asked.Before(expiry):
			s.ledger.note("expired tokens", "tokenctl get %s", p.name)
		}
	case !errors.As(err, &exit) || out.Len() > 0:
		s.ledger.note("unexpected errors", "tokenctl get %s: %v, %d bytes on stdout", p.name, err, out.Len())
	}
	if _, err := s.log.Write(said.Bytes()); err != nil { // it is searched for secrets with the log
		s.ledger.note("unexpected errors", "%v", err)
	}
}

// annoy connects as callers do that mean no good, or know no better.
func (s *stage) annoy(ctx context.Context, random *rand.Rand) {
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			c.Close()
		}
	}()
	for ctx.Err() == nil {
		time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
		c, err := net.DialTimeout("unix", s.client.Socket, time.Second)
		if err != nil {
			continue // its queue may be full
		}
		_ = c.SetDeadline(time.Now().Add(time.Second))
		switch random.IntN(5) {
		case 0:
			silent = append(silent, c)
			if len(silent) > 50 {
				silent[0].Close()
				silent = silent[1:]
			}
			continue
		case 1:
			_, _ = c.Write(bytes.Repeat([]byte{0xff, 0, '\n'}, 4000))
		case 2:
			_, _ = c.Write([]byte("GET /v1/token/clms HTTP/1.1\r\nHost: tok"))
		case 3:
			_, _ = c.Write([]byte("POST /v1/profiles HTTP/1.1\r\nHost: tokend\r\nContent-Length: 1000000000\r\n\r\n" + strings.Repeat(`{"a":`, 10000)))
		case 4:
			_, _ = c.Write([]byte("GET /v1/token/clms HTTP/1.1\r\nHost: tokend\r\n\r\n")) // and leaves without reading
		}
		c.Close()
	}
}
