package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tokend/daemon"
	"tokend/providers/token"
)

func addition(name, secret string) token.CreateProfile {
	return token.CreateProfile{
		Name: name, Provider: "test",
		Settings: map[string]any{"issuer": "idp"},
		Secrets:  map[string]token.Secret{"client_secret": token.NewSecret(secret)},
	}
}

// add adds a profile and fails the test if that fails.
func (in *installation) add(a token.CreateProfile) token.Created {
	in.t.Helper()
	created, err := in.daemon.Add(in.t.Context(), a)
	must(in.t, err)
	return created
}

// rotate gives profile p a new client secret.
func (in *installation) rotate(secret string) error {
	return errOf(in.daemon.Rotate(in.t.Context(), token.CreateProfile{Name: "p",
		Secrets: map[string]token.Secret{"client_secret": token.NewSecret(secret)}}))
}

func TestAdd(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().secret, in.idp().thinks = "s3cret", 2*time.Second
		in.start()
		a := addition("p", "from-key:s3cret")
		a.Settings["renew"] = "used"
		added := in.add(a)
		if !added.Checked || added.Profile.Tokens[0].State != "fresh" {
			t.Errorf("added: %+v", added)
		}
		file := in.dirs.ProfileFile("p")
		for _, want := range []string{file, "client_secret", "p/client_secret/"} {
			wantIn(t, "what is kept where", strings.Join(added.Kept, "\n"), want)
		}
		text, err := os.ReadFile(file)
		must(t, err)
		for _, want := range []string{"provider = \"test\"\n", "renew = 'used'\n", "# which issuer\nissuer = 'idp'\n"} {
			wantIn(t, "the file", string(text), want)
		}
		if strings.Contains(string(text), "s3cret") || strings.Contains(string(text), "from-key") {
			t.Errorf("the file holds what belongs to the credential:\n%s", text)
		}
		same(t, "the setting that came with the secret is", in.status("p").Settings.Text("scope"), "from-key")
		info, _ := os.Stat(file)
		same(t, "mode", info.Mode().Perm(), 0o600)
		same(t, "the attempt that proved it", in.status("p").Tokens[0].History[0].Took, 2*time.Second)
		in.get("p", token.Query{})
		if _, minted := in.idp().counts(); minted != 1 {
			t.Errorf("%d tokens obtained, want the one that proved the credential", minted)
		}
		wantErr(t, "added twice", errOf(in.daemon.Add(t.Context(), a)), token.ErrExists)
		in.idp().set(func(i *issuer) { i.err = down })
		in.restart()
		in.get("p", token.Query{})
	})
}

func TestAddThatFailsKeepsNothing(t *testing.T) {
	cases := map[string]struct {
		change func(in *installation, a *token.CreateProfile)
		want   token.Code
	}{
		"wrong secret":     {func(in *installation, a *token.CreateProfile) { in.idp().secret = "another" }, token.ErrRejected},
		"issuer down":      {func(in *installation, a *token.CreateProfile) { in.idp().err = down }, token.ErrUnavailable},
		"keyring locked":   {func(in *installation, a *token.CreateProfile) { in.locked.Store(true) }, token.ErrLocked},
		"no secret":        {func(in *installation, a *token.CreateProfile) { a.Secrets = nil }, token.ErrInvalid},
		"unknown provider": {func(in *installation, a *token.CreateProfile) { a.Provider = "tests" }, token.ErrInvalid},
		"unknown setting":  {func(in *installation, a *token.CreateProfile) { a.Settings["isuer"] = "x" }, token.ErrInvalid},
		"wrong type":       {func(in *installation, a *token.CreateProfile) { a.Settings["scope"] = 5 }, token.ErrInvalid},
		"said twice": {func(in *installation, a *token.CreateProfile) {
			a.Settings["scope"] = "a"
			a.Secrets = addition("p", "b:s").Secrets
		}, token.ErrInvalid},
		"bad name": {func(in *installation, a *token.CreateProfile) { a.Name = "../p" }, token.ErrInvalid},
	}
	for name, c := range cases {
		bubbleNamed(t, name, func(t *testing.T, in *installation) {
			a := addition("p", "s3cret")
			c.change(in, &a)
			in.start()
			if _, err := in.daemon.Add(t.Context(), a); !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %s", err, string(c.want))
			}
			in.locked.Store(false)
			if _, err := os.Stat(in.dirs.ProfileFile("p")); err == nil {
				t.Error("a file was written")
			}
			wantErr(t, "a credential was kept", errOf(in.credentials().Current("p")), token.ErrNotFound)
			in.refused("p", token.Query{}, token.ErrNotFound)
		})
	}
}

