//go:build !linux

package main

import (
	"net"
	"time"

	"tokend/ipc"
)

func listen(path string) (net.Listener, error) { return ipc.Listen(path) }

// A manager is the service manager; what there is on this system does not want
// to hear of us.
type manager struct{}

func (manager) status(string)        {}
func (manager) failed(error)         {}
func (manager) reloading()           {}
func (manager) stopping()            {}
func (manager) alive()               {}
func (manager) pulse() time.Duration { return 0 }
