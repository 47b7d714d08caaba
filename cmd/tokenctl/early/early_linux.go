package early

import (
	"os"
	"syscall"
)

func init() {
	if len(os.Args) != 3 || !isTokenctl(os.Args[0]) || os.Args[1] != "get" || !isPlain(os.Args[2]) {
		return
	}
	for _, socket := range sockets() {
		answer, err := ask(socket, os.Args[2])
		if err == syscall.ENOENT {
			continue
		}
		if line := lineOf(answer); line != nil {
			if _, err := os.Stdout.Write(line); err == nil {
				os.Exit(0)
			}
		}
		return
	}
}

// isTokenctl tells tokenctl from the names by which it is a helper.
func isTokenctl(program string) bool {
	for i := len(program) - 1; i >= 0; i-- {
		if program[i] == '/' {
			program = program[i+1:]
			break
		}
	}
	return program == "tokenctl"
}

// isPlain tells of a name that needs no escape in a path and is no flag.
func isPlain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.':
		case c == '-' && i > 0:
		default:
			return false
		}
	}
	return name != "" && len(name) <= 128
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

// received is where the answer is read to: a token is a few KiB at most.
var received [16 << 10]byte

// ask gets tokend's whole answer, if it comes at once. It says nothing to a
// server that is neither root nor this user.
func ask(socket, name string) (answer []byte, err error) {
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
	request := "GET /v1/token/" + name + " HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\n" +
		"Accept: application/json\r\nCache-Control: only-if-cached\r\n\r\n"
	if n, err := syscall.Write(fd, []byte(request)); err != nil || n < len(request) {
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

// isWhole tells of an answer that has come to its end: an object of JSON in a
// body of the length that the header says.
func isWhole(answer []byte) bool {
	const field = "\r\nContent-Length: "
	at := after(answer, field)
	body := after(answer, "\r\n\r\n")
	if at < 0 || body < at {
		return false
	}
	length := 0
	for _, c := range answer[at:body] {
		if c < '0' || c > '9' {
			break
		}
		if length = length*10 + int(c-'0'); length > len(received) {
			return false
		}
	}
	return length == len(answer)-body && length > 0 && answer[len(answer)-1] == '}'
}

// lineOf makes of a granting answer, in the form in which tokend gives it, the
// line to print; nil of any other.
func lineOf(answer []byte) []byte {
	const granted, member = "HTTP/1.1 200 OK\r\n", "\r\n\r\n{\"access_token\":\""
	at := after(answer, member)
	if at < 0 || string(answer[:len(granted)]) != granted {
		return nil
	}
	line := answer[at:]
	for i, c := range line {
		switch {
		case c == '"' && i > 0:
			line[i] = '\n'
			return line[:i+1]
		case c <= ' ' || c > '~' || c == '"' || c == '\\':
			return nil
		}
	}
	return nil
}

// after is where what follows the first text in b begins; -1 if it is not there.
func after(b []byte, text string) int {
	for i := 0; i+len(text) <= len(b); i++ {
		if string(b[i:i+len(text)]) == text {
			return i + len(text)
		}
	}
	return -1
}
