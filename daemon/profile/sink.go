package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tokend/providers/token/format"
)

// A Sink is a file in which tokend keeps a profile's token, for programs that
// read files.
type Sink struct {
	// Path is absolute. The directory must exist.
	Path string `toml:"path"`
	// Format is one of format.Names; "token" is the bare token without a
	// newline.
	Format string `toml:"format"`
	// Second: the profile's second header is written too.
	Second bool `toml:"second_header"`
	// MinTTL is the least remaining life that a reader can use.
	MinTTL Duration `toml:"min_ttl"`
	// Mode, Owner and Group are the file's. Owner and group are names or
	// numbers; empty leaves them as they come.
	Mode  FileMode `toml:"mode"`
	Owner string   `toml:"owner"`
	Group string   `toml:"group"`
	// RemoveAtStop removes the file when tokend stops.
	RemoveAtStop bool `toml:"remove_at_stop"`
}

// A FileMode is written in octal digits, in quotes: "0640".
type FileMode struct{ fs.FileMode }

// UnmarshalText takes three or four octal digits. Others may have no right but
// to read.
func (m *FileMode) UnmarshalText(b []byte) error {
	bits, err := strconv.ParseUint(string(b), 8, 12)
	if err != nil || len(b) < 3 || bits > 0o777 || bits&0o400 == 0 || bits&0o133 != 0 {
		return fmt.Errorf(`%q is no mode for a file to read, such as "0600" or "0640"`, b)
	}
	m.FileMode = fs.FileMode(bits)
	return nil
}

const (
	// sinkLife is the default of MinTTL.
	sinkLife = 5 * time.Minute
	// sinkAhead is how long before a file must go tokend obtains the next token.
	sinkAhead = time.Minute
)

// check fills in the defaults and returns what is wrong with s.
func (s *Sink) check() error {
	if s.Format == "" {
		s.Format = format.Names[0]
	}
	if s.MinTTL.Duration == 0 {
		s.MinTTL.Duration = sinkLife
	}
	if s.Mode.FileMode == 0 {
		s.Mode.FileMode = 0o600
	}
	switch {
	case s.Path == "":
		return errors.New("path is missing")
	case !filepath.IsAbs(s.Path) || filepath.Clean(s.Path) != s.Path || strings.ContainsFunc(s.Path, func(r rune) bool { return r < ' ' }):
		return fmt.Errorf("path: %q is no absolute path in its plain form", s.Path)
	case format.Named(s.Format) == nil:
		return fmt.Errorf("format: %q is not one of %s", s.Format, strings.Join(format.Names[:], ", "))
	case s.Second && (s.Format == "token" || s.Format == "netrc"):
		return fmt.Errorf("second_header: the format %s cannot hold it; header, curl, env and json can", s.Format)
	case runtime.GOOS == "windows" && s.Owner+s.Group != "":
		return errors.New("owner and group are not for Windows: the file inherits the directory's permissions")
	}
	_, _, err := s.IDs()
	return err
}

// IDs returns the numbers of the file's owner and group, -1 for "as it comes".
func (s Sink) IDs() (uid, gid int, err error) {
	uid, gid = -1, -1
	if s.Owner != "" {
		if uid, err = userID(s.Owner); err != nil {
			return 0, 0, err
		}
	}
	if s.Group != "" {
		gid, err = groupID(s.Group)
	}
	return uid, gid, err
}
