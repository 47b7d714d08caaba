package providers

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"tokend/providers/token"
)

// The tags of a settings struct are the only place that describes its fields:
//
//	toml:"name"     its name in a profile's file, in `tokenctl add`, in errors
//	doc:"…"         what it is and where it is found, in a few words
//	need:"yes"      there is no default
//	need:"field"    needed too, but it comes with that secret field
//	default:"…"     what holds where the file does not say
//	secret:"yes"    handed in like a secret though kept as a setting
//
// Embedded structs stand for their fields.

// A field is one of a settings struct, with what its tags say.
type field struct {
	reflect.StructField
	name, doc, need string
	initial         string // the default, if hasInitial
	hasInitial      bool
	secret          bool
}

// fieldsOf describes the fields of the settings struct that s points to.
func fieldsOf(s any) (fields []token.Field) {
	for _, f := range fieldsIn(s) {
		fields = append(fields, token.Field{
			Name:     f.name,
			Doc:      f.doc,
			Required: f.need == "yes",
			Secret:   f.secret,
			Default:  f.initial,
			List:     f.Type.Kind() == reflect.Slice,
			Table:    f.Type.Kind() == reflect.Map,
		})
	}
	return fields
}

// setDefaults gives fields the values of their default tags.
func setDefaults(s any) {
	for _, f := range fieldsIn(s) {
		if !f.hasInitial {
			continue
		}
		switch into := f.of(s).Addr().Interface().(type) {
		case *string:
			*into = f.initial
		case encoding.TextUnmarshaler:
			if err := into.UnmarshalText([]byte(f.initial)); err != nil {
				panic(fmt.Sprintf("default of %s: %v", f.name, err)) // a fault in this source; every test meets it
			}
		default:
			panic(fmt.Sprintf("default of %s: a %s has none", f.name, f.Type))
		}
	}
}

// checkNeeded complains about the first needed setting that has no value.
func checkNeeded(s any) error {
	for _, f := range fieldsIn(s) {
		if f.need == "" || f.Type == reflect.TypeFor[secretField]() || !f.of(s).IsZero() {
			continue
		}
		if f.need == "yes" {
			return invalid(f.name, "%s is missing", f.name)
		}
		return &token.Error{Code: token.ErrInvalid, Field: f.name, Cause: token.ErrNoCredential,
			Message: fmt.Sprintf("%s is missing; it comes with the %s", f.name, f.need)}
	}
	return nil
}

// of is the field's value in the settings struct that s points to.
func (f *field) of(s any) reflect.Value { return reflect.ValueOf(s).Elem().FieldByIndex(f.Index) }

// fieldsIn lists the fields of the settings struct that s points to, those of
// embedded structs in place. It remembers them: thousands of profiles have the
// same.
func fieldsIn(s any) []*field {
	t := reflect.TypeOf(s).Elem()
	if known, ok := fieldsOfTypes.Load(t); ok {
		return known.([]*field)
	}
	var fields []*field
	for _, in := range reflect.VisibleFields(t) {
		if in.Anonymous {
			continue
		}
		f := &field{StructField: in, name: in.Tag.Get("toml"), doc: in.Tag.Get("doc"), need: in.Tag.Get("need")}
		f.initial, f.hasInitial = in.Tag.Lookup("default")
		f.secret = in.Type == reflect.TypeFor[secretField]() || in.Tag.Get("secret") == "yes"
		fields = append(fields, f)
	}
	fieldsOfTypes.Store(t, fields)
	return fields
}

var fieldsOfTypes sync.Map // []*field by reflect.Type

// A secretField stands in a settings struct for a secret: it has a name and a
// description there and never a value.
type secretField struct{}

// UnmarshalText refuses a secret that stands in a file.
func (*secretField) UnmarshalText([]byte) error {
	return fmt.Errorf("it is a secret and must not stand in a file")
}

// A duration is written as Go writes them: "90s", "5m", "1h".
type duration time.Duration

// UnmarshalText parses a positive duration.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(strings.TrimSpace(string(b)))
	if err != nil || v < time.Second {
		return fmt.Errorf(`%q is no duration such as "90s", "5m" or "1h"`, b)
	}
	*d = duration(v)
	return nil
}
