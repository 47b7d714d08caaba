package form

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/providers/token"
)

// Credentials are what the flags of add and rotate say about secrets.
type Credentials struct {
	files   map[string]string // field → file
	expires time.Time
	noCheck bool
	json    bool
}

// Flags defines the flags.
func (c *Credentials) Flags(f *cli.Flags) {
	f.BoolVar(&c.noCheck, "no-check", false, "do not obtain a token to prove that it works")
	f.BoolVar(&c.json, "json", false, "print the result as JSON")
	f.Heading("Secrets (FILE - is stdin; a terminal asks for what is missing)")
	c.files = map[string]string{}
	for _, s := range knownFields() {
		if !s.Secret {
			continue
		}
		f.Text(s.flag, "FILE", s.doc, func(text string) error {
			if c.files[s.Name] != "" {
				return errors.New("it is given twice")
			}
			c.files[s.Name] = text
			return nil
		})
	}
	f.Text("secret-expires", "DATE", "when the secret itself expires (2027-01-31)", func(text string) (err error) {
		c.expires, err = parseExpiry(text, time.Now())
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
func settingFlags(f *cli.Flags, into *[]setting) {
	f.Heading("Settings")
	for _, s := range knownFields() {
		if s.Secret {
			continue
		}
		kind, doc := "TEXT", s.doc
		if s.Table {
			kind = "NAME=VALUE"
		}
		if s.List || s.Table {
			doc += "; repeatable"
		}
		f.Text(s.flag, kind, doc, func(text string) error {
			*into = append(*into, setting{"--" + s.flag, strings.ReplaceAll(s.flag, "-", "_"), text})
			return nil
		})
	}
	f.Text("set", "NAME=VALUE", "any other setting; repeatable", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok || value == "" {
			return errors.New("it takes NAME=VALUE")
		}
		*into = append(*into, setting{"--set", name, value})
		return nil
	})
}

// settingsFor makes of settings what tokend takes for the provider. tokend
// refuses those that the provider does not have.
func settingsFor(p token.Provider, given []setting) (map[string]any, error) {
	settings, fields := map[string]any{}, slices.Concat(p.Fields, commonSettings)
	for _, s := range given {
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

func addSetting(settings map[string]any, f token.Field, s setting) error {
	before, isThere := settings[f.Name]
	switch {
	case f.List:
		list, _ := before.([]string)
		if f.Name == "hosts" {
			s.value = token.WithoutUser(s.value)
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
		return cli.Usage("%s is given twice, and there can be one", f.Name)
	case s.value == "true" || s.value == "false": // no text setting has such a value
		settings[f.Name] = s.value == "true"
	default:
		settings[f.Name] = s.value
	}
	return nil
}
