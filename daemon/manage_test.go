package daemon_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

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
	_, err := in.daemon.Rotate(in.t.Context(), token.CreateProfile{Name: "p",
		Secrets: map[string]token.Secret{"client_secret": token.NewSecret(secret)}})
	return err
}

func TestAdd(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().secret = "s3cret"
		in.start()
		a := addition("p", "from-key:s3cret")
		a.Settings["renew"] = "used"
		added, err := in.daemon.Add(t.Context(), a)
		must(t, err)
		if !added.Checked || added.Profile.Tokens[0].State != "fresh" {
			t.Errorf("added: %+v", added)
		}
		file := in.dirs.ProfileFile("p")
		for _, want := range []string{file, "client_secret", "p/client_secret/"} {
			if !strings.Contains(strings.Join(added.Kept, "\n"), want) {
				t.Errorf("what is kept where does not say %q: %q", want, added.Kept)
			}
		}
		text, err := os.ReadFile(file)
		must(t, err)
		for _, want := range []string{"provider = \"test\"\n", "renew = 'used'\n", "# which issuer\nissuer = 'idp'\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the file does not say %q:\n%s", want, text)
			}
		}
		if strings.Contains(string(text), "s3cret") || strings.Contains(string(text), "from-key") {
			t.Errorf("the file holds what belongs to the credential:\n%s", text)
		}
		if got := in.status("p").Settings.Text("scope"); got != "from-key" {
			t.Errorf("the setting that came with the secret is %v", got)
		}
		if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		in.get("p", token.Query{})
		if _, minted := in.idp().counts(); minted != 1 {
			t.Errorf("%d tokens obtained, want the one that proved the credential", minted)
		}
		if _, err := in.daemon.Add(t.Context(), a); !errors.Is(err, token.ErrExists) {
			t.Errorf("added twice: %v", err)
		}
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
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, in *installation) {
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
				if _, err := in.credentials().Current("p"); !errors.Is(err, token.ErrNotFound) {
					t.Errorf("a credential was kept: %v", err)
				}
				in.refused("p", token.Query{}, token.ErrNotFound)
			})
		})
	}
}

func TestAddWithoutACheck(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.idp().err = down
		in.start()
		a := addition("p", "s3cret")
		a.NoCheck = true
		added, err := in.daemon.Add(t.Context(), a)
		if err != nil || added.Checked {
			t.Fatalf("%+v, %v", added, err)
		}
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

		if err := in.rotate("key2:wrong"); !errors.Is(err, token.ErrRejected) {
			t.Errorf("a credential that the issuer refuses: %v", err)
		}
		if got := in.get("p", token.Query{}); got != old {
			t.Errorf("after a failed rotation %q, want %q", got, old)
		}
		in.idp().set(func(i *issuer) { i.secret = "two" })
		must(t, in.rotate("key2:two"))
		if got := in.get("p", token.Query{}); got == old {
			t.Error("the old credential's token is served")
		}
		if got := in.status("p").Settings.Text("scope"); got != "key2" {
			t.Errorf("the setting that comes with the credential is %v", got)
		}
		after, _ := os.ReadFile(in.dirs.ProfileFile("p"))
		if string(before) != string(after) {
			t.Error("rotation rewrote the profile's file")
		}
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
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, in *installation) {
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
		if err := in.daemon.Rename(t.Context(), "old", "new"); !errors.Is(err, token.ErrLocked) {
			t.Errorf("with the keyring locked: %v", err)
		}
		in.locked.Store(false)
		in.get("old", token.Query{}) // and nothing is lost
		for to, want := range map[string]token.Code{"other": token.ErrExists, "old": token.ErrExists, "../x": token.ErrInvalid} {
			if err := in.daemon.Rename(t.Context(), "old", to); !errors.Is(err, want) {
				t.Errorf("to %q: %v, want %v", to, err, want)
			}
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
		if err := in.daemon.Rename(t.Context(), "old", "new"); !errors.Is(err, token.ErrExists) {
			t.Errorf("renamed twice: %v", err)
		}
		if err := in.daemon.Rename(t.Context(), "old", "newer"); !errors.Is(err, token.ErrNotFound) {
			t.Errorf("one that is not there: %v", err)
		}
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
			if got := in.state().Orphans; !slices.Equal(got, []string{"deleted", "moved"}) {
				t.Errorf("listed: %q", got)
			}
			in.restart()
		}
		must(t, in.daemon.Remove(t.Context(), "deleted"))
		must(t, in.daemon.Rename(t.Context(), "moved", "to"))
		in.get("to", token.Query{})
		if got := in.state().Orphans; len(got) > 0 {
			t.Errorf("listed: %q", got)
		}
	})
}

