package profile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"tokend/providers/token"
)

// Dirs are where an installation keeps its files.
type Dirs struct {
	// Config holds config.toml and profiles.d/.
	Config string
	// State holds what tokend writes for itself: the installation record, the
	// credentials' records, sealed secrets, the token cache.
	State string
}

// UserDirs are the places of a user's own daemon: $XDG_CONFIG_HOME/tokend and
// $XDG_STATE_HOME/tokend with the XDG defaults; on macOS and Windows the
// user's application-data folder. It refuses directories of another user, which a
// wrong $HOME leads to (sudo, a container): that user could take away what tokend
// writes there.
func UserDirs() (Dirs, error) {
	d, err := userDirs()
	if err = cmp.Or(err, checkHome(d.Config), checkHome(d.State)); err != nil {
		return Dirs{}, &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
			"no place for a user's configuration: %v (set $HOME to your own, or use --system for a system service)", err)}
	}
	return d, nil
}

func userDirs() (d Dirs, err error) {
	config, err := os.UserConfigDir()
	if err != nil || runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return under(config), err
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return d, err
		}
		state = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(state) {
		return d, errors.New("$XDG_STATE_HOME is not an absolute path")
	}
	return bySystemd(Dirs{Config: filepath.Join(config, "tokend"), State: filepath.Join(state, "tokend")}), nil
}

// under are the places in a system's directory for the data of programs.
func under(data string) Dirs {
	config := filepath.Join(data, "tokend")
	return Dirs{Config: config, State: filepath.Join(config, "state")}
}

// SystemDirs are the places of a system service: /etc/tokend and
// /var/lib/tokend, or what systemd says.
func SystemDirs() Dirs {
	switch runtime.GOOS {
	case "darwin":
		return under("/Library/Application Support")
	case "windows":
		return under(os.Getenv("ProgramData"))
	}
	return bySystemd(Dirs{Config: "/etc/tokend", State: "/var/lib/tokend"})
}

// bySystemd puts what the unit's ConfigurationDirectory= and StateDirectory=
// made in place of the defaults (systemd.exec(5)). Of several, separated by
// colons, the first counts.
func bySystemd(d Dirs) Dirs {
	if dirs := filepath.SplitList(os.Getenv("CONFIGURATION_DIRECTORY")); len(dirs) > 0 {
		d.Config = dirs[0]
	}
	if dirs := filepath.SplitList(os.Getenv("STATE_DIRECTORY")); len(dirs) > 0 {
		d.State = dirs[0]
	}
	return d
}

// ConfigFile is the daemon's own configuration.
func (d Dirs) ConfigFile() string { return filepath.Join(d.Config, "config.toml") }

// ProfilesDir holds one file per profile.
func (d Dirs) ProfilesDir() string { return filepath.Join(d.Config, "profiles.d") }

// ProfileFile is the file of the named profile.
func (d Dirs) ProfileFile(name string) string {
	return filepath.Join(d.ProfilesDir(), name+".toml")
}
