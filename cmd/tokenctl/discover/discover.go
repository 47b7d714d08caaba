// Package discover recognises credentials in the forms in which people have
// them: files of portals and tools, and environment variables.
package discover

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"tokend/providers/token"
)

// A Find is one credential that was recognised. tokenctl import --json prints it.
type Find struct {
	// From is the file that it is in, or the environment. Form is what the file
	// is, in words.
	From string `json:"from"`
	Form string `json:"form"`
	// Name is a valid name for its profile.
	Name string `json:"-"`
	// Client is its identity at the issuer: a client ID, or a service account.
	Client string `json:"-"`
	// Provider is the kind of profile that can use it, empty if there is none.
	Provider string                  `json:"provider,omitempty"`
	Settings map[string]any          `json:"settings,omitempty"`
	Secrets  map[string]token.Secret `json:"-"`
	// Files and Variables are where its secrets are. Variables are those of From.
	Files     []string `json:"files,omitempty"`
	Variables []string `json:"variables,omitempty"`
	// Note is what was assumed.
	Note string `json:"note,omitempty"`
	// Why is the reason why it cannot be used, empty if it can.
	Why string `json:"problem,omitempty"`
	// shared: another tool needs From.
	shared bool
}

// Environment is From for the environment.
const Environment = "the environment"

// Options are what a form may leave open.
type Options struct {
	// Scope is for the tokens, in place of the form's. TokenURL is where they
	// come from, if the form does not say.
	Scope, TokenURL string
	// Read reads a file that another file or a variable names.
	Read func(path string) ([]byte, error)
}

// File recognises the credentials in a file.
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
			"it is encrypted. Import it with: oidc-gen -p %s | tokenctl import -", filepath.Base(path))})
	case bytes.Contains(text, []byte("PRIVATE KEY-----")):
		return one(&Find{From: path, Form: "private key", Why: "a key alone does not say whose it is. Use it with tokenctl add NAME --private-key"})
	}
	return variables(path, parseEnv(string(text)), o)
}

// BrokenJSON reports whether a file begins like JSON but is not valid: its
// download was cut off, for example.
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

// A form returns the Find of a JSON object that has the form, nil of others.
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

// text is the first of the members that is a string and not empty.
func (m members) text(names ...string) string {
	for _, name := range names {
		if s, _ := m.all[name].(string); s != "" {
			return s
		}
	}
	return ""
}

// texts are the words of a member that is a string or a list of strings.
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

// have reports whether all of the members exist.
func (m members) have(names ...string) bool {
	for _, name := range names {
		if _, there := m.all[name]; !there {
			return false
		}
	}
	return true
}

// serviceKey is the download of the Copernicus Land Monitoring Service.
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

// nameOf is a profile's name after a file, or otherwise if the file's name says
// nothing.
func nameOf(path, otherwise string, dull ...string) string {
	base := filepath.Base(path)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	for _, begin := range append(dull, "key", "credential", "secret", "client_secret", "parameters") {
		if strings.HasPrefix(strings.ToLower(base), begin) {
			return otherwise
		}
	}
	return cmp.Or(Name(base), otherwise)
}

// longestName is the limit of a profile's name.
const longestName = 64

// Name makes a profile's name of any text: its letters, digits and ._-, and
// dashes for the rest. It is empty if nothing is left.
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
