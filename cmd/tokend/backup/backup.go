// Package backup saves the configuration, the profiles and their secrets in one sealed
// text, and restores them.
package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"filippo.io/age"
	"github.com/pelletier/go-toml/v2"

	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

// MaxSize bounds a backup, in bytes.
const MaxSize = 256 << 20

// A Backup is what there is to save. It is TOML, sealed in age's format.
type Backup struct {
	Version  int                `toml:"tokend_backup"`
	Config   string             `toml:"config,multiline,omitempty"`
	Profiles map[string]Profile `toml:"profiles"`
}

// A Profile is its file, and the current credential and, if there is one, the pending one.
type Profile struct {
	Text        string       `toml:"text,multiline"`
	Credentials []credential `toml:"credentials,omitempty"`
}

type credential struct {
	Secrets  map[string]string `toml:"secrets"` // in base64
	Expires  time.Time         `toml:"expires,omitempty"`
	Settings map[string]any    `toml:"settings,omitempty"`
}

// New reads what there is to save.
func New(ctx context.Context, dirs profile.Dirs, creds *store.Credentials) (Backup, error) {
	b := Backup{Version: 1, Profiles: map[string]Profile{}}
	text, err := token.ReadConfig(dirs.ConfigFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return b, errors.New(token.FileFault(err))
	}
	b.Config = string(text)
	names, err := dirs.Names()
	if err != nil {
		return b, err
	}
	for _, name := range names {
		file, err := dirs.Read(name)
		if err != nil {
			return b, err
		}
		p := Profile{Text: string(file.Text)}
		current, pending, err := creds.Kept(name)
		for _, c := range []token.Credential{current, pending} {
			secrets := map[string]string{}
			for _, field := range c.Fields {
				secret, failed := creds.Secret(ctx, c, field)
				err = cmp.Or(err, failed)
				secrets[field] = base64.StdEncoding.EncodeToString([]byte(secret.Reveal()))
			}
			if c.ID != "" {
				p.Credentials = append(p.Credentials, credential{secrets, c.Expires, c.Settings})
			}
		}
		if b.Profiles[name] = p; err != nil {
			return b, err
		}
	}
	return b, nil
}

// Seal writes b so that the recipients can read it.
func (b Backup) Seal(file io.Writer, to []age.Recipient) error {
	text, err := toml.Marshal(b)
	if err == nil && toml.Unmarshal(text, new(Backup)) != nil {
		err = errors.New("config.toml, or the file of a profile, is not in UTF-8")
	}
	if err != nil {
		return err
	}
	sealed, err := age.Encrypt(file, to...)
	if err == nil {
		_, err = sealed.Write(text)
		err = cmp.Or(err, sealed.Close())
	}
	return err
}

// Unseal returns what is in a file that Seal wrote. identities returns what may open it,
// given whether that is a passphrase.
func Unseal(file []byte, identities func(isPassphrase bool) ([]age.Identity, error)) (b Backup, err error) {
	stanza, isAge := bytes.CutPrefix(file, []byte("age-encryption.org/v1\n"))
	if !isAge {
		return b, errors.New("it is not a backup that tokend made")
	}
	isPassphrase := bytes.HasPrefix(stanza, []byte("-> scrypt "))
	by, err := identities(isPassphrase)
	if err != nil {
		return b, err
	}
	opened, err := age.Decrypt(bytes.NewReader(file), by...)
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		return b, errors.New(map[bool]string{true: "the passphrase is wrong", false: "this identity does not open it"}[isPassphrase])
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(opened)
	}
	if err != nil {
		return b, fmt.Errorf("it is damaged, or a part of it is missing: %w", err)
	}
	if toml.Unmarshal(text, &b) != nil || b.Version != 1 {
		return b, errors.New("it is not a backup that this version of tokend can read")
	}
	for name := range b.Profiles {
		err = cmp.Or(err, token.CheckName(name))
	}
	return b, err
}

// Restore stores the credentials of a profile, bound to this keystore, then its file.
func (p Profile) Restore(ctx context.Context, dirs profile.Dirs, creds *store.Credentials, name string) error {
	put := creds.Put
	for _, c := range p.Credentials {
		secrets := map[string]token.Secret{}
		for field, text := range c.Secrets {
			secret, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return fmt.Errorf("%s: its %s is damaged: %w", name, field, err)
			}
			secrets[field] = token.NewSecret(string(secret))
		}
		if _, err := put(ctx, name, secrets, token.Credential{Expires: c.Expires, Settings: c.Settings}); err != nil {
			return err
		}
		put = creds.PutPending
	}
	return profile.Write(dirs.ProfileFile(name), []byte(p.Text))
}
