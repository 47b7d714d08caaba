package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"time"

	"tokend/providers/token"
)

// readGrant reads the answer to a request for a token, as format.AppendJSON
// writes it. Members that it does not know are from a later version.
//
// encoding/json would read it by reflection, which costs a program that has just
// started 0.1 ms, a tenth of a launch.
func readGrant(body []byte) (token.Grant, error) {
	if !json.Valid(body) || !bytes.HasPrefix(bytes.TrimLeft(body, jsonSpace), []byte("{")) {
		return token.Grant{}, errors.New("not a JSON object")
	}
	text := map[string]string{}
	var err error
	for name, value := range members(body) {
		if value[0] == '"' {
			text[name], err = textOf(value)
		}
	}
	at := func(name string) (t time.Time) {
		if text[name] != "" && err == nil {
			t, err = time.Parse(time.RFC3339, text[name])
		}
		return t
	}
	g := token.Grant{
		Token: token.Token{
			Secret: token.NewSecret(text["access_token"]), Type: text["token_type"], Scope: text["scope"],
			Issued: at("issued_at"), Expiry: at("expires_at"), RenewAt: at("renew_at"),
		},
		Profile: text["profile"], Present: token.Presentation(text["present"]), Host: text["host"],
	}
	switch {
	case err != nil:
		return token.Grant{}, err
	case g.Secret.IsZero():
		return token.Grant{}, errors.New("an answer without a token")
	}
	return g, g.Present.Check()
}

const jsonSpace = " \t\r\n"

// textOf is the string that value is.
func textOf(value []byte) (text string, err error) {
	plain := func(r rune) bool { return r >= ' ' && r <= '~' && r != '\\' }
	if inner := value[1 : len(value)-1]; strings.TrimFunc(string(inner), plain) == "" {
		return string(inner), nil
	}
	err = json.Unmarshal(value, &text)
	return text, err
}

// members yields the members of an object that is valid JSON, each with its
// value as it is written.
func members(object []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		rest := bytes.TrimLeft(object, jsonSpace)[1:]
		for {
			rest = bytes.TrimLeft(rest, jsonSpace+",")
			if rest[0] == '}' {
				return
			}
			n := valueLen(rest)
			name, err := textOf(rest[:n])
			value := bytes.TrimLeft(rest[n:], jsonSpace+":")
			n = valueLen(value)
			if err != nil || !yield(name, value[:n]) {
				return
			}
			rest = value[n:]
		}
	}
}

// valueLen is the length of the value that valid JSON begins with.
func valueLen(b []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			if quoted = !quoted; !quoted && depth == 0 {
				return i + 1
			}
		case quoted:
		case c == '{' || c == '[':
			depth++
		case (c == '}' || c == ']') && depth > 0:
			if depth--; depth == 0 {
				return i + 1
			}
		case depth == 0 && strings.IndexByte(",}]:"+jsonSpace, c) >= 0:
			return i
		}
	}
	return len(b)
}
