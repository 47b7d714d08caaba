package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// Settings are settings by name, in the form in which they cross the socket: a
// JSON object. Of thousands of profiles few are looked into, and as maps they
// would take several times the memory. The zero Settings are none.
type Settings struct{ object string }

// NewSettings writes settings down. It fails if JSON cannot say one of them.
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

// Values are the settings: strings, booleans, lists and tables; numbers are
// json.Number.
func (s Settings) Values() map[string]any {
	values := map[string]any{}
	d := json.NewDecoder(strings.NewReader(s.object))
	d.UseNumber()
	_ = d.Decode(&values) // it was an object when it came in
	return values
}

// Text is a setting that is text, "" if there is none such.
func (s Settings) Text(name string) string {
	text, _ := s.Values()[name].(string)
	return text
}

// IsZero tells whether there are none.
func (s Settings) IsZero() bool { return s.object == "" }

// MarshalJSON gives the object.
func (s Settings) MarshalJSON() ([]byte, error) {
	if s.IsZero() {
		return []byte("{}"), nil
	}
	return []byte(s.object), nil
}

// UnmarshalJSON takes an object.
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
