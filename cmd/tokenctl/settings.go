package main

import (
	"fmt"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/providers/token"
)

// A settingFlag sets the provider's setting of the same name, with _ for -,
// or, where it can be given several times, the plural of that.
type settingFlag struct{ name, doc string }

func settingFlags() []settingFlag {
	return []settingFlag{
		{"client-id", "client (application) `ID`"},
		{"tenant", "directory (tenant) `ID`, or one of its domains (azure)"},
		{"scope", "`SCOPE` to ask for; repeatable"},
		{"audience", "`AUDIENCE` that the token is for"},
		{"resource", "`URI` of the resource that the token is for"},
		{"token-url", "`URL` of the token endpoint"},
		{"authority", "`HOST` of the sign-in service (azure)"},
		{"base-url", "`URL` of the API (aspose)"},
		{"email", "email address of the account (datarock)"},
		{"key-bits", "size of the key that is made: 2048 or 4096 (datarock)"},
		{"dataspace", "base `URL` of the dataspace (ioxio)"},
		{"dsi", "`DSI` of the data source, dpp://...; repeatable (ioxio)"},
		{"gateway", "`URL` of the product gateway, for verify --remote (ioxio)"},
		{"leeway", "how far clocks may differ, as `TIME` (ioxio, jwt-verify)"},
		{"issuer", "iss: who signs the assertion (jwt-bearer), or the tokens that are verified (jwt-verify)"},
		{"subject", "sub of the assertion: whom the token is for (jwt-bearer)"},
		{"auth", "how the client authenticates: client_secret_basic,\nclient_secret_post or private_key_jwt (oauth2)"},
		{"algorithm", "signature of the assertion: RS256, PS256, ES256, EdDSA ..."},
		{"key-id", "kid in the assertion's header"},
		{"assertion-lifetime", "how long an assertion is valid, as `TIME`"},
		{"form", "`NAME=VALUE` of a further form field; repeatable"},
		{"claim", "`NAME=VALUE` of a further claim; repeatable (jwt-bearer)"},
		{"user-agent", "User-Agent of the requests to the issuer"},
		{"host", "`URL` that its credentials may be sent to; repeatable"},
		{"present", "how its token is shown there: bearer, basic:USER,\nheader:NAME, or acr (a container registry of Azure)"},
		{"allow-user", "`USER` who may use it, by name or number; repeatable"},
		{"allow-group", "`GROUP` whose members may use it; repeatable"},
		{"renew", "\"always\", or \"used\" to stop when nobody asks"},
	}
}

// ownSettings are tokend's settings of every profile.
func ownSettings() []token.Field {
	return []token.Field{{Name: "renew"}, {Name: "idle"}, {Name: "hosts", List: true}, {Name: "present"},
		{Name: "allow_users", List: true}, {Name: "allow_groups", List: true}}
}

// A saying is one setting as it was given.
type saying struct {
	flag, name, value string
}

// sayings collects settings in the order in which they are given.
type sayings []saying

const settingGroup = "Settings"

func (s *sayings) flags(f *cli.Flags) {
	for _, flag := range settingFlags() {
		inGroup(f, settingGroup, flag.name, flag.doc, &sayingValue{s, flag.name})
	}
	inGroup(f, settingGroup, "set", "any other setting, as `NAME=VALUE`; repeatable", &sayingValue{s, "set"})
}

// A sayingValue is a flag that adds to sayings.
type sayingValue struct {
	into *sayings
	flag string
}

// Set implements pflag.Value.
func (v *sayingValue) Set(text string) error {
	name, value := strings.ReplaceAll(v.flag, "-", "_"), text
	if v.flag == "set" {
		var ok bool
		if name, value, ok = strings.Cut(text, "="); !ok {
			return fmt.Errorf("it takes NAME=VALUE")
		}
	}
	if value == "" {
		return fmt.Errorf("the value is empty")
	}
	*v.into = append(*v.into, saying{"--" + v.flag, name, value})
	return nil
}

// String implements pflag.Value.
func (v *sayingValue) String() string { return "" }

// Type implements pflag.Value.
func (v *sayingValue) Type() string { return "TEXT" }

// flagFor is the flag that sets a field, as it is typed.
func flagFor(field string) string {
	if in := secretInputFor(field); in.flag != "" {
		return "--" + in.flag
	}
	name := strings.ReplaceAll(field, "_", "-")
	for _, f := range settingFlags() {
		if name == f.name || name == f.name+"s" {
			return "--" + f.name
		}
	}
	return "--set " + field + "=..."
}

// fieldOf finds the field that a saying is about.
func fieldOf(p token.Provider, s saying) (token.Field, bool) {
	for _, f := range slices.Concat(p.Fields, ownSettings()) {
		if f.Name == s.name || s.flag != "--set" && f.Name == s.name+"s" {
			return f, true
		}
	}
	return token.Field{}, false
}

// settings makes of sayings what tokend takes for the provider.
func (s sayings) settings(p token.Provider) (map[string]any, error) {
	settings := map[string]any{}
	for _, said := range s {
		f, ok := fieldOf(p, said)
		if !ok {
			return nil, unknownSetting(p, said)
		}
		if f.Secret {
			return nil, cli.Usage("%s is given as %s FILE, not with %s", f.Name, flagFor(f.Name), said.flag)
		}
		if err := addSetting(settings, f, said); err != nil {
			return nil, err
		}
	}
	return settings, nil
}

func addSetting(settings map[string]any, f token.Field, said saying) error {
	before, twice := settings[f.Name]
	switch {
	case f.List:
		list, _ := before.([]string)
		settings[f.Name] = append(list, said.value)
	case f.Table:
		name, value, ok := strings.Cut(said.value, "=")
		if !ok || name == "" {
			return cli.Usage("%s: %s takes NAME=VALUE", said.flag, f.Name)
		}
		table, _ := before.(map[string]string)
		if table == nil {
			table = map[string]string{}
			settings[f.Name] = table
		}
		if _, twice := table[name]; twice {
			return cli.Usage("%s: %s is given twice", said.flag, name)
		}
		table[name] = value
	case twice:
		return cli.Usage("%s is given twice, and there can be one", f.Name)
	default:
		settings[f.Name] = scalar(said)
	}
	return nil
}

// scalar is the value of a setting. Switches have no flags of their own, and
// no text setting would be called true or false.
func scalar(said saying) any {
	if said.flag == "--set" && (said.value == "true" || said.value == "false") {
		return said.value == "true"
	}
	return said.value
}

// unknownSetting names the nearest setting that the provider has, or all.
func unknownSetting(p token.Provider, said saying) error {
	var names []string
	for _, f := range slices.Concat(ownSettings(), p.Fields) {
		if !f.Secret {
			names = append(names, f.Name)
		}
	}
	text := cli.DidYouMean(said.name, names)
	if text == "" {
		text = "; it has " + strings.Join(names, ", ")
	}
	what := said.flag
	if what == "--set" {
		what += " " + said.name
	}
	return cli.Usage("%s: the provider %s has no setting %s%s", what, p.Name, said.name, text)
}
