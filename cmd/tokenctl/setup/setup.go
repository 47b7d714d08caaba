// Package setup changes the configuration of tools so that they ask tokend for
// credentials, and takes the changes back. It shows each change before, changes
// nothing that others wrote, and keeps what else a file says.
package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tokend/providers/token"
)

// A Request is what to set up.
type Request struct {
	// Host is a URL, as in a profile's hosts.
	Host string
	// Profile is the profile's name; empty where the host decides.
	Profile string
	// Self is tokenctl's own path.
	Self string
	// home is the user's directory, data where links are kept that need a place
	// of their own (XDG Base Directory Specification).
	home, data string
	// hostPort and path are those of Host, path without slashes at its ends.
	hostPort, path string
}

// Find finds the user's directories. It comes before a tool's changes.
func (r *Request) Find() (err error) {
	if r.home, err = os.UserHomeDir(); err != nil {
		return impossible("the home directory is not known: set $HOME")
	}
	data := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		data = filepath.Join(r.home, ".local", "share")
	}
	r.data = filepath.Join(data, "tokend")
	_, rest, _ := strings.Cut(r.Host, "://")
	r.hostPort, r.path, _ = strings.Cut(rest, "/")
	r.path = strings.Trim(r.path, "/")
	return nil
}

// A Tool is one that can be set up.
type Tool struct {
	Name, Doc string
	// NeedsHost and NeedsProfile say what a request must have.
	NeedsHost, NeedsProfile bool
	// Changes returns the changes to make.
	Changes func(Request) ([]Change, error)
	// Missing says what else the tool needs before it asks tokend, "" if that is
	// nothing, and what to type for that. It may be nil.
	Missing func(Request) (text, fix string)
}

// A Change is one change of a tool's configuration.
type Change struct {
	// Show describes the change: commands to type, or a file and what goes into it.
	Show string
	// Done reports whether the change is in place. ErrExists names what others
	// wrote that conflicts with it.
	Done func() (bool, error)
	// Undo takes the change back, and nothing else.
	Make, Undo func() error
}

// Tools are all tools, in the order in which they are listed.
var Tools = []Tool{
	{"git", "git: clone, fetch and push over https", true, false, git, nil},
	{"docker", "docker, podman, skopeo, crane, helm: pull and push", true, false, docker, nil},
	{"cargo", "cargo: private registries", false, false, cargo, nil},
	{"go", "go: private module proxies and repositories", true, false, golang, nil},
	{"bazel", "bazel: downloads and remote caches", true, false, bazel, nil},
	{"kubectl", "kubectl and client-go: clusters with OpenID Connect", false, true, kubectl, nil},
	{"terraform", "terraform, tofu: private registries", false, false, terraform, nil},
	{"pnpm", "pnpm: private registries", true, true, pnpm, nil},
	{"pip", "pip and uv: private indexes", false, false, pip, pipMissing},
}

// helperArgs are the arguments with which tokenctl speaks a protocol.
func (r Request) helperArgs(protocol string) []string {
	args := []string{"helper", protocol}
	if r.Profile != "" {
		args = append(args, "--profile", r.Profile)
	}
	return args
}

// conflict returns the error for what others wrote.
func conflict(text string, args ...any) error {
	return &token.Error{Code: token.ErrExists, Message: fmt.Sprintf(text, args...)}
}

func impossible(text string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(text, args...)}
}
