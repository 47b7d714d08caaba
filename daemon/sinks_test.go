//go:build unix

package daemon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// sinkDir is a directory that only its owner can write.
func sinkDir(t *testing.T) string {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	return dir
}

func sinkOf(path, more string) string {
	return fmt.Sprintf("%s[[sink]]\npath = %q\n%s", ordinary, path, more)
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// A reader that looks at any time finds a whole token with the life it needs,
// over renewals, an outage, and what comes after.
func TestASinkNeverHoldsAShortLivedToken(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		path := filepath.Join(sinkDir(t), "token.json")
		in.startWith(sinkOf(path, "format = \"json\"\nmin_ttl = \"25m\"\nmode = \"0640\"\n"))
		seen, gone := map[string]bool{}, 0
		begin := time.Now()
		for time.Since(begin) < 6*time.Hour {
			switch time.Since(begin) {
			case 2 * time.Hour:
				in.idp().set(func(i *issuer) { i.err = &token.Error{Code: token.ErrUnavailable, Message: "away"} })
			case 4 * time.Hour:
				in.idp().set(func(i *issuer) { i.err = nil })
			}
			in.settle(time.Second)
			text := content(t, path)
			if text == "" {
				gone++
				continue
			}
			var answer struct {
				AccessToken string    `json:"access_token"`
				ExpiresAt   time.Time `json:"expires_at"`
			}
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			seen[answer.AccessToken] = true
			if left := time.Until(answer.ExpiresAt); left < 25*time.Minute-time.Second {
				t.Fatalf("after %v the token in the file lives %v", time.Since(begin), left)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		// Renewed in time as long as the issuer answers; gone during the outage
		// from the moment on that the token was too short, and back soon after.
		if len(seen) < 8 || gone < int((80*time.Minute).Seconds()) || gone > int((2*time.Hour+5*time.Minute).Seconds()) {
			t.Errorf("%d tokens, without a file for %d s", len(seen), gone)
		}
	})
}

func TestASinkFollowsItsProfile(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		dir := sinkDir(t)
		raw, header, last := filepath.Join(dir, "raw"), filepath.Join(dir, "header"), filepath.Join(dir, "last")
		in.profile("p", sinkOf(raw, "[[sink]]\npath = \""+header+"\"\nformat = \"header\"\n"))
		in.profile("q", sinkOf(last, "remove_at_stop = true\n")+"")
		d := in.start()
		first, _ := d.Get(t.Context(), "p", token.Query{})
		synctest.Wait()
		same(t, "raw", content(t, raw), first.Secret.Reveal())

		// An invalidated token is replaced at once, without anybody asking.
		time.Sleep(time.Minute)
		must(t, d.Invalidate(t.Context(), "p", first.Secret))
		in.settle(time.Second)
		second, _ := d.Get(t.Context(), "p", token.Query{})
		if got := content(t, raw); got != second.Secret.Reveal() || second.Secret.Equal(first.Secret) {
			t.Errorf("after invalidation: %q", got)
		}

		// A reload changes how it is written, and which files there are.
		in.write("profiles.d/p.toml", sinkOf(header, "format = \"env\"\nmode = \"0644\"\n"))
		must(t, d.Reload(t.Context()))
		synctest.Wait()
		if got := content(t, header); !strings.HasPrefix(got, "ACCESS_TOKEN='") || content(t, raw) != "" {
			t.Errorf("after a reload: %q, %q", got, content(t, raw))
		}

		// A stop leaves the file that it is not asked to take away.
		in.stop()
		if content(t, header) == "" || content(t, last) != "" {
			t.Errorf("after a stop: %q, %q", content(t, header), content(t, last))
		}
		// What lost its profile meanwhile is removed at the next start.
		must(t, os.Remove(in.dirs.ProfileFile("p")))
		d = in.restart()
		synctest.Wait()
		if content(t, header) != "" || content(t, last) == "" {
			t.Errorf("after a restart: %q, %q", content(t, header), content(t, last))
		}
		must(t, d.Remove(t.Context(), "q"))
		synctest.Wait()
		same(t, "the file of a removed profile", content(t, last), "")
		in.stop()
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	})
}

