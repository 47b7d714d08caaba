package early

import (
	"strconv"
	"time"
)

// forURL is the request, up to its target, for a token that a tool uses at once.
// The URL is given in its parts.
func forURL(parts ...[]byte) []byte {
	b := append(asked[:0], "GET /v1/token?min_ttl=1m0s&url="...)
	for _, part := range parts {
		for _, c := range part {
			switch c {
			case ':':
				b = append(b, "%3A"...)
			case '/':
				b = append(b, "%2F"...)
			default:
				b = append(b, c)
			}
		}
	}
	return b
}

// gitCall reads what git asks when it knows but a protocol and a host.
func gitCall(text []byte) (c call, ok bool) {
	var protocol, host []byte
	for len(text) > 0 && text[0] != '\n' {
		end := after(text, "\n")
		if end < 0 {
			return c, false
		}
		line := text[:end-1]
		text = text[end:]
		switch {
		case protocol == nil && (string(line) == "protocol=https" || string(line) == "protocol=http"):
			protocol = line[len("protocol="):]
		case host == nil && begins(line, "host="):
			host = line[len("host="):]
		case begins(line, "capability[]=") || begins(line, "wwwauth[]="):
			if !consists(line, `-_.:/=[]" ,`) {
				return c, false
			}
		default:
			return c, false
		}
	}
	if len(text) > 1 || protocol == nil || len(host) == 0 || !consists(host, "-.:") {
		return c, false
	}
	return call{forURL(protocol, []byte("://"), host, []byte("/")), gitLines}, true
}

func begins(text []byte, with string) bool {
	return len(text) >= len(with) && string(text[:len(with)]) == with
}

// gitLines is what git is told (gitcredentials(7)).
func gitLines(g *grant) []byte {
	user := g.user()
	expires, err := time.Parse(time.RFC3339, string(g.expires))
	issued, err2 := time.Parse(time.RFC3339, string(g.issued))
	const soon = 10 * time.Second // as token.Token.ServeUntil has it
	if user == "" || err != nil || err2 != nil || expires.Sub(issued) < 10*soon {
		return nil
	}
	b := append(printed[:0], "username="...)
	b = append(append(append(b, user...), "\npassword="...), g.token...)
	b = append(b, "\npassword_expiry_utc="...)
	b = strconv.AppendInt(b, expires.Add(-soon).Unix(), 10)
	return append(b, '\n')
}

// dockerCall reads the server that docker asks for.
func dockerCall(server []byte) (c call, ok bool) {
	if n := len(server); n > 0 && server[n-1] == '\n' {
		server = server[:n-1]
	}
	const scheme = "https://"
	rest := server
	if begins(rest, scheme) {
		rest = rest[len(scheme):]
	}
	if len(rest) == 0 || !consists(rest, "-._:/") || after(rest, "://") >= 0 {
		return c, false
	}
	return call{forURL([]byte(scheme), rest), func(g *grant) []byte { return dockerLine(g, server) }}, true
}

// dockerLine is what docker is told, in the form of its credential helpers.
func dockerLine(g *grant, server []byte) []byte {
	user := g.user()
	if user == "" {
		return nil
	}
	b := append(printed[:0], `{"ServerURL":"`...)
	b = append(append(append(b, server...), `","Username":"`...), user...)
	b = append(append(b, `","Secret":"`...), g.token...)
	return append(b, "\"}\n"...)
}
