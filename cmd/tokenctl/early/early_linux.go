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
	compose := composerOf(os.Args)
	if compose == nil {
		return
	}
	server, err := connect(sockets())
	if err != nil {
		return
	}
	if c, ok := compose(); ok {
		answer, err := ask(server, c.request)
		g := grant{}
		if err == nil && g.read(answer) {
			if line := c.line(&g); line != nil {
				if _, err := os.Stdout.Write(line); err == nil {
					os.Exit(0)
				}
			}
		}
	}
	_ = syscall.Close(server)
}

// composerOf is what makes a call of args, and of what a helper reads; nil if
// they are not plain.
func composerOf(args []string) func() (c call, ok bool) {
	if len(args) < 2 || args[1] != "get" {
		return nil
	}
	program := args[0]
	for i := len(program) - 1; i >= 0; i-- {
		if program[i] == '/' {
			program = program[i+1:]
			break
		}
	}
	switch {
	case program == "tokenctl" && len(args) == 3 && isName(args[2]):
		return func() (call, bool) {
			return call{append(append(asked[:0], "GET /v1/token/"...), args[2]...), tokenLine}, true
		}
	case program == "git-credential-tokend" && len(args) == 2:
		return func() (call, bool) { return gitCall(readInput()) }
	case program == "docker-credential-tokend" && len(args) == 2:
		return func() (call, bool) { return dockerCall(readInput()) }
	}
	return nil
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

// connect connects to the first of the sockets that is there, if its server is
// root's or this user's.
func connect(sockets []string) (server int, err error) {
	server, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			_ = syscall.Close(server)
		}
	}()
	if err := syscall.SetsockoptTimeval(server, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &patience); err != nil {
		return -1, err
	}
	err = syscall.ENOENT
	for _, socket := range sockets {
		if err = syscall.Connect(server, &syscall.SockaddrUnix{Name: socket}); err != syscall.ENOENT {
			break
		}
	}
	if err != nil {
		return -1, err
	}
	// Whatever can wait until here is done while tokend wakes up.
	of, err := syscall.GetsockoptUcred(server, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return -1, err
	}
	if of.Uid != 0 && int(of.Uid) != os.Geteuid() {
		return -1, syscall.EPERM
	}
	return server, syscall.SetsockoptTimeval(server, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &patience)
}

// ask gets tokend's whole answer, if it comes at once.
func ask(server int, request []byte) (answer []byte, err error) {
	request = append(request, " HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\n"+
		"Accept: application/json\r\nCache-Control: only-if-cached\r\n\r\n"...)
	if n, err := syscall.Write(server, request); err != nil || n < len(request) {
		return nil, syscall.EIO
	}
	for size := 0; ; {
		n, err := syscall.Read(server, received[size:])
		if err != nil || n == 0 {
			return nil, syscall.EIO
		}
		if size += n; isWhole(received[:size]) {
			return received[:size], nil
		}
	}
}
