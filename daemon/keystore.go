package daemon

import (
	"context"
	"fmt"

	"tokend/providers/token"
)

// A Vault is the keystore in force, which can be another one in the end.
type Vault interface {
	About(ctx context.Context) token.KeystoreStatus
	// Unlock asks the system to unlock it, which may show a prompt. ErrLocked
	// says that the prompt still waits.
	Unlock(ctx context.Context) error
	// Migrate moves all secrets to another keystore and puts that in force, or
	// changes nothing.
	Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error)
}

// Keystore tells of the keystore in force, to those who may manage profiles.
func (d *Daemon) Keystore(ctx context.Context) (token.KeystoreStatus, error) {
	if err := d.permitManaging(ctx); err != nil {
		return token.KeystoreStatus{}, err
	}
	return d.deps.Vault.About(ctx), nil
}

// Unlock asks the system to unlock the keystore. Once it is, everything that
// failed for want of it is tried again at once.
func (d *Daemon) Unlock(ctx context.Context) error {
	if err := d.permitManaging(ctx); err != nil {
		return err
	}
	if err := d.deps.Vault.Unlock(ctx); err != nil {
		return err
	}
	d.retryKeystore()
	return nil
}

// retryKeystore plans anew what failed because of the keystore.
func (d *Daemon) retryKeystore() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.wall()
	for s := range d.allSlots() {
		if s.err != nil && fromKeystore(s.err) {
			s.nextTry = now
			d.plan(s)
		}
	}
	d.soil()
	d.nudge()
}

// Migrate moves all secrets to another keystore. Where keys lie is the host's
// business: admin_users may not decide it.
func (d *Daemon) Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	if w := d.who(ctx); !sovereign(w) {
		return token.Migrated{}, &token.Error{Code: token.ErrDenied, Field: "admin_users", Message: fmt.Sprintf(
			"uid %d may not move secrets; root may, and the user that tokend runs as", w.UID)}
	}
	before := d.deps.Vault.About(ctx)
	done, err := d.deps.Vault.Migrate(ctx, to)
	if err != nil {
		d.deps.Log.Warn("keystore not migrated; the one before stays in force", "keystore", before.Keystore, "error", err.Error())
		return done, err
	}
	d.deps.Log.Info("keystore migrated", "from", before.Keystore, "to", done.Keystore.Keystore, "secrets", done.Moved, "key_id", done.Keystore.KeyID)
	d.retryKeystore()
	return done, nil
}
