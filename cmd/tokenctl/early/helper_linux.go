package early

import (
	"strconv"
	"time"
)

// printed is where an answer is put together.
var printed [16 << 10]byte

// forURL is the target of the request for a token that a tool uses at once.
func forURL(url string) string {
	b := append(make([]byte, 0, 256), "/v1/token?min_ttl=1m0s&url="...)
	for _, c := range []byte(url) {
		switch c {
		case ':':
			b = append(b, "%3A"...)
		case '/':
			b = append(b, "%2F"...)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// gitCall reads what git asks when it knows but a protocol and a host.
func gitCall(text string) (c call, ok bool) {
	protocol, host := "", ""
	for text != "" && text[0] != '\n' {
		end := 0
		for end < len(text) && text[end] != '\n' {
			end++
		}
		if end == len(text) {
			return c, false
		}
		line := text[:end]
		text = text[end+1:]
		switch {
		case (line == "protocol=https" || line == "protocol=http") && protocol == "":
			protocol = line[len("protocol="):]
		case begins(line, "host=") && host == "":
			host = line[len("host="):]
		case begins(line, "capability[]=") || begins(line, "wwwauth[]="):
			if !consists(line, `-_.:/=[]" ,`) {
				return c, false
			}
		default:
			return c, false
		}
	}
	if text != "" && text != "\n" || protocol == "" || host == "" || !consists(host, "-.:") {
		return c, false
	}
	return call{forURL(protocol + "://" + host + "/"), gitLines}, true
}

func begins(text, with string) bool { return len(text) >= len(with) && text[:len(with)] == with }

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
func dockerCall(server string) (c call, ok bool) {
	if server != "" && server[len(server)-1] == '\n' {
		server = server[:len(server)-1]
	}
	rest := server
	if begins(rest, "https://") {
		rest = rest[len("https://"):]
	}
	if rest == "" || !consists(rest, "-._:/") || after([]byte(rest), "://") >= 0 {
		return c, false
	}
	return call{forURL("https://" + rest), func(g *grant) []byte { return dockerLine(g, server) }}, true
}

// dockerLine is what docker is told, in the form of its credential helpers.
func dockerLine(g *grant, server string) []byte {
	user := g.user()
	if user == "" {
		return nil
	}
	b := append(printed[:0], `{"ServerURL":"`...)
	b = append(append(append(b, server...), `","Username":"`...), user...)
	b = append(append(b, `","Secret":"`...), g.token...)
	return append(b, "\"}\n"...)
}
