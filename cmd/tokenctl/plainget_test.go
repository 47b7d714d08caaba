package main

import (
	"bytes"
	"strings"
	"testing"

	"tokend/providers/token"
)

// The plain form of get says and does what the real parser would have it say
// and do.
func TestPlainGetIsGet(t *testing.T) {
	refused := newBackend()
	refused.err = &token.Error{Code: token.ErrRejected, Message: "invalid_grant: the key was revoked"}
	unknown := newBackend()
	unknown.err = &token.Error{Code: token.ErrNotFound, Message: `no profile "clsm"`}
	for name, b := range map[string]*backend{"granted": newBackend(), "refused": refused, "unknown": unknown} {
		socket := serve(t, b)
		for _, line := range []string{
			"get clms --socket S", "get --socket S clms", "get clms -o env --socket S", "get --output header clms --socket S",
			"get clms -o xml --socket S", "get clms -o token -o curl --socket S", "get clms --socket /nowhere/s", "get clms -o --socket --socket S",
			"get clms --socket /nowhere --socket S", "get a/b --socket S",
		} {
			args := strings.Fields(strings.ReplaceAll(line, " S", " "+socket))
			var out, errs bytes.Buffer
			a := &app{out: newScreen(&out), err: newScreen(&errs)}
			profile, as, ok := a.plainGet(args)
			if !ok {
				t.Errorf("%s: left to the parser", line)
				continue
			}
			plain := result{a.getPlainly(args, profile, as), out.String(), errs.String()}
			out.Reset()
			errs.Reset()
			parsed := &app{out: newScreen(&out), err: newScreen(&errs)}
			if want := (result{parsed.execute(args), out.String(), errs.String()}); plain != want {
				t.Errorf("%s, %s: plainly %+v, parsed %+v", name, line, plain, want)
			}
		}
	}
}

// What is not plain is left to the parser, and nothing of it is kept.
func TestWhatIsNoPlainGet(t *testing.T) {
	for _, line := range []string{
		"", "get", "list clms", "get clms more", "get clms -o", "get clms --socket", "get clms --fresh", "get clms -ojson", "get clms --output=json",
		"get -- clms", "get clms --help", "get --url https://x", "--socket s get clms", "get clms --socket s --timeout 5",
	} {
		a := &app{}
		if _, _, ok := a.plainGet(strings.Fields(line)); ok || a.socket != "" || a.profile != "" {
			t.Errorf("%q: taken, or left socket %q and profile %q", line, a.socket, a.profile)
		}
	}
}
