package main

import (
	"io/fs"
	"os"
	"path/filepath"

	"tokend/daemon"
)

// A sandbox lists the files that tokend needs once it serves. All others are
// out of its reach then, whatever a fault in it makes it try.
type sandbox struct {
	// read are files and directories to read, write directories to write in as
	// well; what is not there is skipped.
	read, write []string
	// remove are directories to remove files from.
	remove []string
}

// newSandbox is what serving takes: what the installation keeps, and where a
// system has what every program reads. Directories are those of now; one that
// is named by the configuration later takes a restart.
func newSandbox(dirs daemon.Dirs, c daemon.Config, socket string, sinks []string) sandbox {
	s := sandbox{
		read: []string{
			"/etc", "/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", // names, certificates, time zones, libraries
			"/run/systemd", "/run/resolvconf", "/run/NetworkManager", "/run/nscd", "/var/lib/sss", // where names lead
			"/var/lib/ca-certificates", os.Getenv("SSL_CERT_FILE"),
			"/proc", "/sys/fs/cgroup", "/dev/urandom",
			os.Getenv("CREDENTIALS_DIRECTORY"),
		},
		write:  append([]string{made(dirs.Config), dirs.State, "/dev/null"}, sinks...),
		remove: []string{filepath.Dir(socket)},
	}
	s.read = append(s.read, filepath.SplitList(os.Getenv("SSL_CERT_DIR"))...)
	if c.CAFile != "" {
		s.read = append(s.read, beside(c.CAFile))
	}
	if file := auditFile(dirs, c); file != "" {
		s.write = append(s.write, made(filepath.Dir(file)))
	}
	for _, link := range append(linksIn(dirs.ProfilesDir()), dirs.ConfigFile(), c.CAFile, "/etc/resolv.conf") {
		if to, err := filepath.EvalSymlinks(link); err == nil && to != link {
			s.read = append(s.read, beside(to))
		}
	}
	return s
}

// linksIn gives the profiles' files in dir that may lie elsewhere, in no order:
// those that are links, or all if the way to dir leads through one.
func linksIn(dir string) (links []string) {
	to, _ := filepath.EvalSymlinks(dir)
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	entries, _ := d.ReadDir(-1)
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".toml" && (to != dir || e.Type()&fs.ModeSymlink != 0) {
			links = append(links, filepath.Join(dir, e.Name()))
		}
	}
	return links
}

// beside is the directory of a file to read, which may be replaced by another;
// the file as it is, where that directory is as much as the home.
func beside(file string) string {
	dir := filepath.Dir(file)
	home, err := os.UserHomeDir()
	if err != nil {
		return dir
	}
	if up, err := filepath.Rel(dir, home); err == nil && filepath.IsLocal(up) {
		return file
	}
	return dir
}

// made makes a directory that tokend would make later: rights cannot be given
// for one that is not there. If it cannot be made, that will be told later.
func made(dir string) string {
	_ = os.MkdirAll(dir, 0o700)
	return dir
}
