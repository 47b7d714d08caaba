package ipcserver

import (
	"net"

	"tokend/ipc"
)

// peerOf returns no groups: macOS does not know those of a socket's peer.
func peerOf(c net.Conn) (ipc.Peer, error) { return ipc.PeerOf(c) }

// programOf returns no name: macOS does not know it cheaply.
func programOf(int) string { return "" }