func TestAddWithoutACheck(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().err = down
		in.start()
		a := addition("p", "s3cret")
		a.NoCheck = true
		same(t, "checked", in.add(a).Checked, false)
		in.refused("p", token.Query{}, token.ErrUnavailable)
	})
}

func TestRotate(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().secret = "one"
		in.start()
		in.add(addition("p", "key1:one"))
		old := in.get("p", token.Query{})
		before, _ := os.ReadFile(in.dirs.ProfileFile("p"))

		wantErr(t, "a credential that the issuer refuses", in.rotate("key2:wrong"), token.ErrRejected)
		same(t, "after a failed rotation", in.get("p", token.Query{}), old)
		in.idp().set(func(i *issuer) { i.secret = "two" })
		must(t, in.rotate("key2:two"))
		differ(t, "with the new credential", in.get("p", token.Query{}), old)
		same(t, "the setting that comes with the credential is", in.status("p").Settings.Text("scope"), "key2")
		after, _ := os.ReadFile(in.dirs.ProfileFile("p"))
		same(t, "the profile's file", string(after), string(before))
		time.Sleep(2 * time.Hour)
		in.get("p", token.Query{})

		in.write("profiles.d/p.toml", ordinary+"scope = \"by hand\"\n")
		must(t, in.daemon.Reload(t.Context()))
		if err := in.rotate("key3:two"); !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("a credential that contradicts the file: %v", err)
		}
	})
}

// What happens to a profile while the issuer is asked about its new credential.
func TestRotateOfAProfileThatChanges(t *testing.T) {
	changes := map[string]func(in *installation) error{
		"edited": func(in *installation) error {
			in.write("profiles.d/p.toml", ordinary+"scope = \"new\"\n")
			return in.daemon.Reload(in.t.Context())
		},
		"removed": func(in *installation) error { return in.daemon.Remove(in.t.Context(), "p") },
	}
	for what, change := range changes {
		bubbleNamed(t, what, func(t *testing.T, in *installation) {
			in.start()
			in.add(addition("p", "one"))
			before, _ := in.credentials().Current("p")
			in.idp().set(func(i *issuer) { i.thinks = 5 * time.Second })
			rotated := make(chan error)
			go func() { rotated <- in.rotate("two") }()
			time.Sleep(time.Second)
			must(t, change(in))
			if err := <-rotated; err == nil {
				t.Error("the rotation went on with what was no more")
			}
			now, err := in.credentials().Current("p")
			if what == "removed" != errors.Is(err, token.ErrNotFound) || what != "removed" && now.ID != before.ID {
				t.Errorf("the credential is %+v, %v", now, err)
			}
			if st, err := in.daemon.Profile(t.Context(), "p"); what != "removed" && (err != nil || st.Settings.Text("scope") != "new") {
				t.Errorf("active: %+v, %v", st.Settings, err)
			}
		})
	}
}

// state returns the daemon's status.
func (in *installation) state() token.Status {
	in.t.Helper()
	st, err := in.daemon.Status(in.t.Context())
	must(in.t, err)
	return st
}

func TestRename(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.start()
		in.add(addition("old", "s3cret"))
		in.add(addition("other", "s3cret"))
		in.locked.Store(true)
		wantErr(t, "with the keyring locked", in.daemon.Rename(t.Context(), "old", "new"), token.ErrLocked)
		in.locked.Store(false)
		in.get("old", token.Query{}) // and nothing is lost
		for to, want := range map[string]token.Code{"other": token.ErrExists, "old": token.ErrExists, "../x": token.ErrInvalid} {
			wantErr(t, "to "+to, in.daemon.Rename(t.Context(), "old", to), want)
		}
		must(t, in.daemon.Rename(t.Context(), "old", "new"))
		for range 2 {
			in.refused("old", token.Query{}, token.ErrNotFound)
			in.get("new", token.Query{})
			if st := in.state(); len(st.Profiles) != 2 || len(st.Orphans) > 0 {
				t.Errorf("profiles %d, secrets without one: %q", len(st.Profiles), st.Orphans)
			}
			in.restart()
		}
		wantErr(t, "renamed twice", in.daemon.Rename(t.Context(), "old", "new"), token.ErrExists)
		wantErr(t, "one that is not there", in.daemon.Rename(t.Context(), "old", "newer"), token.ErrNotFound)
	})
}

