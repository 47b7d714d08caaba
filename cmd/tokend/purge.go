package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/store"
)

// A purgeRequest is about the files that uninstall otherwise leaves.
type purgeRequest struct{ wanted, yes bool }

// What tokend and its setup make, by directory. Other files there stay.
var (
	madeInConfig = []string{"config.toml", "profiles.d/*.toml", "profiles.d/.*.toml*", "profiles.d", "tokend.key", "tokend-key.cred*", ".tokend-key.cred*"}
	madeInState  = []string{"install.toml", ".install.toml*", "credentials", "sealed", "sealed-2", "cache.db", "cache.db.*",
		"audit.log", "audit-*.log", "sinks", "tokend.log", "tokend-*.log", "tokend.sock.lock", "start.lock", "holder.json", store.AsidePrefix + "*"}
)

// A madeDir is one of tokend's directories, and the files of tokend in it.
type madeDir struct {
	path  string
	names []string // paths inside, files before their directories
}

// madeDirs returns the directories that exist. On macOS and Windows the second, the
// state, is in the first.
func madeDirs(dirs profile.Dirs) (made []madeDir) {
	for _, dir := range []madeDir{{dirs.Config, madeInConfig}, {dirs.State, madeInState}} {
		var names []string
		for _, pattern := range dir.names {
			found, _ := fs.Glob(os.DirFS(dir.path), pattern) // the patterns are good
			names = append(names, found...)
		}
		if service.Exists(dir.path) {
			made = append(made, madeDir{dir.path, names})
		}
	}
	return made
}

// ask shows what a purge would delete, and asks for permission.
func (p purgeRequest) ask(ctx context.Context, dirs profile.Dirs, out io.Writer) error {
	made := madeDirs(dirs)
	if len(made) == 0 {
		return nil
	}
	fmt.Fprintln(out, "This will be deleted for good:")
	for _, dir := range made {
		names := slices.DeleteFunc(slices.Clone(dir.names), func(name string) bool { return strings.Contains(name, "/") })
		fmt.Fprintf(out, "  in %s: %s\n", dir.path, strings.Join(names, ", "))
	}
	install, err := store.ReadKeystoreConfig(dirs.State)
	if install.Keystore == store.KeystoreOS {
		err = store.NewKeyring(store.KeyringService).State(ctx)
	}
	switch {
	case err != nil && !errors.Is(err, token.ErrNotFound):
		fmt.Fprintln(out, keptInKeyring(err))
	case install.Keystore == store.KeystoreOS:
		fmt.Fprintf(out, "  in the OS keyring: this installation's items of the service %q\n", store.KeyringService)
	case install.KeyFile != "" && !strings.HasPrefix(install.KeyFile, dirs.Config+string(filepath.Separator)):
		fmt.Fprintf(out, "The key file %s stays: it opens backups of what is deleted.\n", install.KeyFile)
	}
	return confirm(p.yes, "Keys and secrets that you have nowhere else will be lost. Delete?")
}

// keptInKeyring says what stays in a keyring that cannot be used now.
func keptInKeyring(why error) string {
	return fmt.Sprintf("  not in the OS keyring, which cannot be used now (%v): if it has items of the service %[2]q, they stay. Unlock it first; or delete them later, with its password manager or: secret-tool clear service %[2]s",
		why, store.KeyringService)
}

// purge deletes what ask showed: the items in the keyring first, because only the
// records know them.
func (r *serviceRequest) purge(ctx context.Context, dirs profile.Dirs) error {
	socket, err := r.at.clientSocket(dirs)
	if err != nil {
		return err
	}
	if h := ipc.ReadHolder(dirs.State); h.Serves(ctx) {
		socket = h.Socket
	}
	if pid := otherProcess(ctx, socket, service.State{}); pid != 0 {
		return otherRuns(pid, socket, errors.New("stop it, and repeat this command"))
	}
	// Another user's state means another user's keyring; and root writes nothing
	// where that user could have put a link.
	if r.at.owner(dirs.State).uid < 0 {
		err := store.Erase(ctx, dirs.State, credentialsDir(dirs))
		if errors.Is(err, token.ErrKeystore) || errors.Is(err, token.ErrLocked) {
			fmt.Fprintln(r.out, "Left:"+keptInKeyring(err))
		} else if err != nil {
			return fmt.Errorf("%w; the directories are untouched", err)
		}
	}
	if r.at.system {
		if err := removeHandOver(); err != nil {
			return err
		}
	}
	for _, dir := range slices.Backward(madeDirs(dirs)) {
		if err := dir.remove(); err != nil {
			return err
		}
		if service.Exists(dir.path) {
			fmt.Fprintf(r.out, "Left: %s, with files that tokend did not make.\n", dir.path)
		}
	}
	fmt.Fprintln(r.out, "Deleted.")
	return nil
}

// remove removes tokend's files, and the directory if it is empty then. It follows
// no link out of there.
func (d madeDir) remove() error {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, name := range d.names {
		remove := root.RemoveAll
		if name == "profiles.d" {
			remove = root.Remove // what else is in it stays
		}
		if err := remove(name); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(d.path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
