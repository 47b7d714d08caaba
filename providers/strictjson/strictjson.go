// Package strictjson parses JSON objects and refuses what two parsers could
// read in two ways.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// An Object holds the members of a JSON object, by their exact names.
type Object map[string]json.RawMessage

// Parse parses a text that is one JSON object in valid UTF-8, with nothing
// around it and no member twice. The error's words follow "it is" or "answered
// with".
func Parse(text []byte) (Object, error) {
	switch {
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return nil, errors.New("JSON after a byte order mark")
	case !utf8.Valid(text) || !json.Valid(text):
		return nil, errors.New("invalid JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("JSON that is not an object")
	}
	all := Object{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, errors.New("invalid JSON")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errors.New("invalid JSON")
		}
		if _, twice := all[name.(string)]; twice {
			return nil, errors.New("JSON with a duplicate member")
		}
		all[name.(string)] = value
	}
	return all, nil
}

// Has reports whether there is a member of this name, null included.
func (o Object) Has(name string) bool { _, ok := o[name]; return ok }

// Text returns a member's string, "" if it is absent or not a string.
func (o Object) Text(name string) (s string) {
	if err := json.Unmarshal(o[name], &s); err != nil {
		return ""
	}
	return s
}

// Texts returns a member's list of strings, nil if it is not one.
func (o Object) Texts(name string) []string {
	var list []*string // a null would become an empty string
	if err := json.Unmarshal(o[name], &list); err != nil || list == nil {
		return nil
	}
	texts := []string{}
	for _, s := range list {
		if s == nil {
			return nil
		}
		texts = append(texts, *s)
	}
	return texts
}

// Values decodes all members. Numbers are json.Number.
func (o Object) Values() map[string]any {
	values := map[string]any{}
	for name, raw := range o {
		var v any
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		_ = dec.Decode(&v) // Parse has checked it
		values[name] = v
	}
	return values
}
