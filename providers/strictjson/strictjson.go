// Package strictjson parses JSON objects and refuses what two parsers could
// read in two ways.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"
)

// An Object holds the members of a JSON object, by their exact names.
type Object map[string]json.RawMessage

// Parse parses a text that is one JSON object in valid UTF-8, with nothing
// around it and no member twice. The error's words follow "it is" or "answered
// with".
func Parse(text []byte) (Object, error) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, errors.New("invalid JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(text)) // which finds no error in valid JSON
	if open, _ := dec.Token(); open != json.Delim('{') {
		return nil, errors.New("JSON that is not an object")
	}
	all := Object{}
	for dec.More() {
		token, _ := dec.Token()
		name := token.(string)
		if all.Has(name) {
			return nil, errors.New("JSON with a duplicate member")
		}
		var value json.RawMessage
		_ = dec.Decode(&value)
		all[name] = value
	}
	return all, nil
}

// Has reports whether there is a member of this name, null included.
func (o Object) Has(name string) bool { _, ok := o[name]; return ok }

// IsText reports whether there is a member of this name that is a string.
func (o Object) IsText(name string) bool { return bytes.HasPrefix(o[name], []byte(`"`)) }

// Text returns a member's string, "" if it is absent or not a string.
func (o Object) Text(name string) (s string) {
	_ = json.Unmarshal(o[name], &s)
	return s
}

// Texts returns a member's list of strings, nil if it is not one.
func (o Object) Texts(name string) []string {
	var list []*string // a null would become an empty string
	if err := json.Unmarshal(o[name], &list); err != nil || list == nil || slices.Contains(list, nil) {
		return nil
	}
	texts := []string{}
	for _, s := range list {
		texts = append(texts, *s)
	}
	return texts
}

// Values decodes all members. Numbers are json.Number.
func (o Object) Values() (values map[string]any) {
	text, _ := json.Marshal(o) // Parse has checked it
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	_ = dec.Decode(&values)
	return values
}