// While the keyring is locked at a start, the file of the last run stays for
// as long as its token is good.
func TestASinkOutlivesALockedStart(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		path := filepath.Join(sinkDir(t), "token")
		in.startWith(sinkOf(path, "min_ttl = \"5m\"\n"))
		in.settle(time.Second)
		before := content(t, path)
		in.stop()
		in.locked.Store(true)
		in.restart()
		in.settle(50 * time.Minute)
		if got := content(t, path); got != before || got == "" {
			t.Errorf("%q became %q", before, got)
		}
		in.settle(6 * time.Minute)
		same(t, "the file once its token is no good", content(t, path), "")
		in.locked.Store(false)
		in.settle(2 * time.Minute)
		if got := content(t, path); got == "" || got == before {
			t.Errorf("after the keyring was unlocked: %q", got)
		}
	})
}

func TestAWarningAboutASinkThatCannotBeWritten(t *testing.T) {
	dir := sinkDir(t)
	open := filepath.Join(dir, "open")
	must(t, os.Mkdir(open, 0o777))
	must(t, os.Chmod(open, 0o777))
	sticky := filepath.Join(dir, "sticky")
	must(t, os.Mkdir(sticky, 0o700))
	must(t, os.Chmod(sticky, os.ModeSticky|0o777))
	must(t, os.Symlink(dir, filepath.Join(sticky, "link")))
	team := filepath.Join(dir, "team")
	must(t, os.Mkdir(team, 0o700))
	must(t, os.Chmod(team, 0o770))
	precious := filepath.Join(dir, "precious")
	must(t, os.WriteFile(precious, []byte("precious"), 0o600))
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(precious, link))
	for text, want := range map[string]string{
		sinkOf(filepath.Join(dir, "none", "x"), ""):          "no such file or directory",
		sinkOf(filepath.Join(open, "x"), ""):                 "others can write directory",
		sinkOf(filepath.Join(team, "x"), ""):                 "chmod go-w " + team,
		sinkOf(link, ""):                                     "did not write",
		sinkOf(filepath.Join(sticky, "link", "x"), ""):       "sticky/link is a link where another user can put one",
		sinkOf(precious, ""):                                 "did not write",
		sinkOf(filepath.Join(dir, "x"), `min_ttl = "2h"`):    "tokens live 1h0m0s",
		sinkOf(filepath.Join(dir, "x"), `format = "netrc"`):  "hosts",
		sinkOf(filepath.Join(dir, "x"), `format = "header"`): "Bearer header cannot", // these tokens have a '#'
	} {
		bubble(t, func(t *testing.T, in *installation) {
			d := in.startWith(text)
			in.settle(time.Second)
			p, err := d.Profile(t.Context(), "p")
			if all := strings.Join(p.Warnings, "\n"); err != nil || !strings.Contains(all, want) {
				t.Errorf("%s: %q, %v", text, all, err)
			}
			must(t, errOf(d.Get(t.Context(), "p", token.Query{})))
			must(t, d.Remove(t.Context(), "p"))
			synctest.Wait()
		})
	}
	same(t, "a file that a link led to", content(t, precious), "precious")
}

// With root's rights the file can be another user's, from the first moment.
func TestASinkIsGivenAway(t *testing.T) {
	checktest.NeedRoot(t, "to give a file away")
	bubble(t, func(t *testing.T, in *installation) {
		path := filepath.Join(sinkDir(t), "token")
		in.startWith(sinkOf(path, "owner = \"70001\"\ngroup = \"70002\"\nmode = \"0440\"\n"))
		in.settle(time.Second)
		info, err := os.Stat(path)
		must(t, err)
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 70001 || st.Gid != 70002 || info.Mode() != 0o440 {
			t.Errorf("uid %d, gid %d, mode %v", st.Uid, st.Gid, info.Mode())
		}
	})
}

