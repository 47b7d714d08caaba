// Package discover recognises credentials in the forms in which people have
// them: files that portals and tools hand out, and environment variables. It
// reads and asks nobody; what becomes of a find is for its caller to say.
package discover

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"tokend/providers/token"
)

// A Find is one credential that was recognised.
type Find struct {
	// From is the file that it is in, or the environment; Form says in words
	// what that is.
	From, Form string
	// Name is a name for its profile, made of what a name may hold.
	Name string
	// Client is who it is at the issuer: a client ID, or a service account.
	Client string
	// Provider is the kind of profile that can use it, empty if none can.
	Provider string
	Settings map[string]any
	Secrets  map[string]token.Secret
	// Files are the files that a secret of it is in, Variables the names of
	// the variables, in From or in the environment.
	Files, Variables []string
	// Note says what was assumed.
	Note string
	// Why says why nothing can be made of it, empty if something can.
	Why string
	// shared: From is another tool's own, which goes on needing it.
	shared bool
}

// Environment is where a Find comes from that is in no file.
const Environment = "the environment"

// Options say what the forms themselves leave open.
type Options struct {
	// Scope is what tokens are for, TokenURL where they come from, if the form
	// does not say.
	Scope, TokenURL string
	// Read reads a file that another one, or a variable, names.
	Read func(path string) ([]byte, error)
}

// File recognises what is in a file; nothing if its form is not known.
func File(path string, content []byte, o Options) []Find {
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // some editors add it
	text := bytes.TrimSpace(content)
	switch {
	case bytes.HasPrefix(text, []byte("{")):
		return one(object(path, text, o))
	case bytes.HasPrefix(text, []byte("[")):
		return objects(path, text, o)
	case bytes.Contains(text, []byte("\nGenerated using version:")):
		return one(&Find{From: path, Form: "oidc-agent account, encrypted", Why: fmt.Sprintf(
			"it is encrypted; this takes it: oidc-gen -p %s | tokenctl import -", filepath.Base(path))})
	case bytes.Contains(text, []byte("PRIVATE KEY-----")):
		return one(&Find{From: path, Form: "private key", Why: "a key alone does not say whose it is; hand it in with tokenctl add NAME --private-key"})
	}
	return variables(path, parseEnv(string(text)), o)
}

// BrokenJSON tells of a file that begins as JSON does, and is none: one whose
// download was cut short, for example.
func BrokenJSON(content []byte) bool {
	text := bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\ufeff")))
	return bytes.HasPrefix(text, []byte("{")) && !json.Valid(text)
}

func one(f *Find) []Find {
	if f == nil {
		return nil
	}
	return []Find{*f}
}

// objects recognises the members of a list.
func objects(path string, text []byte, o Options) (finds []Find) {
	var list []json.RawMessage
	if json.Unmarshal(text, &list) != nil {
		return nil
	}
	for _, item := range list {
		finds = append(finds, one(object(path, item, o))...)
	}
	return finds
}

// A form makes a Find of a JSON object that has it, nil of others.
type form func(path string, m members, o Options) *Find

// object recognises a JSON object.
func object(path string, text []byte, o Options) *Find {
	var m members
	if json.Unmarshal(text, &m) != nil {
		return nil
	}
	m.raw = text
	for _, is := range []form{serviceKey, googleKey, googleClient, createdForRBAC, sdkAuth, storedPrincipal, msalParameters, oidcAgent, plainClient} {
		if f := is(path, m, o); f != nil {
			f.From = path
			if f.Provider != "" && !f.shared {
				f.Files = append([]string{path}, f.Files...)
			}
			return f
		}
	}
	return nil
}

// members are those of a JSON object.
type members struct {
	raw []byte
	all map[string]any
}

// UnmarshalJSON takes an object and nothing else.
func (m *members) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &m.all) }

// text is a member that is a string, "" for none.
func (m members) text(names ...string) string {
	for _, name := range names {
		if s, _ := m.all[name].(string); s != "" {
			return s
		}
	}
	return ""
}

// texts is a member that is a string or a list of them, words apart.
func (m members) texts(name string) (words []string) {
	if s := m.text(name); s != "" {
		return strings.Fields(s)
	}
	list, _ := m.all[name].([]any)
	for _, v := range list {
		if s, _ := v.(string); s != "" {
			words = append(words, s)
		}
	}
	return words
}

// have tells whether all of the members are there.
func (m members) have(names ...string) bool {
	for _, name := range names {
		if _, there := m.all[name]; !there {
			return false
		}
	}
	return true
}

// serviceKey is what the Copernicus Land Monitoring Service has for download.
func serviceKey(path string, m members, _ Options) *Find {
	if m.text("client_id") == "" || m.text("user_id") == "" || m.text("token_uri") == "" || m.text("private_key") == "" {
		return nil
	}
	return &Find{
		Form: "CLMS service key", Provider: "clms", Name: nameOf(path, "clms", "service-key", "service_key"),
		Client:  m.text("client_id"),
		Secrets: map[string]token.Secret{"service_key": token.NewSecret(string(m.raw))},
	}
}

// nameOf is a profile's name after a file, or the other one if the file's name
// says nothing that would tell it from others.
func nameOf(path, otherwise string, dull ...string) string {
	base := filepath.Base(path)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	for _, begin := range append(dull, "key", "credential", "secret", "client_secret", "parameters") {
		if strings.HasPrefix(strings.ToLower(base), begin) {
			return otherwise
		}
	}
	if name := Name(base); name != "" {
		return name
	}
	return otherwise
}

// longestName is how long a profile's name may be.
const longestName = 64

// Name makes a profile's name of any text: letters, digits and ._- of it, the
// rest as dashes, "" if nothing is left.
func Name(text string) string {
	keep := func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}
	name := strings.Trim(strings.Map(keep, text), "._-")
	return strings.TrimRight(name[:min(len(name), longestName)], "._-")
}
