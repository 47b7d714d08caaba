package daemon

import "tokend/daemon/profile"

// The types of the configuration, for callers who need no more of package profile.
type (
	Config = profile.Config
	Dirs   = profile.Dirs
)

// ReadConfig, DefaultConfig, UserDirs and SystemDirs are those of package profile.
var (
	ReadConfig    = profile.ReadConfig
	DefaultConfig = profile.DefaultConfig
	UserDirs      = profile.UserDirs
	SystemDirs    = profile.SystemDirs
)

// RenewAlways and RenewUsed are those of package profile.
const (
	RenewAlways = profile.RenewAlways
	RenewUsed   = profile.RenewUsed
)