// A user for whom root keeps a file puts links in its path while tokend does not
// run, and while it does. Root's own links are followed.
func TestASinkFollowsNoLinkOfItsUser(t *testing.T) {
	checktest.NeedRoot(t, "to play root and another user")
	const user = 70001
	top := sinkDir(t)
	home, roots := filepath.Join(top, "home"), filepath.Join(top, "root")
	app, away := filepath.Join(home, "app"), filepath.Join(home, "away")
	sub, precious := filepath.Join(roots, "sub"), filepath.Join(roots, "token")
	for _, d := range []string{home, app, roots, sub} {
		must(t, os.Mkdir(d, 0o755))
	}
	must(t, os.Mkdir(filepath.Join(roots, "app"), 0o755))
	must(t, os.Chown(home, user, user))
	must(t, os.Chown(app, user, user))
	must(t, os.WriteFile(precious, []byte("precious"), 0o600))
	must(t, os.Symlink("home", filepath.Join(top, "link"))) // root's
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(sinkOf(filepath.Join(top, "link", "app", "token"), "owner = \"70001\"\n"))
		settle := func() string {
			time.Sleep(time.Hour) // another token, and another try
			synctest.Wait()
			return strings.Join(in.status("p").Warnings, "\n")
		}
		if said := settle(); said != "" || content(t, filepath.Join(app, "token")) == "" {
			t.Errorf("before: %q", said)
		}
		for _, target := range []string{roots, "../root", sub} {
			for _, running := range []bool{true, false} {
				if !running {
					in.stop()
				}
				must(t, os.Rename(app, away))
				must(t, os.Symlink(target, app))
				must(t, os.Lchown(app, user, user))
				if !running {
					in.restart()
				}
				wantIn(t, target, settle(), app+" is a link where another user can put one")
				must(t, os.Remove(app))
				must(t, os.Rename(away, app))
				must(t, os.RemoveAll(filepath.Join(app, "token")))
				if said := settle(); said != "" || content(t, filepath.Join(app, "token")) == "" {
					t.Errorf("the directory is back: %q", said)
				}
			}
		}
		// A link above the directory, and root's directory in place of the user's.
		must(t, os.Rename(home, home+"2"))
		must(t, os.Symlink("root", home))
		must(t, os.Chown(top, user, user))
		wantIn(t, "a link above", settle(), "is a link")
		must(t, os.Chown(top, 0, 0))
	})
	if left, _ := os.ReadDir(sub); len(left) > 0 || content(t, precious) != "precious" {
		t.Errorf("%v, %q", left, content(t, precious))
	}
}

// Files are known by their inodes: what came to a file's place is someone's.
func TestASinkReplacesItsOwnFileOnly(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		dir := sinkDir(t)
		path, list := filepath.Join(dir, "a token"), filepath.Join(in.dirs.State, "sinks")
		other := filepath.Join(dir, "other")
		must(t, os.WriteFile(other, []byte("precious"), 0o600))
		in.startWith(sinkOf(path, ""))
		later := func() string { time.Sleep(time.Hour); synctest.Wait(); return content(t, path) }
		first := later()
		must(t, os.Symlink(other, filepath.Join(dir, ".a token.tokend"))) // in the way of the next file
		if got := later(); got == "" || got == first || content(t, other) != "precious" {
			t.Errorf("replaced: %q", got)
		}
		in.stop()
		second := content(t, path)
		in.restart()
		if got := later(); got == "" || got == second {
			t.Errorf("after a restart: %q", got)
		}

		// The list of an older tokend knows paths alone.
		in.stop()
		second = content(t, path)
		must(t, os.WriteFile(list, []byte("946688400 "+path+"\n"), 0o600))
		in.restart()
		if got := later(); got == "" || got == second {
			t.Errorf("with an older list: %q", got)
		}

		for _, running := range []bool{true, false} {
			if !running {
				in.stop()
			}
			must(t, os.Rename(path, path+".old"))
			must(t, os.Link(other, path))
			if !running {
				in.restart()
			}
			if got := later(); got != "precious" || !strings.Contains(strings.Join(in.status("p").Warnings, ""), "did not write") {
				t.Errorf("running %t: %q", running, got)
			}
			in.stop()
			in.restart()
			same(t, "after another restart", later(), "precious")
			must(t, os.Remove(path))
			differ(t, "the way is free, and the file", later(), "")
		}
		in.stop()
		must(t, os.Rename(path, path+".old"))
		must(t, os.Link(other, path))
		must(t, os.Remove(in.dirs.ProfileFile("p")))
		in.restart()
		same(t, "removed with its profile", later(), "precious")
	})
}
