//go:build !linux

package ipcserver

import "net"

// groupsOf returns no groups: this system does not know those of a socket's peer.
func groupsOf(net.Conn) ([]int, error) { return nil, nil }

// programOf returns no name: this system does not know it cheaply.
func programOf(int) string { return "" }
