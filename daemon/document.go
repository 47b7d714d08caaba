package daemon

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"tokend/providers/token"
)

// A document is one TOML file that is decoded strictly, if need be into
// several structs: the daemon takes its keys of a profile, the provider its
// own, and close tells of a key that nobody took.
type document struct {
	file    string // empty for text that is in no file yet
	data    []byte
	unknown map[string]int // line of each key that no struct so far had
	structs []any          // those so far
	parsed  bool
	entries []entry // once parsed
}

func newDocument(file string, data []byte) *document {
	return &document{file: file, data: data}
}

// decode fills the struct that into points to. Keys that the struct does not
// have are no error yet.
func (d *document) decode(into any) error {
	d.structs = append(d.structs, into)
	if len(d.data) == 0 {
		return nil
	}
	if err := d.checkQuotes(into); err != nil {
		return err
	}
	dec := toml.NewDecoder(bytes.NewReader(d.data))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)

	var strict *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case err == nil:
		d.keepUnknown(nil)
	case errors.As(err, &strict):
		d.keepUnknown(strict.Errors)
	case errors.As(err, &wrong):
		line, _ := wrong.Position()
		return d.fault(line, strings.Join(wrong.Key(), "."), d.wrongValue(into, wrong))
	default:
		return d.fault(0, "", err.Error())
	}
	return nil
}

// checkQuotes refuses a bare number or boolean where a value is written as
// text, such as a duration: the library would lose where that stands.
func (d *document) checkQuotes(into any) error {
	for _, e := range d.topLevel() {
		switch e.value {
		case unstable.Integer, unstable.Float, unstable.Bool:
			if t, ok := fieldOf(reflect.TypeOf(into), []string{e.key}); ok && readsText(t) {
				return d.fault(e.line, e.key, e.key+" must be a string in quotes")
			}
		}
	}
	return nil
}

func readsText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// keepUnknown narrows the unknown keys to those that this struct lacked too: a
// key of a table is lacking also where the whole table is.
func (d *document) keepUnknown(missing []toml.DecodeError) {
	lacking := map[string]int{}
	for _, m := range missing {
		lacking[strings.Join(m.Key(), ".")], _ = m.Position()
	}
	if len(d.structs) > 1 {
		for key := range d.unknown {
			table, _, _ := strings.Cut(key, ".")
			_, whole := lacking[table]
			if _, too := lacking[key]; !too && !whole {
				delete(d.unknown, key)
			}
		}
		return
	}
	d.unknown = lacking
}

// close complains about the first key that no struct took.
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
	for _, into := range d.structs {
		known = append(known, keysOf(into)...)
	}
	text := fmt.Sprintf("unknown key %q", first)
	if near := token.Nearest(first, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	} else {
		slices.Sort(known)
		text += "; the keys are " + strings.Join(slices.Compact(known), ", ")
	}
	return d.fault(line, first, text)
}

// locate adds file and line to an error about one of the document's keys.
func (d *document) locate(err error) error {
	var e *token.Error
	if errors.Is(err, errLocated) {
		return err
	}
	if !errors.As(err, &e) {
		return d.fault(0, "", err.Error())
	}
	return d.fault(d.lineOf(e.Field), e.Field, e.Message)
}

// errLocated marks errors that tell their file.
var errLocated = errors.New("located")

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

// lineOf finds the line of a top-level key, 0 if the document has none such.
func (d *document) lineOf(key string) int {
	for _, e := range d.topLevel() {
		if e.key == key {
			return e.line
		}
	}
	return 0
}

// An entry is a top-level key or table.
type entry struct {
	key   string
	line  int
	value unstable.Kind
}

// topLevel lists the entries up to the first syntax error.
func (d *document) topLevel() []entry {
	if d.parsed {
		return d.entries
	}
	d.parsed = true
	var p unstable.Parser
	p.Reset(d.data)
	inTable := false
	for p.NextExpression() {
		e := p.Expression()
		var value unstable.Kind
		switch {
		case e.Kind == unstable.KeyValue && !inTable:
			value = e.Value().Kind
		case e.Kind == unstable.Table, e.Kind == unstable.ArrayTable:
			inTable = true
		default:
			continue
		}
		name := e.Key()
		name.Next()
		d.entries = append(d.entries, entry{string(name.Node().Data), p.Shape(name.Node().Raw).Start.Line, value})
	}
	return d.entries
}

// wrongValue words what the library says of a value that does not fit, in
// terms of TOML and not of Go.
func (d *document) wrongValue(into any, wrong *toml.DecodeError) string {
	key := strings.Join(wrong.Key(), ".")
	if f, ok := fieldOf(reflect.TypeOf(into), wrong.Key()); ok {
		if readsText(f) {
			return key + ": " + strings.TrimPrefix(wrong.Error(), "toml: ")
		}
		if strings.Contains(wrong.Error(), "cannot decode") || strings.Contains(wrong.Error(), "cannot store") {
			return fmt.Sprintf("%s must be %s", key, inTOML(f))
		}
	}
	return strings.TrimPrefix(wrong.Error(), "toml: ")
}

// inTOML names what TOML writes for a Go type.
func inTOML(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string in quotes"
	case reflect.Slice:
		return `a list such as ["one", "two"]`
	case reflect.Map, reflect.Struct:
		return `a table such as { name = "value" }`
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// keysOf lists the keys that a struct takes.
func keysOf(into any) (keys []string) {
	t := reflect.TypeOf(into).Elem()
	if t.Kind() != reflect.Struct {
		return nil
	}
	for f := range t.Fields() {
		if name := keyOf(f); name != "" {
			keys = append(keys, name)
		} else if f.Anonymous {
			keys = append(keys, keysOf(reflect.New(f.Type).Interface())...)
		}
	}
	return keys
}

// fieldOf finds the type of the field that a key path leads to.
func fieldOf(t reflect.Type, path []string) (reflect.Type, bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && len(path) > 0 {
		t = t.Elem()
	}
	if len(path) == 0 {
		return t, true
	}
	if t.Kind() != reflect.Struct {
		return t, true
	}
	for f := range t.Fields() {
		if keyOf(f) == path[0] {
			return fieldOf(f.Type, path[1:])
		}
		if f.Anonymous && keyOf(f) == "" {
			if found, ok := fieldOf(f.Type, path); ok {
				return found, true
			}
		}
	}
	return nil, false
}

func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	if name == "-" {
		return ""
	}
	return name
}
