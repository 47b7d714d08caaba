package profile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// Revision stands for the text of a file.
func (f File) Revision() string { return fmt.Sprintf("%x", sha256.Sum256(f.Text)) }

// ReadToEdit reads the named profile's file, unless another in its place could not have
// its owner, or would take the place of a link.
func (d Dirs) ReadToEdit(name string) (File, error) {
	path := d.ProfileFile(name)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return File{}, &token.Error{Code: token.ErrNotFound, Message: fmt.Sprintf("no profile %q", name)}
	case err == nil && !info.Mode().IsRegular():
		err = fmt.Errorf("%s is a link or not a regular file", path)
	case err == nil:
		err = os.Chmod(path, info.Mode().Perm()) // which only its owner may, and root
	}
	if err != nil {
		return File{}, invalid("", token.FileFault(err)+"; edit it where it is, and run tokenctl reload")
	}
	return d.Read(name)
}

// Changes lists the settings in which two texts of a file differ. Those in tables have the
// table's name before theirs.
func (o Opener) Changes(before, after File) (changes []token.Change) {
	was, is, all := before.settings(), after.settings(), after.settings()
	maps.Copy(all, was)
	// By their exact names. TOML's decoder takes others for them too, which only differ in
	// case: they are not known here.
	fields := map[string]token.Field{}
	for _, key := range commonKeys {
		fields[key] = token.Field{}
	}
	kind, _ := FindProvider(o.Kinds, fmt.Sprint(is["provider"]))
	for _, f := range kind.Fields {
		fields[f.Name] = f
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if reflect.DeepEqual(was[name], is[name]) {
			continue
		}
		key, _, inTable := strings.Cut(name, ".")
		field, known := fields[key]
		c := token.Change{Setting: name, Sends: field.Sends || !known || key == "provider"}
		if key == "resources" { // [resources.NAME]
			field = fields[name[strings.LastIndexByte(name, '.')+1:]]
			inTable = false
		}
		// How it renews, and what its tokens are for. All else says who gets tokens, and
		// where they and the credential go.
		c.ForAdmins = name == "renew" || name == "idle" || field.Resource && !inTable
		if known && !field.Secret {
			c.Old, c.New = was[name], is[name]
		}
		changes = append(changes, c)
	}
	return changes
}

// settings returns what a file sets, by name. A text that is not TOML sets nothing.
func (f File) settings() map[string]any {
	var all map[string]any
	_ = toml.Unmarshal(f.Text, &all)
	flat := map[string]any{}
	flatten(flat, "", all)
	return flat
}

// flatten adds to a set the settings in v, by name. An empty table is a value of its own.
func flatten(into map[string]any, name string, v any) {
	table, _ := v.(map[string]any)
	for key, value := range table {
		flatten(into, strings.TrimPrefix(name+"."+key, "."), value)
	}
	if len(table) == 0 && name != "" {
		into[name] = v
	}
}
