package daemon

import (
	"context"

	"tokend/providers/token"
)

// A Vault is the keystore, which a migration replaces.
type Vault interface {
	About(ctx context.Context) token.KeystoreStatus
	// Unlock asks the system to unlock it, which may show a prompt. ErrLocked
	// says that the prompt still waits.
	Unlock(ctx context.Context) error
	// Migrate moves all secrets to another keystore and uses that from then on, or
	// changes nothing.
	Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error)
}

// Keystore describes the keystore to callers who may manage profiles.
func (d *Daemon) Keystore(ctx context.Context) (token.KeystoreStatus, error) {
	if err := d.requireAdmin(ctx); err != nil {
		return token.KeystoreStatus{}, err
	}
	return d.deps.Vault.About(ctx), nil
}

// Unlock asks the system to unlock the keystore. Then everything that failed
// without it is tried again at once.
func (d *Daemon) Unlock(ctx context.Context) error {
	if err := d.requireAdmin(ctx); err != nil {
		return err
	}
	if err := d.deps.Vault.Unlock(ctx); err != nil {
		return err
	}
	d.mint.Retry()
	return nil
}

// Migrate moves all secrets to another keystore. admin_users may not
// decide where a host keeps its keys.
func (d *Daemon) Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	if c := d.caller(ctx); !c.isOwner() {
		return token.Migrated{}, denied("admin_users", "uid %d may not move secrets; root may, and the user that tokend runs as", c.UID)
	}
	before := d.deps.Vault.About(ctx)
	done, err := d.deps.Vault.Migrate(ctx, to)
	if err != nil {
		d.deps.Log.Warn("keystore not migrated; the one before stays in use", "keystore", before.Keystore, "error", err.Error())
		return done, err
	}
	d.deps.Log.Info("keystore migrated", "from", before.Keystore, "to", done.Keystore.Keystore, "secrets", done.Moved, "key_id", done.Keystore.KeyID)
	d.mint.Retry()
	return done, nil
}
