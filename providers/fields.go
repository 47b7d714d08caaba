package providers

import (
	"encoding"
	"fmt"
	"iter"
	"reflect"
	"strings"
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

// fieldsOf describes the fields of the settings struct that s points to.
func fieldsOf(s any) (fields []token.Field) {
	for f, v := range fieldsIn(reflect.ValueOf(s).Elem()) {
		fields = append(fields, token.Field{
			Name:     nameOf(f),
			Doc:      f.Tag.Get("doc"),
			Required: f.Tag.Get("need") == "yes",
			Secret:   isSecret(f),
			Default:  f.Tag.Get("default"),
			List:     v.Kind() == reflect.Slice,
			Table:    v.Kind() == reflect.Map,
		})
	}
	return fields
}

// setDefaults gives fields the values of their default tags.
func setDefaults(s any) {
	for f, v := range fieldsIn(reflect.ValueOf(s).Elem()) {
		text, ok := f.Tag.Lookup("default")
		if !ok {
			continue
		}
		switch into := v.Addr().Interface().(type) {
		case *string:
			*into = text
		case encoding.TextUnmarshaler:
			if err := into.UnmarshalText([]byte(text)); err != nil {
				panic(fmt.Sprintf("default of %s: %v", nameOf(f), err)) // a fault in this source; every test meets it
			}
		default:
			panic(fmt.Sprintf("default of %s: a %s has none", nameOf(f), v.Type()))
		}
	}
}

// checkNeeded complains about the first needed setting that has no value.
func checkNeeded(s any) error {
	for f, v := range fieldsIn(reflect.ValueOf(s).Elem()) {
		name, need := nameOf(f), f.Tag.Get("need")
		if need == "" || !v.IsZero() || v.Type() == reflect.TypeFor[secretField]() {
			continue
		}
		if need == "yes" {
			return invalid(name, "%s is missing", name)
		}
		return &token.Error{Code: token.ErrInvalid, Field: name, Cause: token.ErrNoCredential,
			Message: fmt.Sprintf("%s is missing; it comes with the %s", name, need)}
	}
	return nil
}

// fieldsIn yields the fields of a struct, those of embedded structs in place.
func fieldsIn(v reflect.Value) iter.Seq2[reflect.StructField, reflect.Value] {
	return func(yield func(reflect.StructField, reflect.Value) bool) {
		for f, value := range v.Fields() {
			if !f.Anonymous {
				if !yield(f, value) {
					return
				}
				continue
			}
			for f, value := range fieldsIn(value) {
				if !yield(f, value) {
					return
				}
			}
		}
	}
}

func nameOf(f reflect.StructField) string { return f.Tag.Get("toml") }

func isSecret(f reflect.StructField) bool {
	return f.Type == reflect.TypeFor[secretField]() || f.Tag.Get("secret") == "yes"
}

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
