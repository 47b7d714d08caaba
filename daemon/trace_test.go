package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokend/daemon"
	"tokend/providers/token"
)

func stepsOf(t *token.Trace) string {
	var words []string
	for _, s := range t.Steps() {
		words = append(words, s.What)
	}
	return strings.Join(words, " ")
}

func TestTracesShowWhatIsDone(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		d := in.startWith(ordinary + "renew = \"used\"\n")
		for _, tt := range []struct {
			query token.Query
			code  token.Code
			want  string
		}{
			{token.Query{}, "", "profile memory attempt keystore token"},
			{token.Query{}, "", "profile memory token"},
			{token.Query{Fresh: true}, "", "profile memory attempt keystore token"},
			{token.Query{Fresh: true}, token.ErrUnavailable, "profile memory attempt keystore"},
		} {
			if tt.code != "" {
				in.idp().set(func(i *issuer) { i.err = down })
			}
			time.Sleep(10 * time.Second)
			tt.query.Trace = token.NewTrace()
			_, err := d.Get(t.Context(), "p", tt.query)
			if (err == nil) != (tt.code == "") {
				t.Errorf("%v", err)
			}
			same(t, "got", stepsOf(tt.query.Trace), tt.want)
			for _, s := range tt.query.Trace.Steps() {
				if strings.Contains(s.Text, "s3cret") || strings.Contains(s.Text, "idp#") {
					t.Errorf("a secret is in %+v", s)
				}
			}
		}
	})
}

func TestATraceJoinsNoFlightOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		d := in.startWith(ordinary + "renew = \"used\"\n")
		in.idp().set(func(i *issuer) { i.thinks = 5 * time.Second })
		go func() { _, _ = d.Get(t.Context(), "p", token.Query{}) }()
		synctest.Wait()
		trace := token.NewTrace()
		must(t, errOf(d.Get(t.Context(), "p", token.Query{Trace: trace})))
		same(t, "got", stepsOf(trace), "profile memory wait token")
	})
}

// A caller who may use a profile gets its tokens, and not how they are obtained.
func TestTracesAreForAdmins(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		const uid = 54321
		d := in.startWith(ordinary + fmt.Sprintf("allow_users = [\"%d\"]\n", uid))
		user := context.WithValue(t.Context(), callerKey{}, daemon.Caller{User: token.User{UID: uid}})
		trace := token.NewTrace()
		if _, err := d.Get(user, "p", token.Query{Trace: trace}); !errors.Is(err, token.ErrDenied) || len(trace.Steps()) > 0 {
			t.Errorf("got %v, %s", err, stepsOf(trace))
		}
		must(t, errOf(d.Get(user, "p", token.Query{})))
	})
}
