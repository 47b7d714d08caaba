package daemon

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

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
	broken  bool    // the text is no TOML, once parsed
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
	data, lacking := d.without(into)
	dec := toml.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)

	var strict *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case err == nil:
		d.keepUnknown(lacking)
	case errors.As(err, &strict):
		for _, m := range strict.Errors {
			lacking[strings.Join(m.Key(), ".")], _ = m.Position()
		}
		d.keepUnknown(lacking)
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

// without gives the text without the plain keys that the struct does not have,
// and their lines. Each profile has such keys for each of its structs, and the
// library would draw a picture of every one.
func (d *document) without(into any) (data []byte, lacking map[string]int) {
	lacking = map[string]int{}
	entries := d.topLevel()
	if d.broken || reflect.TypeOf(into).Elem().Kind() != reflect.Struct {
		return d.data, lacking // the library says where it is broken
	}
	data = bytes.Clone(d.data)
	known := keysOf(into)
	for i, e := range entries {
		if !e.plain || slices.ContainsFunc(known, func(key string) bool { return strings.EqualFold(key, e.key) }) {
			continue
		}
		lacking[e.key] = e.line
		end := len(data)
		if i+1 < len(entries) {
			end = entries[i+1].start
		}
		for at := e.start; at < end; at++ {
			if data[at] != '\n' { // lines keep their numbers
				data[at] = ' '
			}
		}
	}
	return data, lacking
}

// keepUnknown narrows the unknown keys to those that this struct lacked too: a
// key of a table is lacking also where the whole table is.
func (d *document) keepUnknown(lacking map[string]int) {
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
	plain bool // it has one part and is no table's
	start int  // where its line begins in the text
	line  int
	value unstable.Kind
}

// topLevel lists the entries up to the first syntax error.
func (d *document) topLevel() []entry {
	if d.parsed {
		return d.entries
	}
	d.parsed = true
	p := parsers.Get().(*unstable.Parser)
	defer parsers.Put(p)
	defer p.Reset(nil)
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
		at := name.Node().Raw
		d.entries = append(d.entries, entry{
			key: string(name.Node().Data), plain: e.Kind == unstable.KeyValue && name.IsLast(),
			start: bytes.LastIndexByte(d.data[:at.Offset], '\n') + 1, line: p.Shape(at).Start.Line, value: value,
		})
	}
	d.broken = p.Error() != nil
	return d.entries
}

// parsers have made room for themselves that serves for the next document.
var parsers = sync.Pool{New: func() any { return &unstable.Parser{} }}

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

// keysOf lists the keys that a struct takes. It remembers them: thousands of
// profiles have the same.
func keysOf(into any) []string {
	t := reflect.TypeOf(into).Elem()
	if known, ok := keysOfTypes.Load(t); ok {
		return known.([]string)
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for f := range t.Fields() {
		if name := keyOf(f); name != "" {
			keys = append(keys, name)
		} else if f.Anonymous {
			keys = append(keys, keysOf(reflect.New(f.Type).Interface())...)
		}
	}
	keysOfTypes.Store(t, keys)
	return keys
}

var keysOfTypes sync.Map // []string by reflect.Type

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
