package profile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"tokend/providers/token"
)

const (
	// RenewAlways keeps a profile's token fresh even if no one asks.
	RenewAlways = "always"
	// RenewUsed stops when no one has asked for the idle time.
	RenewUsed = "used"
)

// oneOf returns what is wrong with the value of a key that has two.
func oneOf(key, value, one, other string) error {
	if value == one || value == other {
		return nil
	}
	return invalid(key, fmt.Sprintf("%s: %q is neither %q nor %q", key, value, one, other))
}

// A Duration is written as Go writes them ("90m", "36h"), or in days ("30d").
type Duration struct{ time.Duration }

// UnmarshalText parses a positive duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if days, ok := strings.CutSuffix(string(b), "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		v = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || v <= 0 || v > 10*365*24*time.Hour {
		return fmt.Errorf(`%q is not a duration such as "90m", "36h" or "30d"`, b)
	}
	d.Duration = v
	return nil
}

// A Config is config.toml. All of it is optional.
type Config struct {
	// Socket is where tokenctl finds the daemon; empty means the usual place.
	Socket string `toml:"socket"`
	// SocketGID is the group that may connect to a socket that tokend makes, besides
	// tokend's own user; 0 means no group.
	SocketGID uint32 `toml:"socket_gid"`
	// LogLevel is debug, info, warn or error; LogFormat text or json.
	LogLevel  slog.Level `toml:"log_level"`
	LogFormat string     `toml:"log_format"`
	// Renew and Idle are the defaults for profiles. tokend also keeps a scope or
	// audience that a caller asked for fresh for Idle after its last use.
	Renew string   `toml:"renew"`
	Idle  Duration `toml:"idle"`
	// WarnAhead is how long before a credential expires status warns of it.
	WarnAhead Duration `toml:"warn_ahead"`
	// Proxy is the HTTP proxy to the issuers; empty means $HTTPS_PROXY
	// as it was when tokend started, "none" means none.
	Proxy string `toml:"proxy"`
	// Audit is the file of the audit log; empty means audit.log in the state
	// directory, "none" none.
	Audit string `toml:"audit"`
	// AdminUsers and AdminGroups may manage profiles, besides root and the user
	// that tokend runs as. They are names or numbers.
	AdminUsers  []string `toml:"admin_users"`
	AdminGroups []string `toml:"admin_groups"`
	// Sandbox confines tokend to its own files while it serves, where the
	// system can.
	Sandbox bool `toml:"sandbox"`
	// CAFile holds certificates in PEM to trust besides the system's.
	CAFile string `toml:"ca_file"`
	// Metrics is where Prometheus finds them besides the socket: a loopback
	// address and a port. Empty and "none" mean nowhere.
	Metrics string `toml:"metrics"`
}

func (c Config) check() error {
	for _, f := range []struct{ key, path string }{{"socket", c.Socket}, {"ca_file", c.CAFile}, {"audit", c.Audit}} {
		if f.path != "" && (f.key != "audit" || f.path != "none") && !filepath.IsAbs(f.path) {
			return invalid(f.key, fmt.Sprintf("%s: %q is not an absolute path", f.key, f.path))
		}
	}
	at, err := netip.ParseAddrPort(c.Metrics)
	switch {
	case c.Metrics == "", c.Metrics == "none":
	case err != nil || at.Port() == 0:
		return invalid("metrics", fmt.Sprintf("metrics: %q is not an address and a port such as 127.0.0.1:9464", c.Metrics))
	case !at.Addr().IsLoopback():
		return invalid("metrics", fmt.Sprintf(
			"metrics: %s can be reached from other machines; it must be 127.0.0.1 or [::1], and a proxy before it can ask for a password", at.Addr()))
	}
	return cmp.Or(oneOf("log_format", c.LogFormat, "text", "json"), oneOf("renew", c.Renew, RenewAlways, RenewUsed))
}

// Fixed says which values differ from those in started and count from the next start
// on, and the command for that; "" if there are none.
func (c Config) Fixed(started Config, restart string) string {
	differs := map[string]bool{
		"socket": c.Socket != started.Socket, "socket_gid": c.SocketGID != started.SocketGID, "log_format": c.LogFormat != started.LogFormat, "audit": c.Audit != started.Audit,
		"sandbox": c.Sandbox != started.Sandbox, "metrics": cmp.Or(c.Metrics, "none") != cmp.Or(started.Metrics, "none"),
	}
	maps.DeleteFunc(differs, func(_ string, is bool) bool { return !is })
	if len(differs) == 0 {
		return ""
	}
	return fmt.Sprintf("config.toml: %s: unchanged until a restart: %s", strings.Join(slices.Sorted(maps.Keys(differs)), ", "), restart)
}

// DefaultConfig returns the configuration of an empty config.toml.
func DefaultConfig() Config {
	const day = 24 * time.Hour
	return Config{LogFormat: "text", Sandbox: true, Renew: RenewAlways, Idle: Duration{day}, WarnAhead: Duration{30 * day}}
}

// ReadConfig reads config.toml, or returns the defaults if there is none.
// Errors are ErrInvalid with file, line and the nearest valid key.
func ReadConfig(d Dirs) (Config, error) {
	c := DefaultConfig()
	text, err := token.ReadConfig(d.ConfigFile())
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, &token.Error{Code: token.ErrInvalid, Message: token.FileFault(err), Cause: err}
	}
	doc := &document{file: d.ConfigFile(), text: text}
	if err := cmp.Or(doc.decode(&c), doc.close()); err != nil {
		return c, err
	}
	if err := c.check(); err != nil {
		return c, doc.locate(err)
	}
	return c, nil
}

// LocateConfig adds the file and the line to an error about a key of config.toml.
func (d Dirs) LocateConfig(err error) error {
	text, _ := token.ReadConfig(d.ConfigFile()) // without it the error names no line
	return (&document{file: d.ConfigFile(), text: text}).locate(err)
}
