// Package form makes profiles: it reads settings and secrets from flags, files
// and answers at the terminal, and hands them to tokend.
package form

import (
	"slices"
	"strings"

	"tokend/docs"
	"tokend/providers/token"
)

// commonSettings are the settings of every profile, whatever its provider.
var commonSettings = []token.Field{
	{Name: "hosts", List: true, Doc: "URL that its credentials may be sent to"},
	{Name: "present", Doc: "how to show its token there: bearer, basic:USER, header:NAME, or acr (a container registry of Azure)"},
	{Name: "second_header", Doc: "header that they want beside the token, such as Ocp-Apim-Subscription-Key"},
	secondSecret,
	{Name: "allow_users", List: true, Doc: "user who may use it, by name or number"},
	{Name: "allow_groups", List: true, Doc: "group whose members may use it"},
	{Name: "renew", Doc: "\"always\", or \"used\" to stop when no program asks"},
	{Name: "idle", Doc: "how long without a request counts as unused"},
}

// secondSecret is the secret of every profile that sets second_header.
var secondSecret = token.Field{Name: token.SecondSecret, Secret: true, Doc: "value of the second header, such as a subscription key"}

// A knownField is a field that has a flag. tokenctl knows the providers' fields
// from docs/configuration.md, so that --help works without tokend.
type knownField struct {
	token.Field
	flag, doc string
}

// knownFields are the fields of all providers by their flags.
func knownFields() (fields []knownField) {
	for _, s := range docs.Settings() {
		f := knownField{Field: token.Field{
			Name: s.Name, Secret: strings.HasPrefix(s.Note, "secret"), List: strings.HasSuffix(s.Note, "list"), Table: strings.HasSuffix(s.Note, "table"),
		}}
		f.flag = flagName(f.Field)
		i := slices.IndexFunc(fields, func(k knownField) bool { return k.flag == f.flag })
		if i < 0 {
			i, fields = len(fields), append(fields, f)
		}
		fields[i].doc = mergeDoc(fields[i].doc, s.Provider, s.Doc)
	}
	for _, f := range commonSettings {
		fields = append(fields, knownField{f, flagName(f), f.Doc})
	}
	return fields
}

// mergeDoc adds what a field is to a provider: "azure: …; aspose, oauth2: …".
func mergeDoc(docs, provider, doc string) string {
	if before, same := strings.CutSuffix(docs, ": "+doc); same {
		docs = before + ", "
	} else if docs != "" {
		docs += "; "
	}
	return docs + provider + ": " + doc
}

// flagName is the flag of a field. Flags of lists and tables are given several
// times, so their names are singular; secrets that people type come in a file.
func flagName(f token.Field) string {
	name := strings.ReplaceAll(f.Name, "_", "-")
	switch {
	case f.Secret && isTyped(f.Name):
		return name + "-file"
	case f.List || f.Table:
		return strings.TrimSuffix(name, "s")
	}
	return name
}

// isTyped reports whether a secret is a short text that a person can type or
// paste, and not a file.
func isTyped(field string) bool {
	return field != "certificate" && field != "pfx" && !strings.HasSuffix(field, "_key")
}

// flagFor is the flag that sets a field, as it is typed, or the argument NAME.
func flagFor(field string) string {
	name := strings.ReplaceAll(field, "_", "-")
	if field == nameField {
		return "NAME"
	}
	for _, f := range knownFields() {
		if f.Name == field || f.flag == name || f.flag+"s" == name {
			return "--" + f.flag
		}
	}
	return "--set " + field + "=..."
}

// SecretFlag is the flag to use in place of one that would take a secret
// itself, empty if name does not mean a secret.
func SecretFlag(name string) string {
	for _, f := range knownFields() {
		for _, suffix := range []string{"", "-file", "-json", "-pem"} {
			if f.Secret && name != f.flag && name == strings.TrimSuffix(f.flag, "-file")+suffix {
				return f.flag
			}
		}
	}
	return ""
}
