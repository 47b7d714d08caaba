// Package form makes profiles: it reads settings and secrets from flags, files
// and answers at the terminal, and hands them to tokend.
package form

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/docs"
	"tokend/providers/token"
)

// commonSettings are the settings of every profile, whatever its provider.
var commonSettings = []token.Field{
	{Name: "hosts", List: true, Resource: true, Doc: "URL that its credentials may be sent to"},
	{Name: "present", Resource: true, Doc: "how to show its token there: bearer, basic:USER, header:NAME, or acr (a container registry of Azure)"},
	{Name: "second_header", Doc: "header that they want besides the token, such as Ocp-Apim-Subscription-Key"},
	secondSecret,
	{Name: "allow_users", List: true, Doc: "user who may use it, by name or number"},
	{Name: "allow_groups", List: true, Doc: "group whose members may use it"},
	{Name: "admin_users", List: true, Doc: "user who may rotate and edit it, by name or number"},
	{Name: "admin_groups", List: true, Doc: "group whose members may rotate and edit it"},
	{Name: "renew", Doc: "\"always\", or \"used\" to stop when no program asks"},
	{Name: "idle", Doc: "how long without a request counts as unused"},
}

// secondSecret is the secret of every profile that sets second_header.
var secondSecret = token.Field{Name: token.SecondSecret, Secret: true, Doc: "value of the second header, such as a subscription key"}

// knownFields are the fields of all providers that have flags of their own. tokenctl
// knows them from docs/configuration.md, so that --help works without tokend.
func knownFields() (fields []token.Field) {
	for _, s := range docs.Settings() {
		f := token.Field{
			Name: s.Name, Secret: strings.HasPrefix(s.Note, "secret"), List: strings.HasSuffix(s.Note, "list"), Table: strings.HasSuffix(s.Note, "table"),
			Resource: strings.Contains(s.Note, "per resource"),
		}
		flag := flagName(f)
		i := slices.IndexFunc(fields, func(k token.Field) bool { return flagName(k) == flag })
		if i < 0 {
			i, fields = len(fields), append(fields, f)
		}
		fields[i].Resource = fields[i].Resource || f.Resource
		fields[i].Doc = mergeDoc(fields[i].Doc, s.Provider, s.Doc)
	}
	return append(fields, commonSettings...)
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
	if resource, own, ok := cutResource(field); ok {
		return "--resource-" + strings.TrimPrefix(flagFor(own), "--") + " " + resource + "=..."
	}
	for _, f := range knownFields() {
		if flag := flagName(f); f.Name == field || flag == name || flag+"s" == name {
			return "--" + flag
		}
	}
	return "--set " + field + "=..."
}

// SecretFlag is the flag to use in place of one that would take a secret
// itself, empty if name does not mean a secret.
func SecretFlag(name string) string {
	for _, f := range knownFields() {
		flag := flagName(f)
		end, ok := strings.CutPrefix(name, strings.TrimSuffix(flag, "-file"))
		if f.Secret && ok && name != flag && slices.Contains([]string{"", "-file", "-json", "-pem"}, end) {
			return flag
		}
	}
	return ""
}

// SecretFlags defines the flags that are about secrets.
func (s *Submission) SecretFlags(f *cli.Flags) {
	s.FlagFor = func(field string) string {
		flag := flagFor(field)
		if name, _, _ := strings.Cut(flag, " "); field == nameField || f.Lookup(name[2:]) == nil {
			return "" // another command's
		}
		return flag
	}
	f.BoolVar(&s.json, "json", false, "print the result as JSON")
	f.Heading("Secrets (FILE - is stdin; on a terminal, tokenctl asks for missing ones)")
	for _, field := range knownFields() {
		if !field.Secret {
			continue
		}
		f.Text(flagName(field), "FILE", field.Doc, func(text string) error {
			if s.files[field.Name] != "" {
				return errors.New("it is given twice")
			}
			s.files[field.Name] = text
			return nil
		})
	}
	f.Text("secret-expires", "DATE", "when the secret itself expires (2027-01-31)", func(text string) (err error) {
		s.request.CredentialExpires, err = parseExpiry(text, time.Now())
		return err
	})
}

// parseExpiry reads a date or an RFC 3339 time that is not over. A date is its
// first second in UTC: a warning may come too early, but not too late.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, text)
	end := t.AddDate(0, 0, 1)
	if err != nil {
		t, err = time.Parse(time.RFC3339, text)
		end = t
	}
	switch {
	case err != nil:
		return t, fmt.Errorf("%q is not a date such as 2027-01-31", text)
	case !end.After(now):
		return t, fmt.Errorf("%s is in the past", text)
	}
	return t.UTC(), nil
}

