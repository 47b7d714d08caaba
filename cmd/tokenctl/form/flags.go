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

// secretFlags defines the flags of add and rotate that are about secrets.
func (s *Submission) secretFlags(f *cli.Flags) {
	s.FlagFor = func(field string) string {
		flag := flagFor(field)
		if name, _, _ := strings.Cut(flag, " "); field == nameField || f.Lookup(name[2:]) == nil {
			return "" // another command's
		}
		return flag
	}
	f.BoolVar(&s.request.NoCheck, "no-check", false, "do not obtain a token to prove that it works")
	f.BoolVar(&s.json, "json", false, "print the result as JSON")
	f.Heading("Secrets (FILE - is stdin; a terminal asks for what is missing)")
	for _, field := range knownFields() {
		if !field.Secret {
			continue
		}
		f.Text(field.flag, "FILE", field.doc, func(text string) error {
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
		kind, doc := "TEXT", field.doc
		if field.Table {
			kind = "NAME=VALUE"
		}
		if field.List || field.Table {
			doc += "; repeatable"
		}
		f.Text(field.flag, kind, doc, func(text string) error {
			s.settings = append(s.settings, setting{"--" + field.flag, strings.ReplaceAll(field.flag, "-", "_"), text})
			return nil
		})
	}
	f.Text("set", "NAME=VALUE", "any other setting; repeatable", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok || value == "" {
			return errors.New("it takes NAME=VALUE")
		}
		s.settings = append(s.settings, setting{"--set", name, value})
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
		return cli.Usage("%s is given twice, and there can be one", f.Name)
	case s.value == "true" || s.value == "false": // no text setting has such a value
		settings[f.Name] = s.value == "true"
	default:
		settings[f.Name] = s.value
	}
	return nil
}
