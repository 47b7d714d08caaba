package ipcserver

import "net"

// readNow finds nothing: a pipe cannot be asked without waiting.
func readNow(net.Conn, []byte) int { return 0 }
