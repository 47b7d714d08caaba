package profile

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// Revision stands for the text of a file.
func (f File) Revision() string { return fmt.Sprintf("%x", sha256.Sum256(f.Text)) }

// With is the file with another text.
func (f File) With(text []byte) File {
	f.Text = text
	return f
}

// Changes lists the settings in which two texts of a file differ, and returns the
// first that those who administer the profile may not change, "" if there is none.
func (f File) Changes(after File, kind token.Provider) (changes []token.Change, ownersOnly string) {
	var before, now map[string]any
	_ = toml.Unmarshal(f.Text, &before) // a text that is not TOML sets nothing
	_ = toml.Unmarshal(after.Text, &now)
	differ(nil, before, now, func(path []string, a, b any) {
		change := token.Change{Setting: strings.Join(path, ".")}
		if ownersOnly == "" && !isForAdmins(kind, path) {
			ownersOnly = change.Setting
		}
		if field, known := fieldOf(kind, path[0]); known && !field.Secret {
			change.Old, change.New = a, b
		}
		changes = append(changes, change)
	})
	return changes, ownersOnly
}

// isForAdmins reports whether those who administer a profile may change a setting: how
// the profile renews, and what its tokens are for. All else is its owner's: who gets
// tokens, and where they and the credential go.
func isForAdmins(kind token.Provider, path []string) bool {
	if len(path) == 3 && path[0] == "resources" {
		path = path[2:]
	}
	field, _ := fieldOf(kind, path[0])
	return len(path) == 1 && (path[0] == "renew" || path[0] == "idle" || field.Resource)
}

// fieldOf finds a key of a profile's file by its exact name. TOML's decoder takes others
// for it too, which only differ in case.
func fieldOf(kind token.Provider, name string) (f token.Field, known bool) {
	if i := slices.IndexFunc(kind.Fields, func(f token.Field) bool { return f.Name == name }); i >= 0 {
		return kind.Fields[i], true
	}
	return f, slices.Contains(commonKeys, name)
}

// SentElsewhere returns the first setting that has the credential sent elsewhere than
// before, "" if there is none.
func SentElsewhere(kind token.Provider, before, now map[string]any) (setting string) {
	differ(nil, before, now, func(path []string, a, b any) {
		field, known := fieldOf(kind, path[0])
		if setting == "" && (!known || field.Sends && valueOr(a, field.Default) != valueOr(b, field.Default)) {
			setting = path[0]
		}
	})
	return setting
}

// valueOr is a setting as text, that of its default if it is not set.
func valueOr(v any, standard string) string {
	if v == nil || v == "" || v == false {
		return standard
	}
	return fmt.Sprint(v)
}

// differ calls found for each setting in which two tables differ, by its path.
func differ(path []string, before, now map[string]any, found func(path []string, a, b any)) {
	all := map[string]any{}
	maps.Copy(all, before)
	maps.Copy(all, now)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		at, a, b := append(slices.Clone(path), name), before[name], now[name]
		from, isFrom := table(a)
		to, isTo := table(b)
		if isFrom && isTo {
			differ(at, from, to, found)
		} else if !reflect.DeepEqual(a, b) {
			found(at, a, b)
		}
	}
}

// table returns the settings of a table, of none if there is no value. An empty table is a
// value of its own.
func table(v any) (settings map[string]any, ok bool) {
	settings, _ = v.(map[string]any)
	return settings, v == nil || len(settings) > 0
}
