package discover

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// Env recognises what is in environment variables.
func Env(environ []string, o Options) []Find {
	vars := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		vars[name] = value
	}
	return variables(Environment, vars, o)
}

// parseEnv reads lines NAME=VALUE, with or without export and quotes, and skips
// others. A value in quotes, or in JSON, may have several lines. A "$" stands for
// itself.
//
// Of the libraries, godotenv, gotenv and compose-go expand "$" in secrets, lose all
// variables to one bad line, and need regexp, which makes each launch of tokenctl a
// tenth longer. go-envparse knows no value of several lines, cuts a#b off at "#",
// and takes the quotes out of {"a":"b"}.
func parseEnv(text string) map[string]string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	vars := map[string]string{}
	for text = strings.ReplaceAll(text, "\r\n", "\n"); text != ""; {
		line, rest, _ := strings.Cut(text, "\n")
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		_, from, _ := strings.Cut(text, "=")
		name, from = strings.TrimSpace(name), strings.TrimLeft(from, " \t")
		if ok && name != "" && strings.Trim(name, letters+"0123456789_") == "" { // as a shell would take it
			if whole, after, ok := delimited(from); ok {
				vars[name], rest = whole, after
			} else if value, _, _ = strings.Cut(value, " #"); strings.Trim(value, `="' `) != "" { // base64 can end in "=", but nothing follows there
				vars[name] = strings.TrimSpace(value)
			}
		}
		text = rest
	}
	return vars
}

// unescape leaves \n alone: strings of JSON have it, and input.Key undoes it in a key.
var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\$`, "$")

// delimited returns the value in quotes or in JSON that text begins with, and the
// lines after it. A quote counts as forgotten if the one that would close it is on
// another line, and not at its end.
func delimited(text string) (value, after string, ok bool) {
	var object json.RawMessage
	switch {
	case strings.HasPrefix(text, "{") && json.NewDecoder(strings.NewReader(text)).Decode(&object) == nil:
		_, after, _ = strings.Cut(text[len(object):], "\n")
		return string(object), after, true
	case text == "" || !strings.Contains("'\"`", text[:1]):
		return "", "", false
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == text[0]:
			if value = text[1:i]; text[0] == '"' {
				value = unescape.Replace(value)
			}
			end, after, _ := strings.Cut(text[i+1:], "\n")
			return value, after, !strings.Contains(value, "\n") || strings.Trim(end, "; \t") == "" || strings.Contains(end, "#")
		case text[i] == '\\' && text[0] == '"':
			i++
		}
	}
	return "", "", false
}

// variables recognises credentials among variables of a file or of the
// environment. Those with the same beginning are members of one: AZURE_CLIENT_ID
// and AZURE_CLIENT_SECRET, or CLIENT_ID and CLIENT_SECRET.
func variables(from string, vars map[string]string, o Options) (finds []Find) {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if prefix, ok := strings.CutSuffix(name, "CLIENT_ID"); ok && vars[name] != "" {
			m := members{all: map[string]any{}}
			for name, value := range vars {
				if rest, ok := strings.CutPrefix(name, prefix); ok {
					m.all[strings.ToLower(rest)] = value
				}
			}
			if f := cmp.Or(serviceKeyIn(prefix, m, o), clientIn(prefix, m, o)); f != nil {
				finds = append(finds, f.in(from))
			}
		}
		finds = append(finds, named(from, name, vars[name], o)...)
	}
	return finds
}

// clientIn recognises the client whose variables begin with prefix.
func clientIn(prefix string, m members, o Options) *Find {
	kind := strings.ToLower(strings.Trim(prefix, "_"))
	c := m.client()
	// API_, of which Aspose's samples and others make use, decides nothing.
	switch isGroupDocs := strings.Contains(kind, "groupdocs"); {
	case isGroupDocs || strings.Contains(kind, "aspose"):
		c.system = "aspose"
		if isGroupDocs {
			c.baseURL = cmp.Or(c.baseURL, "https://api.groupdocs.cloud")
		}
	case c.tenant != "" && (c.authority != "" || kind == "arm" || strings.Contains(kind, "azure")):
		c.system = "azure"
	case c.secret == "":
		return nil // an ID alone is no credential
	}
	f := Find{Form: "variables " + prefix + "CLIENT_ID ..."}
	for _, secret := range []string{"CLIENT_SECRET", "CLIENT_CERTIFICATE_PASSWORD"} {
		if m.text(strings.ToLower(secret)) != "" {
			f.Variables = append(f.Variables, prefix+secret)
		}
	}
	return c.find(f, Name(kind), o)
}

// serviceKeyIn makes a CLMS service key of the variables that people keep its
// members in, with the private key in a file: COPERNICUS_CLIENT_ID, for example.
func serviceKeyIn(prefix string, m members, o Options) *Find {
	file := m.text("private_key_file")
	if file == "" || m.text("user_id") == "" {
		return nil
	}
	form := "variables " + prefix + "USER_ID ..."
	content, err := o.Read(file)
	if err != nil {
		return &Find{Form: form, Why: err.Error()}
	}
	m.all = map[string]any{"client_id": m.text("client_id"), "user_id": m.text("user_id"), "token_uri": m.text("token_uri"), "private_key": string(content)}
	m.raw, _ = json.Marshal(m.all)
	key := serviceKey(strings.ToLower(strings.Trim(prefix, "_")), m)
	if key == nil {
		return &Find{Form: form, Why: "CLIENT_ID or TOKEN_URI is missing, which names the issuer"}
	}
	key.Form, key.Files, key.shared = form, []string{file}, true
	return key
}

// named recognises a variable that names a file with a credential, or holds the
// content of one.
func named(from, name, value string, o Options) (finds []Find) {
	is := func(end string) bool { return strings.HasSuffix(name, end) }
	ends := []string{"GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CREDENTIALS", "CLMS_CREDENTIALS", "SERVICE_KEY", "SERVICE_KEY_JSON", "SERVICE_KEY_FILE", "SERVICE_KEY_PATH"}
	if value == "" || !slices.ContainsFunc(ends, is) {
		return nil
	}
	if decoded, err := base64.StdEncoding.DecodeString(value); err == nil && strings.Contains(string(decoded), "{") {
		value = string(decoded)
	}
	if !strings.Contains(value, "{") {
		content, err := o.Read(value)
		if err != nil { // without the name, which may be a secret
			return []Find{{From: from, Form: "the file that " + name + " names", Why: cmp.Or(errors.Unwrap(err), err).Error()}}
		}
		return File(value, content, o)
	}
	if name == "AZURE_CREDENTIALS" {
		o.Provider = "azure"
	}
	for _, f := range File(from, []byte(value), o) {
		f.Form += " in " + name
		if f.Provider != "" {
			f.Variables = []string{name}
		}
		finds = append(finds, f)
	}
	return finds
}
