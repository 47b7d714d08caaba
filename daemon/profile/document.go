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
	file    string // empty for text that is in no file yet
	text    []byte
	structs []reflect.Type // those so far
	unknown map[string]int // the line of each key that no struct had; nil before the first one
}

// decode fills the struct that into points to. A key that the struct does not
// have is no error before close.
func (d *document) decode(into any) error {
	d.structs = append(d.structs, reflect.TypeOf(into).Elem())
	err := decodeStrictly(d.text, into)
	var strict *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case err == nil:
		d.unknown = map[string]int{}
	case errors.As(err, &strict):
		d.keepUnknown(strict)
	case errors.As(err, &wrong):
		line, _ := wrong.Position()
		key := strings.Join(wrong.Key(), ".")
		return d.fault(line, key, inTOML(key, strings.TrimPrefix(wrong.Error(), "toml: ")))
	default:
		key := d.culprit(into, err)
		return d.fault(d.lineOf(key), key, key+" must be a string in quotes: "+err.Error())
	}
	return nil
}

func decodeStrictly(text []byte, into any) error {
	dec := toml.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

// keepUnknown narrows the unknown keys to those that this struct lacks too. A
// struct that lacks a table lacks the keys in it.
func (d *document) keepUnknown(strict *toml.StrictMissingError) {
	lacking := map[string]int{}
	for _, m := range strict.Errors {
		lacking[strings.Join(m.Key(), ".")], _ = m.Position()
	}
	if d.unknown == nil {
		d.unknown = lacking
		return
	}
	for key := range d.unknown {
		table, _, _ := strings.Cut(key, ".")
		if lacking[key] == 0 && lacking[table] == 0 {
			delete(d.unknown, key)
		}
	}
}

// close returns an error for the first key that no struct had.
func (d *document) close() error {
	first, line := "", 0
	for key, at := range d.unknown {
		if first == "" || at < line {
			first, line = key, at
		}
	}
	if first == "" {
		return nil
	}
	var known []string
	for _, t := range d.structs {
		known = append(known, keysOf(t)...)
	}
	slices.Sort(known)
	return d.fault(line, first, fmt.Sprintf("unknown key %q; ", first)+suggest(first, "the keys are", slices.Compact(known)))
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

// lineOf returns the line of a top-level key, 0 if the document does not have it.
func (d *document) lineOf(key string) int {
	var strict *toml.StrictMissingError
	if errors.As(decodeStrictly(d.text, &struct{}{}), &strict) {
		for _, m := range strict.Errors {
			if m.Key()[0] == key {
				line, _ := m.Position()
				return line
			}
		}
	}
	return 0
}

// culprit returns the top-level key at which decoding fails with an error of
// UnmarshalText: the library does not say for a number or a boolean.
func (d *document) culprit(into any, failure error) string {
	var all map[string]any
	_ = toml.Unmarshal(d.text, &all) // it could be decoded so far
	for key, value := range all {
		one, _ := toml.Marshal(map[string]any{key: value})
		err := toml.Unmarshal(one, reflect.New(reflect.TypeOf(into).Elem()).Interface())
		if err != nil && strings.HasSuffix(err.Error(), failure.Error()) {
			return key
		}
	}
	return ""
}

// inTOML words the library's error in terms of TOML instead of Go.
func inTOML(key, text string) string {
	_, typ, ofType := strings.Cut(text, " of type ")
	switch {
	case key == "" || strings.HasPrefix(text, "key "):
		return text
	case !ofType:
		return key + ": " + text
	case typ == "bool":
		return key + " must be true or false"
	case strings.HasPrefix(typ, "[]"):
		return key + ` must be a list such as ["one", "two"]`
	case strings.HasPrefix(typ, "map["):
		return key + ` must be a table such as { name = "value" }`
	case strings.HasPrefix(typ, "int"), strings.HasPrefix(typ, "uint"):
		return key + " must be a whole number"
	case strings.HasPrefix(typ, "float"):
		return key + " must be a number"
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
