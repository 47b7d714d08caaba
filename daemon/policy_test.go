package daemon_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tokend/daemon"
	"tokend/providers/token"
)

func as(t *testing.T, uid int, groups ...int) context.Context {
	return context.WithValue(t.Context(), callerKey{}, daemon.Caller{User: token.User{UID: uid}, Groups: groups})
}

const alice, bob, carol, data = 70001, 70002, 70003, 80001

func TestWhoMayUseAProfile(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.write("config.toml", "admin_users = [\""+strconv.Itoa(carol)+"\"]\n")
		in.profile("shared", ordinary+"allow_users = [\""+strconv.Itoa(alice)+"\"]\nallow_groups = [\""+strconv.Itoa(data)+"\"]\nhosts = [\"https://a.example\"]\n")
		in.profile("closed", ordinary+"hosts = [\"https://a.example/closed\"]\n")
		in.profile("everybody", ordinary+"allow_users = [\"root\", \"no such user\"]\nadmin_groups = [\"no such group\"]\n")
		d := in.start()

		can := map[string]context.Context{
			"tokend itself": t.Context(), "root": as(t, 0), "its own user": as(t, os.Geteuid()),
			"alice": as(t, alice), "a member": as(t, bob, 5, data),
		}
		for name, ctx := range can {
			if g, err := d.Get(ctx, "shared", token.Query{}); err != nil || g.Secret.IsZero() {
				t.Errorf("%s: %v", name, err)
			}
			must(t, errOf(d.Get(ctx, "", token.Query{URL: "https://a.example/x"})))
		}
		for name, ctx := range map[string]context.Context{
			"alice": as(t, alice), "a member": as(t, bob, data), "bob": as(t, bob), "an admin": as(t, carol),
			"the number of the group as user": as(t, data),
		} {
			// What is not for them is as if it were not there, in every way.
			missing := strings.ReplaceAll(errOf(d.Get(ctx, "missing", token.Query{})).Error(), "missing", "closed")
			for i, err := range []error{
				errOf(d.Get(ctx, "closed", token.Query{})),
				errOf(d.Get(ctx, "closed", token.Query{URL: "https://a.example/closed"})),
				d.Invalidate(ctx, "closed", token.Secret{}),
				errOf(d.Sign(ctx, "closed", token.Request{URL: "https://x"})),
				errOf(d.Verify(ctx, "closed", token.Presented{Token: token.NewSecret("x")})),
				errOf(d.Exchange(ctx, "closed", "https://a.example/closed")),
			} {
				if !errors.Is(err, token.ErrNotFound) || err.Error() != missing {
					t.Errorf("%s, %d: %v, want %s", name, i, err, missing)
				}
			}
		}
		// A longer path of another user's profile does not take the URL away.
		same(t, "alice", in.found(as(t, alice), "", "https://a.example/closed/x"), "shared")
		// A token of others can neither be dropped nor be found out.
		time.Sleep(time.Minute)
		g, err := d.Get(t.Context(), "closed", token.Query{})
		must(t, err)
		must(t, d.Invalidate(as(t, alice), "", g.Secret))
		if again, err := d.Get(t.Context(), "closed", token.Query{}); err != nil || !again.Secret.Equal(g.Secret) {
			t.Errorf("alice dropped a token that is not hers: %v", err)
		}

		// Status shows each what it may use, and all to those who manage.
		for _, c := range []struct {
			ctx  context.Context
			want string
		}{
			{as(t, alice), "shared"}, {as(t, bob), ""}, {as(t, bob, data), "shared"},
			{as(t, carol), "closed everybody shared"}, {as(t, 0), "closed everybody shared"},
		} {
			st, err := d.Status(c.ctx)
			var names []string
			for _, p := range st.Profiles {
				names = append(names, p.Name)
			}
			if got := strings.Join(names, " "); err != nil || got != c.want {
				t.Errorf("status: %q (%v), want %q", got, err, c.want)
			}
		}
		if p, err := d.Profile(as(t, carol), "everybody"); err != nil || !strings.Contains(strings.Join(p.Warnings, "\n"), "no user \"no such user\"\nthere is no group \"no such group\"") {
			t.Errorf("an unknown name: %q, %v", p.Warnings, err)
		}
	})
}

func TestWhoMayManageProfiles(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.write("config.toml", "admin_users = [\""+strconv.Itoa(carol)+"\"]\nadmin_groups = [\""+strconv.Itoa(data)+"\"]\n")
		in.profile("p", ordinary+"allow_users = [\""+strconv.Itoa(alice)+"\"]\n")
		in.profile("broken", "provider = \"tset\"\n")
		d := in.start()
		calls := map[string]func(context.Context) error{
			"add": func(ctx context.Context) error {
				return errOf(d.Add(ctx, token.CreateProfile{Name: "new", Provider: "tset"}))
			},
			"rotate": func(ctx context.Context) error { return errOf(d.Rotate(ctx, token.CreateProfile{Name: "missing"})) },
			"remove": func(ctx context.Context) error { return d.Remove(ctx, "missing") },
			"rename": func(ctx context.Context) error { return d.Rename(ctx, "missing", "other") },
			"reload": func(ctx context.Context) error { return d.Reload(ctx) },
		}
		for name, call := range calls {
			for _, ctx := range []context.Context{as(t, alice), as(t, bob)} {
				wantErr(t, name, call(ctx), token.ErrDenied)
			}
			for _, ctx := range []context.Context{as(t, carol), as(t, bob, data), as(t, 0), t.Context()} {
				if err := call(ctx); err == nil || errors.Is(err, token.ErrDenied) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		wantErr(t, "digests", errOf(daemon.Digests(as(t, carol), d, "p")), token.ErrDenied)
		wantErr(t, "the audit log", errOf(daemon.AuditLog(as(t, bob), d, nil)), token.ErrDenied)
		// Only callers who can fix the files see what is wrong with them.
		for uid, shown := range map[int]bool{alice: false, carol: true, 0: true} {
			st, err := d.Status(as(t, uid))
			if err != nil || (len(st.ConfigErrors) > 0) != shown || (len(st.Warnings) > 0) != shown {
				t.Errorf("uid %d: %q, %q, %v", uid, st.ConfigErrors, st.Warnings, err)
			}
			entries, err := daemon.AuditLog(as(t, uid), d, func(string) iter.Seq[token.AuditEntry] {
				return slices.Values([]token.AuditEntry{{User: token.User{UID: bob}}, {User: token.User{UID: alice}}})
			})
			if seen := slices.Collect(entries); err != nil || (len(seen) == 2) != shown || seen[len(seen)-1].UID != alice {
				t.Errorf("uid %d sees %+v of the audit log: %v", uid, seen, err)
			}
			if _, err := d.Get(as(t, uid), "broken", token.Query{}); (strings.Contains(err.Error(), "not active")) != shown {
				t.Errorf("uid %d: %v", uid, err)
			}
		}
	})
}