// Secrets whose profile's file is gone are listed until they are removed or moved; a
// file that cannot be read is a profile's, too.
func TestSecretsWithoutAProfile(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("bad", "provider = 1")
		in.start()
		in.add(addition("deleted", "s3cret"))
		in.add(addition("moved", "s3cret"))
		must(t, os.Remove(in.dirs.ProfileFile("deleted")))
		must(t, os.Rename(in.dirs.ProfileFile("moved"), in.dirs.ProfileFile("to")))
		_ = in.daemon.Reload(t.Context()) // which names the bad file
		for range 2 {
			same(t, "listed", strings.Join(in.state().Orphans, " "), "deleted moved")
			in.restart()
		}
		must(t, in.daemon.Remove(t.Context(), "deleted"))
		must(t, in.daemon.Rename(t.Context(), "moved", "to"))
		in.get("to", token.Query{})
		same(t, "listed", len(in.state().Orphans), 0)
	})
}

func TestRemove(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.start()
		in.add(addition("p", "s3cret"))
		in.locked.Store(true)
		wantErr(t, "with the keyring locked", in.daemon.Remove(t.Context(), "p"), token.ErrLocked)
		in.get("p", token.Query{}) // and nothing is lost
		in.locked.Store(false)
		must(t, in.daemon.Remove(t.Context(), "p"))
		in.refused("p", token.Query{}, token.ErrNotFound)
		if _, err := os.Stat(in.dirs.ProfileFile("p")); err == nil {
			t.Error("the profile's file is still there")
		}
		wantErr(t, "removed twice", in.daemon.Remove(t.Context(), "p"), token.ErrNotFound)
		in.restart()
		in.refused("p", token.Query{}, token.ErrNotFound)
	})
}

// The end of a credential comes near: status and the log warn, each step is an event, and
// each person who gets a token learns of it once a day, until the credential is rotated.
func TestACredentialsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		const user, admin, day = 54321, 54322, 24 * time.Hour
		d := in.startWith(ordinary + fmt.Sprintf("renew = \"used\"\nallow_users = [\"%d\", \"%d\"]\nadmin_users = [\"%[2]d\"]\n", user, admin))
		w := watch(t, t.Context(), d)
		rotate := func(days time.Duration) {
			must(t, errOf(d.Rotate(t.Context(), token.CreateProfile{Name: "p", Secrets: addition("p", "new").Secrets, CredentialExpires: time.Now().Add(days * day)})))
		}
		warning := func(uid int) string {
			g, err := d.Get(context.WithValue(t.Context(), callerKey{}, daemon.Caller{User: token.User{UID: uid}}), "p", token.Query{Warn: true})
			must(t, err)
			return g.Warning
		}
		rotate(60)
		time.Sleep(time.Hour)
		for _, c := range []struct {
			days        time.Duration
			text, event string
		}{ // later; what is said then
			{29, "", ""},
			{1, "expires in 29 days, on 2000-03-01", "expiring"},
			{23, "expires in 6 days", "expiring"},
			{6, "expires in 22 h", "expiring"},
			{1, "expired on 2000-03-01", "expired"},
		} {
			watched(t, w)
			time.Sleep(c.days * day)
			wantIn(t, "status", strings.Join(in.status("p").Warnings, "; "), c.text)
			for uid, next := range map[int]string{0: ": tokenctl rotate p", admin: ": tokenctl rotate p", user: ": tell those who manage tokend"} {
				if said := warning(uid); c.text == "" && said != "" || c.text != "" && (!strings.HasPrefix(said, "The credential of p "+c.text) || !strings.HasSuffix(said, next)) {
					t.Errorf("uid %d with %q learns %q", uid, c.text, said)
				}
				time.Sleep(time.Minute)
				same(t, "said again", warning(uid), "")
			}
			events := slices.DeleteFunc(watched(t, w), func(e token.Event) bool { return e.Kind != token.EventCredential })
			if (len(events) == 1) != (c.event != "") || len(events) == 1 && (events[0].State != c.event || events[0].Profile != "p" || events[0].CredentialExpires.IsZero()) {
				t.Errorf("%q: events %+v", c.text, events)
			}
		}
		within(t, "warnings of the log", strings.Count(in.logged(), "needs attention"), 25, 40)
		rotate(365)
		time.Sleep(time.Minute)
		if events := watched(t, w); kindsOf(events) != "rotated obtained credential" || events[2].State != token.CredentialOK {
			t.Errorf("rotated: %+v", events)
		}
		same(t, "after a rotation", len(in.status("p").Warnings)+len(warning(0)), 0)
	})
}

