package daemon_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"tokend/providers/token"
)

// A vault unlocks the test's keystore, and moves nothing.
type vault struct{ in *installation }

func (v vault) About(context.Context) token.KeystoreStatus {
	return token.KeystoreStatus{KeystoreChoice: token.KeystoreChoice{Keystore: "os"}}
}

func (v vault) Unlock(context.Context) error {
	v.in.locked.Store(false)
	return nil
}

func (v vault) Migrate(_ context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	if to.Keystore == "broken" {
		return token.Migrated{}, token.ErrKeystore
	}
	return token.Migrated{Keystore: token.KeystoreStatus{KeystoreChoice: to}, Moved: 1}, nil
}

// Locked for long, tokend asks the keyring once a minute. tokenctl unlock has
// it ask at once: for the tokens that are due, and for the cache's key.
func TestUnlockHasEverythingTriedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		in.get("p", token.Query{})
		in.locked.Store(true)
		in.settle(2 * time.Hour)
		_, before := in.idp().counts()
		must(t, in.daemon.Unlock(t.Context()))
		synctest.Wait()
		if _, after := in.idp().counts(); after != before+1 {
			t.Errorf("%d tokens obtained once the keyring was unlocked, want 1", after-before)
		}

		// At the start: the cache is read at once.
		cached := in.get("p", token.Query{})
		in.locked.Store(true)
		in.idp().set(func(i *issuer) { i.err = down })
		in.restart()
		in.refused("p", token.Query{}, token.ErrLocked)
		must(t, in.daemon.Unlock(t.Context()))
		synctest.Wait()
		same(t, "unlocked", in.get("p", token.Query{}), cached)
	})
}

// Once another program unlocks the keyring, the first caller finds that
// out, and the cache is read with it.
func TestTheFirstCallerAfterUnlockingHasTheCacheRead(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.startWith(ordinary)
		cached := in.get("p", token.Query{})
		in.locked.Store(true)
		in.idp().set(func(i *issuer) { i.err = down })
		in.restart()
		in.refused("p", token.Query{}, token.ErrLocked)
		time.Sleep(10 * time.Minute)
		in.locked.Store(false)
		// The issuer's failure and the cache's token reach the first caller in either order.
		if g, err := in.daemon.Get(t.Context(), "p", token.Query{}); err == nil && g.Secret.Reveal() != cached || err != nil && !errors.Is(err, token.ErrUnavailable) {
			t.Errorf("the first caller: %q, %v", g.Secret.Reveal(), err)
		}
		synctest.Wait()
		same(t, "unlocked", in.get("p", token.Query{}), cached)
	})
}

// Admins may have the keyring unlocked. Where keys lie is for root and tokend's
// own user alone to say.
func TestWhoMayTouchTheKeystore(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.write("config.toml", "admin_users = [\""+strconv.Itoa(carol)+"\"]\n")
		in.start()
		for uid, may := range map[int]struct{ look, move bool }{0: {true, true}, carol: {true, false}, bob: {false, false}} {
			ctx := as(t, uid)
			_, look := in.daemon.Keystore(ctx)
			unlock := in.daemon.Unlock(ctx)
			_, move := in.daemon.Migrate(ctx, token.KeystoreChoice{Keystore: "os"})
			for what, got := range map[string]struct {
				err error
				may bool
			}{"look": {look, may.look}, "unlock": {unlock, may.look}, "move": {move, may.move}} {
				if got.may && got.err != nil || !got.may && !errors.Is(got.err, token.ErrDenied) {
					t.Errorf("uid %d, %s: %v", uid, what, got.err)
				}
			}
		}
		wantErr(t, "a migration that fails", errOf(in.daemon.Migrate(t.Context(), token.KeystoreChoice{Keystore: "broken"})), token.ErrKeystore)
	})
}
