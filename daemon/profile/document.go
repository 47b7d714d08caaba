package profile

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// A document is a TOML file that several structs share: the daemon takes its
// keys of a profile, the provider takes its own. A key that none of them has is
// an error.
type document struct {
	file  string // empty for text that is in no file yet
	text  []byte
	known []string // the keys of the structs so far
}

// decode fills the struct that into points to. A key that the struct does not
// have is no error before close, unless it is in one of its tables.
func (d *document) decode(into any) error {
	own := keysOf(reflect.TypeOf(into).Elem())
	d.known = append(d.known, own...)
	unknown, err := decodeStrictly(d.text, into)
	for _, u := range unknown {
		if isKey(own, u.Key()[0]) {
			return d.unknown(u)
		}
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, _ := wrong.Position()
		key := token.Printable(strings.Join(wrong.Key(), "."), maxKey)
		return d.fault(line, key, inTOML(key, strings.TrimPrefix(wrong.Error(), "toml: ")))
	}
	if err != nil { // of an UnmarshalText
		return d.fault(0, "", err.Error())
	}
	return nil
}

// maxKey bounds the key that an error names, in characters.
const maxKey = 100

// decodeStrictly also returns the keys that into does not have.
func decodeStrictly(text []byte, into any) (unknown []toml.DecodeError, err error) {
	dec := toml.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err = dec.Decode(into)
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		return strict.Errors, nil
	}
	return nil, err
}

// isKey reports whether a struct with these keys has the key, as the library
// finds it.
func isKey(keys []string, key string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, key) })
}

// close returns an error for the first key that no struct had.
func (d *document) close() error {
	all, _ := decodeStrictly(d.text, &struct{}{})
	for _, u := range all {
		if !isKey(d.known, u.Key()[0]) {
			return d.unknown(u)
		}
	}
	return nil
}

func (d *document) unknown(u toml.DecodeError) error {
	line, _ := u.Position()
	key := strings.Join(u.Key(), ".")
	slices.Sort(d.known)
	return d.fault(line, key, fmt.Sprintf("unknown key %q; ", key)+suggest(key, "the keys are", slices.Compact(d.known)))
}

// suggest names the word that is meant instead of a wrong one, or all.
func suggest(wrong, all string, words []string) string {
	if near := token.Nearest(wrong, words); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return all + " " + strings.Join(words, ", ")
}

// errLocated marks errors that name their file.
var errLocated = errors.New("located")

// locate adds file and line to an error about one of the document's keys.
func (d *document) locate(err error) error {
	var e *token.Error
	switch {
	case errors.Is(err, errLocated):
		return err
	case !errors.As(err, &e):
		return d.fault(0, "", err.Error())
	}
	return d.fault(d.lineOf(e.Field), e.Field, e.Message)
}

func (d *document) fault(line int, field, text string) error {
	cause := errLocated
	switch {
	case d.file == "":
		cause = nil
	case line > 0:
		text = fmt.Sprintf("%s:%d: %s", d.file, line, text)
	default:
		text = d.file + ": " + text
	}
	return &token.Error{Code: token.ErrInvalid, Field: field, Message: text, Cause: cause}
}

// lineOf returns the line of a top-level key, of a key of a resource, or of the table
// that lacks it; 0 if the document has none of them.
func (d *document) lineOf(key string) int {
	inTables, _ := decodeStrictly(d.text, &struct {
		Resources map[string]struct{} `toml:"resources"`
	}{})
	all, _ := decodeStrictly(d.text, &struct{}{})
	for _, u := range append(inTables, all...) {
		if name := strings.Join(u.Key(), "."); u.Key()[0] == key || strings.HasPrefix(key+".", name+".") {
			line, _ := u.Position()
			return line
		}
	}
	return 0
}

// inTOML words the library's error in terms of TOML instead of Go.
func inTOML(key, text string) string {
	_, goType, ofType := strings.Cut(text, " of type ")
	switch {
	case key == "" || strings.HasPrefix(text, "key "):
		return text
	case !ofType:
		return key + ": " + text
	}
	for _, form := range []struct{ goType, text string }{
		{"bool", "true or false"}, {"int", "a whole number"},
		{"[]", `a list such as ["one", "two"]`}, {"map[", `a table such as { name = "value" }`},
	} {
		if strings.HasPrefix(goType, form.goType) {
			return key + " must be " + form.text
		}
	}
	return key + " must be a string in quotes"
}

// keysOf lists the keys of a struct.
func keysOf(t reflect.Type) (keys []string) {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case name != "" && name != "-":
			keys = append(keys, name)
		case name == "" && f.Anonymous:
			keys = append(keys, keysOf(f.Type)...)
		}
	}
	return keys
}
