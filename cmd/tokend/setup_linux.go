package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"tokend/cmd/tokend/confine"
	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

// serviceUser is the account that the system unit runs as.
const serviceUser = service.User

// An account owns the files of a setup. Ids of -1 stand for the caller.
type account struct {
	name     string
	uid, gid int
}

// account returns the account of the system service if root sets that up, which
// must not leave files that the service cannot read.
func (p places) account(name string) (account, error) {
	if !p.system || os.Geteuid() != 0 {
		return account{uid: -1, gid: -1}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("there is no user %q for the service to run as; make it (useradd --system --user-group --no-create-home --shell /usr/sbin/nologin %s) or name another with --service-user", name, name)
	}
	a := account{name: name}
	if a.uid, err = strconv.Atoi(u.Uid); err == nil {
		a.gid, err = strconv.Atoi(u.Gid)
	}
	return a, err
}

// owner returns the account that owns a state directory, which root becomes before
// it reads that.
func (p places) owner(state string) account {
	info, err := os.Lstat(state)
	if !p.system || os.Geteuid() != 0 || err != nil || store.Owner(info) == 0 {
		return account{uid: -1, gid: -1}
	}
	uid := store.Owner(info)
	return account{name: fmt.Sprintf("with uid %d", uid), uid: uid, gid: int(info.Sys().(*syscall.Stat_t).Gid)}
}

// makeDirs makes the service's missing directories: the configuration, which the
// service reads; the profiles, which it writes; and its state, which is private. Those
// of an installation it repairs.
func (a account) makeDirs(dirs profile.Dirs, isSetUp bool, out io.Writer) error {
	if a.uid < 0 {
		return nil
	}
	if isSetUp {
		if err := a.repair(dirs, out); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		path string
		uid  int
		mode fs.FileMode
	}{{dirs.Config, 0, 0o750}, {dirs.ProfilesDir(), a.uid, 0o700}, {dirs.State, a.uid, 0o700}} {
		if err := makeDir(d.path, d.uid, a.gid, d.mode); err != nil {
			return err
		}
	}
	if info, err := os.Lstat(dirs.State); err != nil || store.Owner(info) != a.uid || !info.IsDir() {
		return fmt.Errorf("%s is not a directory of the user %s, whom the service runs as: chown -R %s: %s", dirs.State, a.name, a.name, dirs.State)
	}
	return nil
}

// repair gives the files of an installation back to their owners, which a backup
// may not have kept: those of the state directory, the profiles and the key file to
// the service, the configuration to root and the service's group. It follows no link
// out of the two directories, and leaves a file alone that has another name elsewhere.
func (a account) repair(dirs profile.Dirs, out io.Writer) error {
	for _, dir := range []string{dirs.Config, dirs.State} {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := root.Lstat(name)
			if err != nil {
				return err
			}
			uid, stat := a.uid, info.Sys().(*syscall.Stat_t)
			switch {
			case dir == dirs.State, name == keyFileName, strings.HasPrefix(name, "profiles.d"):
			case name == ".", name == "config.toml":
				uid = 0
			default:
				return nil
			}
			if int(stat.Uid) == uid && int(stat.Gid) == a.gid || !e.IsDir() && stat.Nlink > 1 {
				return nil
			}
			fmt.Fprintf(out, "Repaired the owner of %s.\n", filepath.Join(dir, name))
			return root.Lchown(name, uid, a.gid)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory with this owner and mode. An existing one stays as it is.
func makeDir(path string, uid, gid int, mode fs.FileMode) error {
	if err := os.Mkdir(path, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	// The directory above can belong to another user: follow no link.
	dir, err := os.OpenFile(path, syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return cmp.Or(dir.Chown(uid, gid), dir.Chmod(mode), dir.Close())
}

// become changes to the account for good.
func (a account) become() error {
	if a.uid < 0 {
		return nil
	}
	if err := cmp.Or(syscall.Setgroups([]int{a.gid}), syscall.Setgid(a.gid), syscall.Setuid(a.uid)); err != nil {
		return fmt.Errorf("becoming the user %s: %w", a.name, err)
	}
	confine.DenyTracing() // a change of user allows it again, or may
	return nil
}

// mayMakeCredential reports whether this setup could make a credential.
func (a account) mayMakeCredential() bool { return a.uid >= 0 && store.HasSystemdCreds() }

// mayPassCredential reports whether systemd would pass the service a credential that
// this setup makes.
func mayPassCredential() bool {
	return os.Geteuid() == 0 && store.HasSystemdCreds() && service.HasSystemUnit()
}

// makeCredential makes the credential if it is missing, only on the first setup, and
// has the unit pass it to the service.
func makeCredential(ctx context.Context, name string, dirs profile.Dirs, first bool, out io.Writer) (kek token.Secret, err error) {
	file := store.CredentialFile{Path: credentialPath(dirs, name), Name: name}
	switch {
	case service.Exists(file.Path):
		kek, err = file.Read(ctx)
	case !first:
		err = fmt.Errorf("%s is missing, and with it the key of the secrets: restore it from a backup, or start over: tokend setup --system --reset", file.Path)
	default:
		file.TPM = store.HasTPM2(ctx)
		to := "this host's key (it has no TPM 2.0 that systemd can use), so it does not protect a stolen disk"
		if file.TPM {
			to = "this machine's TPM 2.0 and this host's key"
		}
		if kek, err = file.Make(ctx); err == nil {
			fmt.Fprintf(out, "A new key is in %s, encrypted with %s. No other machine can read it: keep the originals of your secrets, or be ready to get new ones.\n", file.Path, to)
		}
	}
	if err != nil {
		return kek, err
	}
	return kek, handOver(ctx, file, out)
}

// handOver has systemd pass the credential to the service, with a drop-in for its
// unit.
func handOver(ctx context.Context, file store.CredentialFile, out io.Writer) error {
	if strings.ContainsFunc(file.Path, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`%:"'\`, r) }) {
		return fmt.Errorf("a unit of systemd cannot hold %q; use a configuration directory with a plain name", file.Path)
	}
	dropIn := service.SystemDropIn(file.Name)
	text := fmt.Sprintf("# Written by tokend setup: the key of the sealed secrets.\n[Service]\nLoadCredentialEncrypted=%s:%s\n", file.Name, file.Path)
	if service.Holds(dropIn, text) {
		return nil
	}
	if err := service.WriteFile(dropIn, text); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s passes it to the service.\n", dropIn)
	booted := service.Exists("/run/systemd/system") // sd_booted(3)
	if booted && exec.CommandContext(ctx, "systemctl", "daemon-reload").Run() != nil {
		fmt.Fprintln(out, "systemd did not read it: run systemctl daemon-reload")
	}
	return nil
}

// removeHandOver undoes handOver.
func removeHandOver() error {
	file := service.SystemDropIn(credentialName)
	err := os.RemoveAll(file)         // which may be missing
	_ = os.Remove(filepath.Dir(file)) // if it is empty
	return err
}
