package store

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// A CredentialFile is a file with an encrypted systemd credential that holds a
// key. systemd decrypts it for the service whose unit names it in
// LoadCredentialEncrypted=; otherwise only root can (systemd-creds(1)).
type CredentialFile struct {
	// Path is where the file is; Name is bound into it.
	Path, Name string
	// TPM encrypts a new one with the machine's TPM 2.0 as well as with the
	// host's key.
	TPM bool
}

// freePCR is the PCR that a credential is bound to. Applications may use it, and
// neither firmware nor boot loaders measure into it: updating those must not cost
// the secrets. systemd 252 cannot decrypt what is bound to no PCR.
const freePCR = "23"

// credsLimit is how long systemd-creds may take; a TPM can be slow.
const credsLimit = 30 * time.Second

// HasSystemdCreds reports whether this machine can make credential files.
func HasSystemdCreds() bool {
	_, err := exec.LookPath("systemd-creds")
	return err == nil
}

// HasTPM2 reports whether systemd can use a TPM 2.0 of this machine.
func HasTPM2(ctx context.Context) bool {
	_, err := systemdCreds(ctx, nil, "has-tpm2")
	return err == nil
}

// Make makes a key and keeps it in the file, for root alone, and reads it back.
// The file must not exist yet (token.ErrExists).
func (c CredentialFile) Make(ctx context.Context) (token.Secret, error) {
	if _, err := os.Lstat(c.Path); !errors.Is(err, fs.ErrNotExist) {
		return token.Secret{}, fail(token.ErrExists, "", err, "%s exists already, and tokend does not overwrite it", c.Path)
	}
	key := seal.NewKey()
	args := []string{"encrypt", "--with-key=host", "--name=" + c.Name, "-", "-"}
	if c.TPM {
		args = slices.Replace(args, 1, 2, "--with-key=host+tpm2", "--tpm2-pcrs="+freePCR)
	}
	box, err := systemdCreds(ctx, base64.StdEncoding.AppendEncode(nil, []byte(key.Reveal())), args...)
	if err == nil {
		err = replaceFile(c.Path, box)
	}
	if err != nil {
		return token.Secret{}, c.fail(err)
	}
	back, err := c.Read(ctx)
	if err == nil && !back.Equal(key) {
		err = c.fail(errors.New("it does not return what was put in"))
	}
	if err != nil {
		return token.Secret{}, errors.Join(err, os.Remove(c.Path))
	}
	return key, nil
}

// Read returns the key in the file.
func (c CredentialFile) Read(ctx context.Context) (token.Secret, error) {
	text, err := systemdCreds(ctx, nil, "decrypt", "--name="+c.Name, c.Path, "-")
	if err != nil {
		return token.Secret{}, c.fail(err)
	}
	return parseKey("systemd credential "+c.Path, text)
}

func (c CredentialFile) fail(err error) error {
	return broken("key-file", "systemd credential "+c.Path, err)
}

// systemdCreds runs systemd-creds. The last line of what it prints to its standard
// error becomes the error's text.
func systemdCreds(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, credsLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-creds", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_LOG_LEVEL=err")
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		return nil, errors.New(lines[len(lines)-1])
	}
	return out, err
}