func TestRemove(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.start()
		in.add(addition("p", "s3cret"))
		in.locked.Store(true)
		if err := in.daemon.Remove(t.Context(), "p"); !errors.Is(err, token.ErrLocked) {
			t.Errorf("with the keyring locked: %v", err)
		}
		in.get("p", token.Query{}) // and nothing is lost
		in.locked.Store(false)
		must(t, in.daemon.Remove(t.Context(), "p"))
		in.refused("p", token.Query{}, token.ErrNotFound)
		if _, err := os.Stat(in.dirs.ProfileFile("p")); err == nil {
			t.Error("the profile's file is still there")
		}
		if err := in.daemon.Remove(t.Context(), "p"); !errors.Is(err, token.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		in.restart()
		in.refused("p", token.Query{}, token.ErrNotFound)
	})
}

func TestStatusWarnsOfACredentialsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.start()
		a := addition("p", "s3cret")
		a.CredentialExpires = time.Now().Add(60 * 24 * time.Hour)
		in.add(a)
		if w := in.status("p").Warnings; len(w) != 0 {
			t.Errorf("warned two months ahead: %q", w)
		}
		in.restart()
		time.Sleep(31 * 24 * time.Hour)
		if w := in.status("p").Warnings; len(w) != 1 || !strings.Contains(w[0], "expires on "+a.CredentialExpires.UTC().Format(time.DateOnly)) {
			t.Errorf("a month ahead: %q", w)
		}
		time.Sleep(31 * 24 * time.Hour)
		if w := in.status("p").Warnings; len(w) != 1 || !strings.Contains(w[0], "expired on") {
			t.Errorf("after its end: %q", w)
		}
		if n := strings.Count(in.logged(), "needs attention"); n < 25 || n > 40 {
			t.Errorf("the log warned %d times in 31 days", n)
		}
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
			_, err := in.daemon.Rotate(t.Context(), token.CreateProfile{Name: "p", Step: step})
			return err
		}
		signsWith("key1", "public1", "")
		if err := rotate(token.StepRegistered); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("nothing waits, yet: %v", err)
		}
		must(t, rotate(""))
		signsWith("key1", "public1", "public2")
		// A bad file stops it before anything changes.
		before, _ := os.ReadFile(in.dirs.ProfileFile("p"))
		in.write("profiles.d/p.toml", string(before)+"unknown = 1\n")
		if err := rotate(token.StepRegistered); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("with a bad file: %v", err)
		}
		in.write("profiles.d/p.toml", string(before))
		signsWith("key1", "public1", "public2")
		if w := in.status("p").Warnings; len(w) != 1 || !strings.Contains(w[0], "waits to be registered") {
			t.Errorf("warnings %q", w)
		}
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
		for name, ask := range map[string]func() error{
			"sign": func() error { _, err := in.daemon.Get(t.Context(), "sign", token.Query{}); return err },
			"mint": func() error {
				_, err := in.daemon.Verify(t.Context(), "mint", token.Presented{Token: token.Secret{}})
				return err
			},
			"verify": func() error {
				_, err := in.daemon.Sign(t.Context(), "verify", token.Request{})
				return err
			},
		} {
			if err := ask(); !errors.Is(err, token.ErrInvalid) || !strings.Contains(err.Error(), `profile "`+name+`"`) {
				t.Errorf("%s asked for what it does not do: %v", name, err)
			}
		}
		if _, err := in.daemon.Sign(t.Context(), "nobody", token.Request{}); !errors.Is(err, token.ErrNotFound) {
			t.Errorf("unknown profile: %v", err)
		}
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
		if got := learn(); got != "1" {
			t.Fatalf("learnt %s", got)
		}
		must(t, in.daemon.Reload(t.Context()))
		if got := learn(); got != "2" {
			t.Errorf("after a reload it begins with %s", got)
		}
	})
}

func TestHosts(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary+"hosts = [\"https://a.example/api\"]\n")
		in.start()
		if h := in.status("p").Hosts; len(h) != 1 || h[0] != "https://a.example/api" {
			t.Errorf("hosts %q", h)
		}
		in.write("profiles.d/p.toml", ordinary+"hosts = [\"a.example\"]\n")
		if err := in.daemon.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "p.toml:3: hosts: ") {
			t.Errorf("a host without a scheme: %v", err)
		}
	})
}
