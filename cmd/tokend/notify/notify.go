// Package notify shows a person what needs one: a credential that expires, one that the
// issuer refuses, a locked keyring. tokend itself shows and runs nothing; this runs
// beside it and follows its events.
package notify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"tokend/ipc"
	"tokend/providers/token"
)

// Run follows the tokends at these sockets, whether they run or not, and shows what needs
// a person, until ctx ends. Then it takes back what it showed. say reports what went wrong.
func Run(ctx context.Context, sockets []string, hook *Hook, say func(string, ...any)) {
	const busVariable = "DBUS_SESSION_BUS_ADDRESS"
	if os.Getenv(busVariable) == "" { // else godbus would start a bus of its own
		_ = os.Setenv(busVariable, "unix:path="+dbus.EscapeBusAddressValue(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "bus")))
	}
	var all sync.WaitGroup
	for _, socket := range sockets {
		f := &follower{socket: socket, hook: hook, say: say, shown: map[string]bubble{}, wait: firstWait}
		all.Go(func() { f.follow(ctx) })
	}
	all.Wait()
	hook.running.Wait()
}

// A follower shows the needs of one tokend.
type follower struct {
	socket string
	hook   *Hook
	say    func(string, ...any)
	shown  map[string]bubble
	said   string        // the last error
	wait   time.Duration // before another attempt
}

// firstWait and lastWait are the least and the most wait.
const firstWait, lastWait = time.Second, 30 * time.Second

// follow watches until ctx ends, and takes back what was shown then. While tokend is
// away, that stays.
func (f *follower) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.watch(ctx); errors.Is(err, token.ErrDenied) {
			f.sayOnce(err)
		}
		select {
		case <-time.After(f.wait):
		case <-ctx.Done():
		}
		f.wait = min(2*f.wait, lastWait)
	}
	f.settle(context.WithoutCancel(ctx), nil)
}

// sayOnce reports an error, unless it was the last one too.
func (f *follower) sayOnce(err error) {
	if text := err.Error(); text != f.said {
		f.said = text
		f.say("%s", text)
	}
}

// watch reads the status, and again after each event that may begin or end a need, until
// tokend goes away, or for a while if something could not be shown.
func (f *follower) watch(ctx context.Context) error {
	d := &ipc.Client{Socket: f.socket}
	events, err := d.Watch(ctx, nil)
	if err != nil {
		return err
	}
	defer events.Close()
	for {
		st, err := d.Status(ctx)
		if err != nil {
			return err
		}
		needs := f.needs(st, time.Now())
		waiting, end := ctx, func() {}
		if f.settle(ctx, needs) {
			f.wait = firstWait
		} else {
			waiting, end = context.WithTimeout(ctx, f.wait)
		}
		for changed := false; !changed && err == nil; {
			var e token.Event
			e, err = events.Next(waiting)
			changed = e.Kind != token.EventFailed && (e.Kind != token.EventObtained || len(needs) > 0)
		}
		if end(); err != nil {
			return err
		}
	}
}

// A need is something that a person has to do.
type need struct {
	event token.Event // in the form of tokend's own
	// step stands for how pressing it is: one that takes another step is shown again.
	step        string
	title, text string
}

// needs returns what needs a person, by keys that stay the same while it does.
func (f *follower) needs(st token.Status, now time.Time) map[string]need {
	needs, tokenctl := map[string]need{}, "tokenctl "
	if usual, _ := ipc.FindSocket(); usual != f.socket {
		tokenctl += "--socket " + f.socket + " "
	}
	add := func(e token.Event, step, title, next string) {
		e.Time = now.UTC().Round(0)
		if !st.MayManage {
			next = "Tell those who manage tokend."
		}
		needs[string(e.Kind)+" "+token.WithResource(e.Profile, e.Resource)] = need{e, step, title, next}
	}
	for _, p := range st.Profiles {
		if p.CredentialState != "" {
			step := fmt.Sprint(p.CredentialExpires.Unix(), token.StepsToEnd(p.CredentialExpires, now, math.MaxInt64))
			add(token.Event{Kind: token.EventCredential, Profile: p.Name, State: p.CredentialState, CredentialExpires: p.CredentialExpires}, step,
				p.Name+": the credential "+token.EndText(p.CredentialExpires, now), tokenctl+"rotate "+p.Name)
		}
		for _, t := range p.Tokens {
			switch {
			case t.Error == nil || t.Target != (token.Target{}):
			case t.Error.Code == token.ErrRejected:
				add(token.Event{Kind: token.EventRefused, Profile: p.Name, Resource: t.Resource, Expires: t.Expiry, Error: t.Error, Failures: t.Failures}, "",
					token.WithResource(p.Name, t.Resource)+": the issuer refuses the credential", tokenctl+"status "+p.Name+": "+t.Error.Message)
			case t.Error.Code == token.ErrLocked && strings.Contains(st.Keystore, ": locked"):
				add(token.Event{Kind: token.EventLocked}, "", "The keyring is locked", tokenctl+"unlock")
			}
		}
	}
	return needs
}

// settle shows the needs that are new or have taken a step, and takes back those that
// have ended. It returns false if something is left to show.
func (f *follower) settle(ctx context.Context, needs map[string]need) bool {
	settled := true
	for key, n := range needs {
		b, known := f.shown[key]
		if !known || b.step != n.step {
			b.step, b.waits = n.step, true
			f.hook.run(ctx, n.event, f.say)
		}
		if b.waits {
			if err := n.show(ctx, &b); err != nil {
				settled = false
				f.sayOnce(err)
			}
		}
		f.shown[key] = b
	}
	for key, b := range f.shown {
		if _, lasts := needs[key]; !lasts {
			b.takeBack(ctx)
			delete(f.shown, key)
		}
	}
	return settled
}
