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
	"tokend/providers/token/input"
)

// A Find is one credential that was recognised. tokenctl import --json prints it.
type Find struct {
	// From is the file that it is in, or the environment. Form is what the file
	// is, in words.
	From string `json:"from"`
	Form string `json:"form"`
	// Name is a valid name for its profile.
	Name string `json:"-"`
	// Client is its identity at the issuer, a client ID or a service account, and
	// Endpoint the issuer's token endpoint. Neither means anything without the other.
	Client   string `json:"-"`
	Endpoint string `json:"-"`
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
	// Open: nothing names the issuer, and Options.Provider can.
	Open bool `json:"-"`
	// shared: another tool needs From.
	shared bool
}

// What From is if it is no file.
const (
	Environment = "the environment"
	Stdin       = "stdin"
	Pasted      = "what was pasted"
)

// isFile reports whether From is a file, which tokend may make unneeded.
func isFile(from string) bool { return from != Environment && from != Stdin && from != Pasted }

// Options are what a form may leave open.
type Options struct {
	// Scope is for the tokens, in place of the form's. TokenURL is where they
	// come from, if the form does not say, and Provider whose they are: azure,
	// aspose or oauth2.
	Scope, TokenURL, Provider string
	// Read reads a file that another file or a variable names.
	Read func(path string) ([]byte, error)
}

// File recognises the credentials in a file.
func File(path string, content []byte, o Options) []Find {
	text := bytes.TrimSpace([]byte(input.Text(string(content))))
	if bytes.Contains(text, []byte("\nGenerated using version:")) {
		return []Find{{From: path, Form: "oidc-agent account, encrypted", Why: fmt.Sprintf(
			"it is encrypted. Import it with: oidc-gen -p %s | tokenctl import -", filepath.Base(path))}}
	}
	if finds := variables(path, parseEnv(string(text)), o); finds != nil {
		return finds
	}
	if finds := embedded(path, text, o); finds != nil {
		return finds
	}
	if bytes.Contains(text, []byte("PRIVATE KEY-----")) {
		return []Find{{From: path, Form: "private key", Why: "it does not name the key's client. Copy the whole JSON file; for a key alone use --private-key FILE"}}
	}
	return nil
}

// maxObjects bounds how many objects are looked for in a text.
const maxObjects = 100

// embedded recognises the JSON objects in any text: a list, a letter, a code
// fence, a string in JSON or in a shell.
func embedded(path string, text []byte, o Options) (finds []Find) {
	plain := bytes.ReplaceAll(bytes.ReplaceAll(text, []byte(`\\`), []byte(`\`)), []byte(`\"`), []byte(`"`))
	for _, rest := range [][]byte{text, plain} {
		for range maxObjects {
			begin := bytes.IndexByte(rest, '{')
			if begin < 0 {
				break
			}
			rest = rest[begin:]
			var found json.RawMessage
			if json.NewDecoder(bytes.NewReader(rest)).Decode(&found) != nil {
				rest = rest[1:]
				continue
			}
			finds = append(finds, object(path, found, o)...)
			rest = rest[len(found):]
		}
		if finds != nil {
			return finds
		}
	}
	return nil
}

// object recognises a JSON object by functions that return nil for one of another
// form. That for a client at any issuer is the last.
func object(path string, text []byte, o Options) []Find {
	m := members{raw: text}
	if json.Unmarshal(text, &m.all) != nil {
		return nil
	}
	if f := cmp.Or(serviceKey(path, m), googleKey(m, o), googleLogin(m), anyClient(path, m, o)); f != nil {
		return []Find{f.in(path)}
	}
	return nil
}

// in is the find as one in a file, or where else it is from.
func (f *Find) in(from string) Find {
	f.From = from
	if f.Provider != "" && !f.shared && isFile(from) {
		f.Files = append([]string{from}, f.Files...)
	}
	return *f
}

// members are those of a JSON object.
type members struct {
	raw []byte
	all map[string]any
}

// text is the first of the members that is a string and not empty.
func (m members) text(names ...string) string {
	for _, name := range names {
		if s, _ := m.all[name].(string); s != "" {
			return s
		}
	}
	return ""
}

// words are those of a member that is a string or a list of strings.
func (m members) words(name string) string {
	words := []string{m.text(name)}
	list, _ := m.all[name].([]any)
	for _, v := range list {
		s, _ := v.(string)
		words = append(words, s)
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// nameOf is a profile's name after a file, or otherwise if the file's name says
// nothing.
func nameOf(path, otherwise string) string {
	if !isFile(path) {
		return otherwise
	}
	base := filepath.Base(path)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	for _, begin := range []string{"service-key", "service_key", "key", "credential", "secret", "client_secret", "parameters", "service_principal"} {
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
	name := strings.Trim(strings.Map(func(r rune) rune {
		if token.CheckName("a"+string(r)) != nil {
			return '-'
		}
		return r
	}, text), "._-")
	return strings.TrimRight(name[:min(len(name), longestName)], "._-")
}
