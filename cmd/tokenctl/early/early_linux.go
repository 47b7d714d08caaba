package early

import (
	"os"
	"syscall"
)

// A call is one that may be answered early.
type call struct {
	request []byte              // up to what the token is of or for
	line    func(*grant) []byte // what is printed; nil if the grant is not for here
}

// Memory that is there from the beginning: of the heap each size that is used for
// the first time costs more than what is done with it. An answer is a token of a
// few KiB at most.
var (
	asked             [1 << 10]byte
	input             [4 << 10]byte
	received, printed [16 << 10]byte
)

func init() {
	c, ok := callOf(os.Args)
	if !ok {
		return
	}
	for _, socket := range sockets() {
		answer, err := ask(socket, c.request)
		if err == syscall.ENOENT {
			continue
		}
		g := grant{}
		if err == nil && g.read(answer) {
			if line := c.line(&g); line != nil {
				if _, err := os.Stdout.Write(line); err == nil {
					os.Exit(0)
				}
			}
		}
		return
	}
}

// callOf is what args ask for, if that is plain.
func callOf(args []string) (c call, ok bool) {
	if len(args) == 0 {
		return c, false
	}
	program := args[0]
	for i := len(program) - 1; i >= 0; i-- {
		if program[i] == '/' {
			program = program[i+1:]
			break
		}
	}
	switch {
	case len(args) < 2 || args[1] != "get":
		return c, false
	case program == "tokenctl" && len(args) == 3 && isName(args[2]):
		return call{append(append(asked[:0], "GET /v1/token/"...), args[2]...), tokenLine}, true
	case len(args) > 2:
		return c, false
	case program == "git-credential-tokend":
		return gitCall(readInput())
	case program == "docker-credential-tokend":
		return dockerCall(readInput())
	}
	return c, false
}

// isName tells of a profile's name that needs no escape in a path and is no flag.
func isName(name string) bool {
	return name != "" && len(name) <= 128 && name[0] != '-' && consists(name, "-_.")
}

// consists tells whether text is of letters, digits and some others.
func consists[T string | []byte](text T, others string) bool {
	for i := range len(text) {
		c := text[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		for j := 0; !ok && j < len(others); j++ {
			ok = c == others[j]
		}
		if !ok {
			return false
		}
	}
	return true
}

// readInput reads standard input to its end, or as much of it as is plain.
func readInput() []byte {
	size := 0
	for size < len(input) {
		n, err := syscall.Read(0, input[size:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n == 0 {
			break
		}
		size += n
	}
	Input = input[:size]
	return Input
}

// sockets are where ipc.FindSocket looks, as far as they are told by the
// environment: the first that is there is the one.
func sockets() []string {
	if socket := os.Getenv("TOKEND_SOCKET"); socket != "" {
		return absolute(socket)
	}
	user := absolute(os.Getenv("XDG_RUNTIME_DIR"))
	if user == nil {
		return nil
	}
	return []string{user[0] + "/tokend/tokend.sock", "/run/tokend/tokend.sock"}
}

func absolute(path string) []string {
	if path == "" || path[0] != '/' {
		return nil
	}
	return []string{path}
}

// patience is how long tokend may take before the rest of the program asks.
var patience = syscall.Timeval{Usec: 250_000}

// ask gets tokend's whole answer, if it comes at once. It says nothing to a
// server that is neither root nor this user.
func ask(socket string, request []byte) (answer []byte, err error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil { // else the program ends
			_ = syscall.Close(fd)
		}
	}()
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &patience); err != nil {
		return nil, err
	}
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &patience); err != nil {
		return nil, err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
		return nil, err
	}
	server, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return nil, err
	}
	if server.Uid != 0 && int(server.Uid) != os.Geteuid() {
		return nil, syscall.EPERM
	}
	request = append(request, " HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\n"+
		"Accept: application/json\r\nCache-Control: only-if-cached\r\n\r\n"...)
	if n, err := syscall.Write(fd, request); err != nil || n < len(request) {
		return nil, syscall.EIO
	}
	for size := 0; ; {
		n, err := syscall.Read(fd, received[size:])
		if err != nil || n == 0 {
			return nil, syscall.EIO
		}
		if size += n; isWhole(received[:size]) {
			return received[:size], nil
		}
	}
}