// tokend writes sinks with its own rights: admin_users cannot plant one, however
// it is written, and can still rotate a profile that has one.
func TestOnlyTheOwnerAddsSinks(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		dir := t.TempDir()
		in.write("config.toml", "admin_users = [\""+strconv.Itoa(carol)+"\"]\n")
		d := in.startWith(ordinary + "[[sink]]\npath = '" + dir + "/p'\n")
		for i, key := range []string{"sink", "Sink", "SINK"} {
			for _, noCheck := range []bool{false, true} {
				a := addition("new", "from-key:s3cret")
				a.NoCheck, a.Settings[key] = noCheck, []any{map[string]any{"path": dir + "/new", "resource": []string{"", "r", "r"}[i]}}
				a.Settings["resources"] = map[string]any{"r": map[string]any{"scope": "s"}}
				wantErr(t, key, errOf(d.Add(as(t, carol), a)), token.ErrDenied)
				a.Name += strconv.Itoa(i)
				wantErr(t, key, errOf(d.Add(as(t, carol), a)), token.ErrDenied)
			}
		}
		must(t, errOf(d.Rotate(as(t, carol), token.CreateProfile{Name: "p",
			Secrets: map[string]token.Secret{"client_secret": token.NewSecret("s3cret")}})))
		for _, ctx := range []context.Context{as(t, 0), t.Context()} {
			a := addition("by-owner", "from-key:s3cret")
			a.Settings["sink"] = []any{map[string]any{"path": dir + "/owner"}}
			must(t, errOf(d.Add(ctx, a)))
			must(t, d.Remove(ctx, a.Name))
		}
	})
}

// What is refused whatever its body says is refused before that is read, in the
// words of the refusal itself.
func TestWhoMaySendABody(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.write("config.toml", "admin_users = [\""+strconv.Itoa(carol)+"\"]\n")
		d := in.startWith(ordinary + "allow_users = [\"" + strconv.Itoa(alice) + "\"]\nallow_groups = [\"" + strconv.Itoa(data) + "\"]\n")
		for _, c := range []struct {
			ctx                 context.Context
			known, uses, manage bool
		}{
			{as(t, alice), true, true, false}, {as(t, bob, data), true, true, false}, {as(t, carol), true, true, true},
			{as(t, bob), false, false, false}, {as(t, 0), true, true, true}, {t.Context(), true, true, true},
		} {
			caller := c.ctx.Value(callerKey{})
			if err := d.Admit(c.ctx, "", false); (err == nil) != c.known {
				t.Errorf("%v: known is not %v", caller, c.known)
			}
			if err := d.Admit(c.ctx, "p", false); (err == nil) != c.uses || err != nil && err.Error() != `no profile "p"` {
				t.Errorf("%v: %v", caller, err)
			}
			_, add := d.Add(c.ctx, token.CreateProfile{Name: "new", Provider: "tset"})
			if err := d.Admit(c.ctx, "", true); (err == nil) != c.manage || err != nil && err.Error() != add.Error() {
				t.Errorf("%v: %v", caller, err)
			}
		}
	})
}

// One user's scopes do not keep other users from theirs, nor do those of many the
// owner; no one is kept from the profile's own.
func TestScopesAreSharedBetweenUsers(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		d := in.startWith("provider = \"test\"\nissuer = \"idp\"\nrenew = \"used\"\nallow_groups = [\"" + strconv.Itoa(data) + "\"]\n")
		ask := func(ctx context.Context, from, n int) (got int) {
			for i := range n {
				if _, err := d.Get(ctx, "p", token.Query{Target: token.Target{Scope: "s" + strconv.Itoa(from+i)}}); err == nil {
					got++
				} else if !errors.Is(err, token.ErrInvalid) {
					t.Error(err)
				}
			}
			return got
		}
		for i, want := range []int{16, 16, 16, 0} {
			same(t, "user", ask(as(t, alice+10+i, data), 100*i, 20), want)
		}
		same(t, "of the scopes that are there another user gets", ask(as(t, bob, data), 0, 16), 16)
		d = in.restart()
		same(t, "after a restart a user", ask(as(t, alice+20, data), 900, 20), 0)
		same(t, "root has", ask(as(t, 0), 1000, 20), 16)
		must(t, errOf(d.Get(as(t, bob, data), "p", token.Query{})))
	})
}
