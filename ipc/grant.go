package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
	var g token.Grant
	for name, value := range members(body) {
		if err := setMember(&g, name, value); err != nil {
			return token.Grant{}, fmt.Errorf("the member %s: %w", name, err)
		}
	}
	if g.Secret.IsZero() {
		return token.Grant{}, errors.New("an answer without a token")
	}
	return g, nil
}

func setMember(g *token.Grant, name string, value []byte) (err error) {
	var text string
	set := func(field *string) { *field, err = textOf(value) }
	at := func(field *time.Time) {
		if set(&text); err == nil {
			*field, err = time.Parse(time.RFC3339, text)
		}
	}
	switch name {
	case "access_token":
		set(&text)
		g.Secret = token.NewSecret(text)
	case "token_type":
		set(&g.Type)
	case "scope":
		set(&g.Scope)
	case "expires_at":
		at(&g.Expiry)
	case "issued_at":
		at(&g.Issued)
	case "renew_at":
		at(&g.RenewAt)
	case "profile":
		set(&g.Profile)
	case "host":
		set(&g.Host)
	case "present":
		if set(&text); err == nil {
			g.Present = token.Presentation(text)
			err = g.Present.Check()
		}
	}
	return err
}

const jsonSpace = " \t\r\n"

// textOf is the string that value is.
func textOf(value []byte) (text string, err error) {
	if value[0] != '"' {
		return "", errors.New("not a string")
	}
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
