// Package packaging holds the definitions of tokend's services, as packages
// ship them and as tokend install writes them.
package packaging

import "embed"

// Services are the files under systemd and launchd. They name what a package
// installs: programs in /usr/bin (on macOS /usr/local/bin) and tokend's usual
// directories.
//
//go:embed systemd launchd
var Services embed.FS
