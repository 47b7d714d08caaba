package providers

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"tokend/providers/token"
)

// The tags of a settings struct are the only place that describes its fields:
//
//	toml:"name"     its name in a profile's file, in `tokenctl add`, in errors
//	doc:"…"         what it is and where to find it, in a few words
//	need:"yes"      it has no default
//	need:"field"    it is needed, and comes with that secret field
//	default:"…"     its value where the file has none
//	secret:"yes"    it is handed in like a secret, and kept as a setting
//
// The fields of embedded structs count as their own.

// A field is a field of a settings struct, as its tags describe it.
type field struct {
	token.Field
	need  string
	index []int
	typ   reflect.Type
}

// fieldsOf lists the fields of a settings struct, those of embedded structs in place.
func fieldsOf(t reflect.Type) (fields []field) {
	for _, in := range reflect.VisibleFields(t) {
		if in.Anonymous {
			continue
		}
		tag := in.Tag
		fields = append(fields, field{need: tag.Get("need"), index: in.Index, typ: in.Type, Field: token.Field{
			Name:     tag.Get("toml"),
			Doc:      tag.Get("doc"),
			Required: tag.Get("need") == "yes",
			Secret:   in.Type == reflect.TypeFor[secretField]() || tag.Get("secret") == "yes",
			Default:  tag.Get("default"),
			List:     in.Type.Kind() == reflect.Slice,
			Table:    in.Type.Kind() == reflect.Map,
		}})
	}
	return fields
}

// in is the field's value in the settings.
func (f field) in(s settings) reflect.Value { return reflect.ValueOf(s).Elem().FieldByIndex(f.index) }

// defaults returns settings with the values of their default tags.
func (k Kind) defaults() settings {
	s := k.fresh()
	for _, f := range k.fields {
		if f.Default == "" {
			continue
		}
		switch into := f.in(s).Addr().Interface().(type) {
		case *string:
			*into = f.Default
		case *any:
			*into = f.Default
		case encoding.TextUnmarshaler:
			if err := into.UnmarshalText([]byte(f.Default)); err != nil {
				panic(fmt.Sprintf("default of %s: %v", f.Name, err)) // a bug here, which every test finds
			}
		default:
			panic(fmt.Sprintf("default of %s: a %s cannot have one", f.Name, f.typ))
		}
	}
	return s
}

// checkNeeded returns an error about the first needed setting without a value.
func (k Kind) checkNeeded(s settings) error {
	for _, f := range k.fields {
		if f.need == "" || f.typ == reflect.TypeFor[secretField]() || !f.in(s).IsZero() {
			continue
		}
		if f.Required {
			return invalid(f.Name, "%s is missing", f.Name)
		}
		return &token.Error{Code: token.ErrInvalid, Field: f.Name, Cause: token.ErrNoCredential,
			Message: fmt.Sprintf("%s is missing; it comes with the %s", f.Name, f.need)}
	}
	return nil
}

// A secretField is the place of a secret in a settings struct: it has a name and
// a description, and never a value.
type secretField struct{}

// UnmarshalText refuses a secret in a file.
func (*secretField) UnmarshalText([]byte) error {
	return fmt.Errorf("it is a secret and must not be in a file")
}

// A duration is written as Go writes them: "90s", "5m", "1h".
type duration time.Duration

// UnmarshalText parses a duration of a second or more.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(strings.TrimSpace(string(b)))
	if err != nil || v < time.Second {
		return fmt.Errorf(`%q is not a duration such as "90s", "5m" or "1h"`, b)
	}
	*d = duration(v)
	return nil
}