// A setting is one setting as it was given.
type setting struct {
	flag, name, value string
}

// settingFlags defines a flag for each setting.
func (s *Submission) settingFlags(f *cli.Flags) {
	f.Heading("Settings")
	for _, field := range knownFields() {
		if field.Secret {
			continue
		}
		kind, doc, flag := "TEXT", field.Doc, flagName(field)
		if field.Table {
			kind = "NAME=VALUE"
		}
		if field.List || field.Table {
			doc += "; repeatable"
		}
		f.Text(flag, kind, doc, func(text string) error {
			s.settings = append(s.settings, setting{"--" + flag, settingName(flag), text})
			return nil
		})
	}
	s.pairFlag(f, "set", "NAME=VALUE", "any other setting; repeatable", "%s")
	f.Heading("Resources: what else the same credential is for (repeatable)")
	for _, field := range knownFields() {
		if !field.Resource {
			continue
		}
		flag := flagName(field)
		s.pairFlag(f, "resource-"+flag, "RESOURCE=TEXT", "--"+flag+" of this resource", resourcePrefix+"%s."+settingName(flag))
	}
}

// settingName is the setting of a flag; that of a list lacks its last letter.
func settingName(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// pairFlag defines a flag that takes the name of a setting, or a part of it, with the value.
func (s *Submission) pairFlag(f *cli.Flags, flag, kind, doc, name string) {
	f.Text(flag, kind, doc, func(text string) error {
		part, value, ok := strings.Cut(text, "=")
		if !ok || part == "" || value == "" {
			return errors.New("it takes " + kind)
		}
		s.settings = append(s.settings, setting{"--" + flag, fmt.Sprintf(name, part), value})
		return nil
	})
}

// settingsFor makes of settings what tokend takes for the provider. tokend
// refuses those that the provider does not have.
func settingsFor(p token.Provider, given []setting) (map[string]any, error) {
	settings, fields := map[string]any{}, slices.Concat(p.Fields, commonSettings)
	for _, s := range given {
		settings := settings
		if resource, own, ok := cutResource(s.name); ok {
			settings, s.name = tableIn(tableIn(settings, "resources"), resource), own
		}
		field := token.Field{Name: s.name}
		if i := slices.IndexFunc(fields, func(f token.Field) bool { return f.Name == s.name || s.flag != "--set" && f.Name == s.name+"s" }); i >= 0 {
			field = fields[i]
		}
		if err := addSetting(settings, field, s); err != nil {
			return nil, err
		}
	}
	return settings, nil
}

// resourcePrefix begins the name of a resource's setting: resources.NAME.SETTING.
const resourcePrefix = "resources."

func cutResource(name string) (resource, own string, ok bool) {
	rest, ok := strings.CutPrefix(name, resourcePrefix)
	i := strings.LastIndexByte(rest, '.')
	if !ok || i < 0 {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}

// tableIn returns the table of that name, which it makes if need be.
func tableIn(settings map[string]any, name string) map[string]any {
	table, ok := settings[name].(map[string]any)
	if !ok {
		table = map[string]any{}
		settings[name] = table
	}
	return table
}

func addSetting(settings map[string]any, f token.Field, s setting) error {
	before, isThere := settings[f.Name]
	switch {
	case f.List:
		list, _ := before.([]string)
		if f.Name == "hosts" {
			if s.value = token.WithoutUser(s.value); !strings.Contains(s.value, "://") {
				s.value = "https://" + s.value
			}
		}
		settings[f.Name] = append(list, s.value)
	case f.Table:
		name, value, ok := strings.Cut(s.value, "=")
		if !ok || name == "" {
			return cli.Usage("%s: %s takes NAME=VALUE", s.flag, f.Name)
		}
		table, _ := before.(map[string]string)
		if table == nil {
			table = map[string]string{}
			settings[f.Name] = table
		}
		if _, twice := table[name]; twice {
			return cli.Usage("%s: %s is given twice", s.flag, name)
		}
		table[name] = value
	case isThere:
		return cli.Usage("%s is given twice; give it once", f.Name)
	case s.value == "true" || s.value == "false": // no text setting has such a value
		settings[f.Name] = s.value == "true"
	default:
		settings[f.Name] = s.value
	}
	return nil
}
