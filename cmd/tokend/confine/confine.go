// Package confine takes from this process what it does not need: core dumps, files
// that others can read, tracers, and all files but its own.
package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"tokend/daemon/profile"
)

// Files are the files that tokend needs once it serves. All others are out of its
// reach then, even if a bug makes it try.
type Files struct {
	// read are files and directories to read, write directories to write in as
	// well, socket directories to make and remove sockets in. Missing ones do not
	// matter.
	read, write, socket []string
	// needed are files to read that may be links, to where other programs write.
	needed    []string
	opensHome bool // a sink or the audit log is directly in the home
}

// NewFiles returns what serving needs: what the installation keeps, and what every
// program reads. audit is the audit log, "" for none. A directory that the
// configuration names later needs a restart.
func NewFiles(dirs profile.Dirs, c profile.Config, socket, audit string, sinks []string) Files {
	f := Files{
		read: []string{
			"/etc", "/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", // names, certificates, time zones, libraries
			"/run/systemd", "/run/resolvconf", "/run/NetworkManager", "/run/nscd", "/var/lib/sss", // resolving names
			"/var/lib/ca-certificates",
			"/proc", "/sys/fs/cgroup", "/dev/urandom",
			os.Getenv("CREDENTIALS_DIRECTORY"),
		},
		write:  append([]string{MakeDir(dirs.Config), dirs.State, "/dev/null", socket + ".lock"}, sinks...),
		socket: []string{filepath.Dir(socket)},
		needed: []string{dirs.ConfigFile(), c.CAFile, os.Getenv("SSL_CERT_FILE"), "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"},
	}
	f.read = append(f.read, filepath.SplitList(os.Getenv("SSL_CERT_DIR"))...)
	if audit != "" {
		f.write = append(f.write, MakeDir(filepath.Dir(audit)))
	}
	f.opensHome = slices.ContainsFunc(f.write, func(dir string) bool { return dir != dirs.State && holdsHome(dir) })
	for _, file := range append(linksIn(dirs.ProfilesDir()), f.needed...) {
		if file == "" {
			continue // it would stand for the directory that tokend was started in
		}
		f.read = append(f.read, beside(file))
		if to, err := filepath.EvalSymlinks(file); err == nil {
			f.read = append(f.read, beside(to))
		}
	}
	return f
}

// Fault says which file is out of reach that tokend could read at the start, "" if
// none is: its directory may have been made again since, or the link may lead to
// another one.
func (f Files) Fault() string {
	for _, path := range f.needed {
		if errors.Is(openable(path), fs.ErrPermission) {
			to, _ := filepath.EvalSymlinks(path)
			return fmt.Sprintf("tokend cannot read %s (at %s): permission denied; its sandbox knows the directories of its start, so restart tokend", path, to)
		}
	}
	return ""
}

func openable(path string) error {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err == nil {
		_ = file.Close()
	}
	return err
}

// linksIn returns the profiles' files in dir that may be stored elsewhere:
// links, or all files if dir is reached through a link.
func linksIn(dir string) (links []string) {
	to, _ := filepath.EvalSymlinks(dir)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".toml" && (to != dir || e.Type()&fs.ModeSymlink != 0) {
			links = append(links, filepath.Join(dir, e.Name()))
		}
	}
	return links
}

// beside returns the directory of a file to read, because another file may replace
// that one; or the file alone, where that directory contains the home.
func beside(file string) string {
	file, _ = filepath.Abs(file)
	if dir := filepath.Dir(file); !holdsHome(dir) {
		return dir
	}
	return file
}

func holdsHome(dir string) bool {
	home, _ := os.UserHomeDir()
	up, err := filepath.Rel(dir, home)
	return err == nil && filepath.IsLocal(up)
}

// MakeDir makes a directory that tokend would make later: Landlock allows only
// what exists. Errors show later.
func MakeDir(dir string) string {
	_ = os.MkdirAll(dir, 0o700)
	return dir
}
