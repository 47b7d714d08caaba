package ipcserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"tokend/providers/token"
)

// maxDepth is how deep a body's JSON may nest; the deepest that makes sense is
// a list in a table of the settings.
const maxDepth = 16

// with makes a route's function of one that takes the request's body. The body is
// read strictly, and check, if there is one, looks at it.
func with[T any](check func(T) error, serve func(*call, T) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		var in T
		err := decodeStrict(c.body, &in)
		if err == nil && check != nil {
			err = check(in)
		}
		if err != nil {
			return nil, err
		}
		return serve(c, in)
	}
}

// decodeStrict reads one JSON object into the struct that into points to. It
// refuses what encoding/json lets pass: unknown members, members that differ
// in case only, a member given twice, anything after the object, broken UTF-8.
// Errors are ErrInvalid and quote no value, since that may be a secret.
func decodeStrict(body []byte, into any) error {
	if !utf8.Valid(body) {
		return invalid("", "the body is not UTF-8")
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return invalid("", "the body must be a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := checkValue(d, "", members(into), 0); err != nil {
		return explain(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid("", "the body goes on after its JSON object")
	}
	again := json.NewDecoder(bytes.NewReader(body))
	again.UseNumber()
	return explain(again.Decode(into))
}

// checkValue reads one value and refuses objects that name a member twice, or
// one that is not known, if known is given. path names the value.
func checkValue(d *json.Decoder, path string, known map[string]bool, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') && t != json.Delim('[') {
		return nil
	}
	if depth == maxDepth {
		return invalid(path, "the body nests deeper than %d levels", maxDepth)
	}
	seen := map[string]bool{}
	for d.More() {
		inner := path
		if t == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name := key.(string) // the decoder allows nothing else here
			inner = strings.TrimPrefix(path+"."+name, ".")
			switch {
			case known != nil && !known[name]:
				return invalid(inner, "unknown member %q", inner)
			case seen[name]:
				return invalid(inner, "%q is given twice", inner)
			}
			seen[name] = true
		}
		if err := checkValue(d, inner, nil, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// members are the JSON names of the fields of the struct that v points to.
func members(v any) map[string]bool {
	names := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v).Elem()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names[name] = true
		}
	}
	return names
}

// explain turns what encoding/json says into ErrInvalid, leaving out values.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*token.Error](err); ok {
		return own
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(mismatch.Value, " ")
		field := strings.TrimPrefix(mismatch.Field, "CreateProfile.") // embedded in ipc.ProfileBody
		return invalid(field, "%q cannot be a JSON %s", field, kind)
	}
	return invalid("", "the body is not JSON, or a time is not in RFC 3339's form, or base64 not in that of RFC 4648 §4")
}

func invalid(field, format string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// plainNumbers makes the numbers in a decoded value int64 where they are whole,
// else float64. What is written 3600 must not become 3600.0 in a file. The error
// names the setting.
func plainNumbers(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case map[string]any:
		for name := range v {
			if v[name], err = plainNumbers(v[name]); err != nil {
				return nil, invalid("settings."+name, "%q has a number out of range", "settings."+name)
			}
		}
	case []any:
		for i := range v {
			if v[i], err = plainNumbers(v[i]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}
