package early

// isWhole tells of an answer that has come to its end: an object of JSON in a
// body of the length that the header says.
func isWhole(answer []byte) bool {
	at := after(answer, "\r\nContent-Length: ")
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

// after is where what follows the first text in b begins; -1 if it is not there.
func after(b []byte, text string) int {
	for i := 0; i+len(text) <= len(b); i++ {
		if string(b[i:i+len(text)]) == text {
			return i + len(text)
		}
	}
	return -1
}

// A grant is what an answer says of a token, as far as it matters here. Each is
// a part of the answer, with a quote behind it.
type grant struct {
	token, issued, expires, present []byte
}

// read reads an answer in the form in which tokend gives it, and says false of
// any other. What is left of one that ends in a brace is never empty before that.
func (g *grant) read(answer []byte) bool {
	const granted = "HTTP/1.1 200 OK\r\n"
	body := after(answer, "\r\n\r\n{")
	if body < len(granted) || string(answer[:len(granted)]) != granted || answer[len(answer)-1] != '}' {
		return false
	}
	for rest := answer[body:]; ; rest = rest[1:] {
		name, behind := quoted(rest)
		if name == nil || behind[0] != ':' {
			return false
		}
		rest = behind[1:]
		value := []byte(nil)
		if string(name) == "expires_in" { // expires_at says it too
			for rest[0] >= '0' && rest[0] <= '9' {
				rest = rest[1:]
			}
		} else if value, rest = quoted(rest); value == nil {
			return false
		}
		switch string(name) {
		case "access_token":
			g.token = value
		case "issued_at":
			g.issued = value
		case "expires_at":
			g.expires = value
		case "present":
			g.present = value
		case "token_type", "scope", "expires_in", "renew_at", "host", "profile":
		default:
			return false
		}
		switch {
		case len(rest) == 1 && rest[0] == '}':
			return g.token != nil && after(g.token, " ") < 0
		case rest[0] != ',':
			return false
		}
	}
}

// quoted takes a string of printable ASCII without escapes off the front of b,
// and leaves something; nil if there is none.
func quoted(b []byte) (text, rest []byte) {
	if b[0] != '"' {
		return nil, nil
	}
	for i := 1; i < len(b)-1; i++ {
		switch c := b[i]; {
		case c == '"' && i > 1:
			return b[1:i], b[i+1:]
		case c < ' ' || c > '~' || c == '"' || c == '\\':
			return nil, nil
		}
	}
	return nil, nil
}

// tokenLine is the token, in place of whose quote the line ends.
func tokenLine(g *grant) []byte {
	line := g.token[:len(g.token)+1]
	line[len(line)-1] = '\n'
	return line
}

// user is whom the grant is for, as a tool that knows users and passwords is
// told; empty if it is not for such a one.
func (g *grant) user() string {
	const basic = "basic:"
	switch {
	case g.present == nil:
		return "oauth2"
	case len(g.present) > len(basic) && string(g.present[:len(basic)]) == basic && consists(g.present[len(basic):], "-_.@"):
		return string(g.present[len(basic):])
	}
	return ""
}
