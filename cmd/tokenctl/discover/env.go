package discover

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"tokend/providers/token"
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
// others.
func parseEnv(text string) map[string]string {
	vars := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || !isVariable(name) {
			continue
		}
		vars[name] = unquoted(strings.TrimSpace(value))
	}
	return vars
}

// isVariable reports whether a shell would take name for a variable's.
func isVariable(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// unquoted is a value without its quotes, or without a comment after it.
func unquoted(value string) string {
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
			if f := clientIn(id, vars, o); f != nil {
				f.From = from
				if from != Environment && f.Provider != "" {
					f.Files = append([]string{from}, f.Files...)
				}
				finds = append(finds, *f)
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
	id, secret := get("CLIENT_ID"), get("CLIENT_SECRET")
	tenant, certificate := get("TENANT_ID", "TENANT"), get("CLIENT_CERTIFICATE_PATH")
	f := Find{Form: "variables " + prefix + "CLIENT_ID ..."}
	if secret != "" {
		f.Variables = append(f.Variables, prefix+"CLIENT_SECRET")
	}
	kind := strings.ToLower(strings.Trim(prefix, "_"))
	switch {
	case tenant != "":
		password := get("CLIENT_CERTIFICATE_PASSWORD")
		if password != "" {
			f.Variables = append(f.Variables, prefix+"CLIENT_CERTIFICATE_PASSWORD")
		}
		f.Name = cmp.Or(Name(kind), "azure")
		return principal{tenant: tenant, client: id, secret: secret, certificate: certificate, password: password,
			authority: hostOf(get("AUTHORITY_HOST")), scope: get("SCOPE")}.find(f, o)
	case secret == "":
		return nil // an ID alone is no credential
	case get("TOKEN_URL", "TOKEN_URI", "TOKEN_ENDPOINT") == "" && o.TokenURL == "" && isAspose(kind):
		return aspose(f, kind, id, secret, get("BASE_URL"))
	}
	c := client{tokenURL: get("TOKEN_URL", "TOKEN_URI", "TOKEN_ENDPOINT"), id: id, secret: secret,
		scopes: strings.Fields(get("SCOPES", "SCOPE")), audience: get("AUDIENCE")}
	return c.find(f, Name(kind), o)
}

// isAspose recognises the prefixes of Aspose's variables. Its samples use API_.
func isAspose(kind string) bool {
	return kind == "api" || strings.Contains(kind, "aspose") || strings.Contains(kind, "groupdocs")
}

func aspose(f Find, kind, id, secret, baseURL string) *Find {
	f.Provider, f.Client, f.Name = "aspose", id, "aspose"
	f.Settings = map[string]any{"client_id": id}
	switch {
	case baseURL != "":
		f.Settings["base_url"] = baseURL
	case strings.Contains(kind, "groupdocs"):
		f.Name, f.Settings["base_url"] = "groupdocs", "https://api.groupdocs.cloud"
	case kind == "api":
		f.Note = "taken as Aspose Cloud's, whose samples use these names; for another issuer use --token-url"
	}
	f.Secrets = map[string]token.Secret{"client_secret": token.NewSecret(secret)}
	return &f
}

// named recognises a variable that names a file with a credential, or holds the
// content of one.
func named(from, name, value string, o Options) (finds []Find) {
	isFile := name == "GOOGLE_APPLICATION_CREDENTIALS" || strings.HasSuffix(name, "SERVICE_KEY") ||
		strings.HasSuffix(name, "SERVICE_KEY_FILE") || strings.HasSuffix(name, "SERVICE_KEY_PATH")
	switch {
	case value == "":
		return nil
	case name == "AZURE_CREDENTIALS" || isFile && strings.HasPrefix(value, "{"):
		for _, f := range File("", []byte(value), o) {
			f.From, f.Form = from, f.Form+" in "+name
			if f.Provider != "" {
				f.Files, f.Variables = nil, []string{name}
				if from != Environment {
					f.Files = []string{from}
				}
			}
			finds = append(finds, f)
		}
	case isFile:
		content, err := o.Read(value)
		if err != nil {
			return []Find{{From: from, Form: "the file that " + name + " names", Why: err.Error()}}
		}
		return File(value, content, o)
	}
	return finds
}
