package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// Settings are settings by name, kept as the JSON object that crosses the
// socket: maps would take several times the memory. The zero Settings are
// empty.
type Settings struct{ object string }

// NewSettings encodes values. It fails if one of them has no JSON form.
func NewSettings(values map[string]any) (Settings, error) {
	if len(values) == 0 {
		return Settings{}, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(values); err != nil {
		return Settings{}, err
	}
	return Settings{strings.TrimSuffix(b.String(), "\n")}, nil
}

// Values returns the settings: strings, booleans, lists and tables; numbers are
// json.Number.
func (s Settings) Values() map[string]any {
	values := map[string]any{}
	d := json.NewDecoder(strings.NewReader(s.object))
	d.UseNumber()
	_ = d.Decode(&values) // UnmarshalJSON has checked it
	return values
}

// Text returns a string setting, "" if there is none of that name.
func (s Settings) Text(name string) string {
	text, _ := s.Values()[name].(string)
	return text
}

// IsZero reports whether there are no settings.
func (s Settings) IsZero() bool { return s.object == "" }

// MarshalJSON returns the object.
func (s Settings) MarshalJSON() ([]byte, error) {
	if s.IsZero() {
		return []byte("{}"), nil
	}
	return []byte(s.object), nil
}

// UnmarshalJSON keeps an object.
func (s *Settings) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null", string(b) == "{}":
		*s = Settings{}
	case !bytes.HasPrefix(b, []byte("{")):
		return errors.New("settings must be a JSON object")
	default:
		*s = Settings{string(b)}
	}
	return nil
}
