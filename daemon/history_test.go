package daemon_test

import (
	"context"
	"reflect"
	"strconv"
	"testing"
	"time"

	"tokend/daemon"
	"tokend/providers/token"
)

func TestTheLastAttemptsAreRemembered(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.idp().thinks = 3 * time.Second
		begin := time.Now()
		in.start()
		time.Sleep(4 * time.Second)
		in.idp().set(func(i *issuer) { i.err = down })
		for range 12 {
			time.Sleep(time.Minute)
			_, _ = in.daemon.Get(t.Context(), "p", token.Query{Fresh: true})
		}
		in.idp().set(func(i *issuer) { i.err = nil })
		time.Sleep(10 * time.Minute)
		in.get("p", token.Query{Fresh: true})

		history := in.status("p").Tokens[0].History
		if len(history) != 10 {
			t.Fatalf("%d attempts are remembered, want the last 10", len(history))
		}
		if history[0].Code != "" || history[0].Took != 3*time.Second {
			t.Errorf("the latest, which succeeded: %+v", history[0])
		}
		for i, a := range history[1:] {
			if a.Code != token.ErrUnavailable || !a.At.Before(history[i].At) || !a.At.After(begin.Add(time.Minute)) {
				t.Errorf("attempt %d: %+v after %+v", i+1, a, history[i])
			}
		}
		// The list of all profiles does not grow by it.
		st, err := in.daemon.Status(t.Context())
		if err != nil || st.Profiles[0].Tokens[0].History != nil || st.Profiles[0].Tokens[0].Content != nil {
			t.Errorf("status has %+v, %v", st.Profiles[0].Tokens[0], err)
		}
	})
}

func TestStatusShowsAnAttemptUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary)
		in.idp().thinks = 5 * time.Second
		in.start()
		same(t, "under way", in.status("p").Tokens[0].Obtaining, true)
		time.Sleep(6 * time.Second)
		same(t, "under way", in.status("p").Tokens[0].Obtaining, false)
	})
}

func from(ctx context.Context, uid, pid int, program string) context.Context {
	return context.WithValue(ctx, callerKey{}, daemon.Caller{User: token.User{UID: uid, PID: pid, Program: program}})
}

// Who may manage profiles sees who used one; others see no more than that it
// was they themselves.
func TestWhoUsedItLast(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.write("config.toml", "admin_users = ["+strconv.Quote(strconv.Itoa(carol))+"]\n")
		allowed := "allow_users = [\"" + strconv.Itoa(alice) + "\", \"" + strconv.Itoa(bob) + "\"]\n"
		in.profile("p", ordinary+allowed)
		in.profile("signs", "provider = \"sign\"\n"+allowed)
		in.start()
		time.Sleep(time.Minute)
		_, err := in.daemon.Get(from(t.Context(), alice, 42, "curl"), "p", token.Query{})
		must(t, err)
		_, _ = in.daemon.Sign(from(t.Context(), alice, 43, "python3"), "signs", token.Request{URL: "https://x"})

		seenBy := func(ctx context.Context) (ofToken, ofSigner *token.User) {
			p, err := in.daemon.Profile(ctx, "p")
			must(t, err)
			st, err := in.daemon.Status(ctx)
			if err != nil || len(st.Profiles) != 2 {
				t.Fatalf("%+v, %v", st, err)
			}
			if !reflect.DeepEqual(p.Tokens[0].LastUser, st.Profiles[0].Tokens[0].LastUser) {
				t.Errorf("the profile has %+v and status %+v", p.Tokens[0].LastUser, st.Profiles[0].Tokens[0].LastUser)
			}
			if c, _ := ctx.Value(callerKey{}).(daemon.Caller); st.MayManage != (c.UID == 0 || c.UID == carol) {
				t.Errorf("uid %d may manage profiles: %v", c.UID, st.MayManage)
			}
			differ(t, "when the signer was used", st.Profiles[1].LastUsed, time.Time{})
			return p.Tokens[0].LastUser, st.Profiles[1].LastUser
		}
		curl, python := &token.User{UID: alice, PID: 42, Program: "curl"}, &token.User{UID: alice, PID: 43, Program: "python3"}
		for name, c := range map[string]struct {
			ctx            context.Context
			token, signing *token.User
		}{
			"root": {as(t, 0), curl, python}, "an admin": {as(t, carol), curl, python},
			"alice": {as(t, alice), curl, python}, "bob": {as(t, bob), nil, nil},
		} {
			if ofToken, ofSigner := seenBy(c.ctx); !reflect.DeepEqual(ofToken, c.token) || !reflect.DeepEqual(ofSigner, c.signing) {
				t.Errorf("%s sees %+v and %+v, want %+v and %+v", name, ofToken, ofSigner, c.token, c.signing)
			}
		}
		// Who may manage a profile and not use it does not read in its token.
		for uid, reads := range map[int]bool{carol: false, alice: true} {
			if p, err := in.daemon.Profile(as(t, uid), "p"); err != nil || (p.Tokens[0].Content != nil) != reads {
				t.Errorf("uid %d reads %+v, %v", uid, p.Tokens[0].Content, err)
			}
		}
		// A reload changes nothing of it.
		must(t, in.daemon.Reload(t.Context()))
		if ofToken, ofSigner := seenBy(as(t, 0)); !reflect.DeepEqual(ofToken, curl) || !reflect.DeepEqual(ofSigner, python) {
			t.Errorf("after a reload: %+v and %+v", ofToken, ofSigner)
		}
	})
}
