package discover

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Env recognises what is in environment variables.
func Env(environ []string, o Options) []Find {
	vars := map[string]string{}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			vars[name] = value
		}
	}
	return variables(Environment, vars, o)
}

// parseEnv reads lines NAME=VALUE, with or without export and quotes, and skips
// others. A value in quotes may have several lines. A "$" stands for itself.
func parseEnv(text string) map[string]string {
	vars := map[string]string{}
	for line := ""; text != ""; {
		line, text, _ = strings.Cut(text, "\n")
		name, value, ok := variable(line)
		if !ok {
			continue
		}
		if more, rest, ok := continued(value, text); ok {
			vars[name], text = more, rest
			continue
		}
		vars[name] = unquoted(value)
	}
	return vars
}

// variable takes a line NAME=VALUE apart.
func variable(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	return name, value, ok && isVariable(name)
}

// continued returns a value whose quotes end on a later line, and the lines after
// it. A line between that sets a variable shows that a quote was forgotten: base64
// can end in "=", but nothing follows there.
func continued(value, text string) (whole, rest string, ok bool) {
	if value == "" || value[0] != '"' && value[0] != '\'' || strings.IndexByte(value[1:], value[0]) >= 0 {
		return "", "", false
	}
	quote := value[:1]
	for whole = value[1:]; text != ""; {
		line := ""
		line, text, _ = strings.Cut(text, "\n")
		if _, set, is := variable(line); is && strings.Trim(set, "="+quote) != "" {
			return "", "", false
		}
		if last, ends := strings.CutSuffix(strings.TrimRight(line, " \t\r"), quote); ends {
			return whole + "\n" + last, text, true
		}
		whole += "\n" + strings.TrimRight(line, "\r")
	}
	return "", "", false
}

// isVariable reports whether a shell would take name for a variable's.
func isVariable(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// unquoted is a value without its quotes, or without a comment after it.
func unquoted(value string) string {
	if quoted, err := strconv.QuotedPrefix(value); err == nil { // JSON has quotes in it
		return quoted[1 : len(quoted)-1]
	}
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
			return value[1 : end+1]
		}
	}
	value, _, _ = strings.Cut(value, " #")
	return strings.TrimSpace(value)
}

// variables recognises credentials among variables of a file or of the
// environment.
func variables(from string, vars map[string]string, o Options) (finds []Find) {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if id, ok := strings.CutSuffix(name, "CLIENT_ID"); ok && vars[name] != "" {
			if f := cmp.Or(serviceKeyIn(id, vars, o), clientIn(id, vars, o)); f != nil {
				finds = append(finds, f.in(from))
			}
		}
		finds = append(finds, named(from, name, vars[name], o)...)
	}
	return finds
}

// clientIn recognises the client whose variables begin with prefix: "AZURE_",
// "API_", or the empty one.
func clientIn(prefix string, vars map[string]string, o Options) *Find {
	get := func(names ...string) string {
		for _, name := range names {
			if value := vars[prefix+name]; value != "" {
				return value
			}
		}
		return ""
	}
	var secrets []string
	secret := func(names ...string) string {
		for _, name := range names {
			if vars[prefix+name] != "" {
				secrets = append(secrets, prefix+name)
			}
		}
		return get(names...)
	}
	kind := strings.ToLower(strings.Trim(prefix, "_"))
	c := client{
		id: get("CLIENT_ID"), secret: secret("CLIENT_SECRET"), certificate: get("CLIENT_CERTIFICATE_PATH"), password: secret("CLIENT_CERTIFICATE_PASSWORD"),
		scope: get("SCOPES", "SCOPE"), audience: get("AUDIENCE"), tokenURL: get("TOKEN_URL", "TOKEN_URI", "TOKEN_ENDPOINT"),
		tenant: get("TENANT_ID", "TENANT"), authority: hostOf(get("AUTHORITY_HOST")), baseURL: get("BASE_URL"),
	}
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
	return c.find(Find{Form: "variables " + prefix + "CLIENT_ID ...", Variables: secrets}, Name(kind), o)
}

// serviceKeyIn makes a CLMS service key of the variables that people keep its
// members in, with the private key in a file: COPERNICUS_CLIENT_ID, for example.
func serviceKeyIn(prefix string, vars map[string]string, o Options) *Find {
	file := vars[prefix+"PRIVATE_KEY_FILE"]
	if file == "" || vars[prefix+"USER_ID"] == "" {
		return nil
	}
	f := Find{Form: "variables " + prefix + "USER_ID ..."}
	content, err := o.Read(file)
	if err != nil {
		f.Why = err.Error()
		return &f
	}
	all := map[string]any{
		"client_id": vars[prefix+"CLIENT_ID"], "user_id": vars[prefix+"USER_ID"], "token_uri": vars[prefix+"TOKEN_URI"], "private_key": string(content),
	}
	raw, _ := json.Marshal(all)
	if key := serviceKey(strings.ToLower(strings.Trim(prefix, "_")), members{raw, all}, o); key != nil {
		key.Form, key.Files, key.shared = f.Form, []string{file}, true
		return key
	}
	f.Why = "CLIENT_ID or TOKEN_URI is missing, which names the issuer"
	return &f
}

// named recognises a variable that names a file with a credential, or holds the
// content of one.
func named(from, name, value string, o Options) (finds []Find) {
	isKey := name == "GOOGLE_APPLICATION_CREDENTIALS" || name == "AZURE_CREDENTIALS" || strings.HasSuffix(name, "CLMS_CREDENTIALS") ||
		slices.ContainsFunc([]string{"", "_JSON", "_FILE", "_PATH"}, func(end string) bool { return strings.HasSuffix(name, "SERVICE_KEY"+end) })
	switch {
	case value == "" || !isKey:
		return nil
	case strings.Contains(value, "{"):
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
	content, err := o.Read(value)
	if err != nil {
		return []Find{{From: from, Form: "the file that " + name + " names", Why: err.Error()}}
	}
	return File(value, content, o)
}