// A key that has to be registered first: the old one signs until the person
// says that it is.
func TestRotationInSteps(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.start()
		in.add(token.CreateProfile{Name: "p", Provider: "sign"})
		signsWith := func(key, public, pending string) {
			t.Helper()
			for range 2 {
				signed, err := in.daemon.Sign(t.Context(), "p", token.Request{URL: "https://signed.example/"})
				if err != nil || signed.Headers[0].Value.Reveal() != key {
					t.Fatalf("signed %+v, %v; want it with %s", signed, err, key)
				}
				st := in.status("p")
				if st.Settings.Text("public_key") != public || st.Does != "signs" {
					t.Errorf("status %+v, want the public key %s", st, public)
				}
				if pending == "" && st.Pending != nil || pending != "" && (st.Pending == nil || st.Pending.Settings.Text("public_key") != pending) {
					t.Errorf("pending is %+v, want %q", st.Pending, pending)
				}
				in.restart()
			}
		}
		rotate := func(step string) error {
			return errOf(in.daemon.Rotate(t.Context(), token.CreateProfile{Name: "p", Step: step}))
		}
		signsWith("key1", "public1", "")
		wantErr(t, "nothing waits, yet", rotate(token.StepRegistered), token.ErrInvalid)
		must(t, rotate(""))
		signsWith("key1", "public1", "public2")
		// A bad file stops it before anything changes.
		before, _ := os.ReadFile(in.dirs.ProfileFile("p"))
		in.write("profiles.d/p.toml", string(before)+"unknown = 1\n")
		wantErr(t, "with a bad file", rotate(token.StepRegistered), token.ErrInvalid)
		in.write("profiles.d/p.toml", string(before))
		signsWith("key1", "public1", "public2")
		wantIn(t, "warnings", strings.Join(in.status("p").Warnings, "; "), "waits to be registered")
		must(t, rotate(token.StepRegistered))
		signsWith("key2", "public2", "")
		must(t, rotate(""))
		must(t, rotate(token.StepAbandon))
		signsWith("key2", "public2", "")
	})
}

func TestEachKindDoesItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("mint", ordinary)
		in.start()
		for _, kind := range []string{"sign", "verify"} {
			in.add(token.CreateProfile{Name: kind, Provider: kind})
		}
		in.restart()
		good, err := in.daemon.Verify(t.Context(), "verify", token.Presented{Token: token.NewSecret("good"), Remote: true})
		if err != nil || !good.Valid || good.Reason != "true" {
			t.Errorf("verdict %+v, %v", good, err)
		}
		for name, err := range map[string]error{
			"sign":   errOf(in.daemon.Get(t.Context(), "sign", token.Query{})),
			"mint":   errOf(in.daemon.Verify(t.Context(), "mint", token.Presented{})),
			"verify": errOf(in.daemon.Sign(t.Context(), "verify", token.Request{})),
		} {
			if !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), `profile "`+name+`"`) {
				t.Errorf("%s asked for what it does not do: %v", name, err)
			}
		}
		wantErr(t, "unknown profile", errOf(in.daemon.Sign(t.Context(), "nobody", token.Request{})), token.ErrNotFound)
		must(t, in.daemon.Remove(t.Context(), "verify"))
	})
}

// An issuer whose Date differs has tokend say so when it signs.
func TestAWarningAboutAClockThatIsOff(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().skew = -7 * time.Minute
		in.profile("mint", ordinary)
		in.start()
		in.add(token.CreateProfile{Name: "s", Provider: "sign"})
		in.get("mint", token.Query{})
		signed, err := in.daemon.Sign(t.Context(), "s", token.Request{URL: "https://signed.example/"})
		if want := "this machine's clock is 7m0s ahead of that of idp"; err != nil || signed.Warning != want {
			t.Errorf("warning %q, %v; want %q", signed.Warning, err, want)
		}
		if w := in.status("mint").Warnings; len(w) != 1 || w[0] != signed.Warning {
			t.Errorf("warnings %q", w)
		}
		in.idp().set(func(i *issuer) { i.err = down })
		time.Sleep(3 * time.Hour)
		if signed, _ := in.daemon.Sign(t.Context(), "s", token.Request{URL: "https://signed.example/"}); signed.Warning != "" {
			t.Errorf("three hours after the last answer: %q", signed.Warning)
		}
	})
}

// What a verifier has learnt outlives a reload that leaves its profile alone.
func TestReloadLetsAVerifierGoOn(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.start()
		in.add(token.CreateProfile{Name: "v", Provider: "verify"})
		learn := func() string {
			verdict, err := in.daemon.Verify(t.Context(), "v", token.Presented{Token: token.NewSecret("good")})
			must(t, err)
			return verdict.Message
		}
		same(t, "learnt", learn(), "1")
		must(t, in.daemon.Reload(t.Context()))
		same(t, "after a reload it begins with", learn(), "2")
	})
}
