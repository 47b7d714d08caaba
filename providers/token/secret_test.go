package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// holder has a secret within other things, as programs usually do.
type holder struct {
	Exported   Secret
	unexported Secret
	Pointer    *Secret
	List       []Secret
	Map        map[string]Secret
	Any        any
}

func TestSecretCannotBePrinted(t *testing.T) {
	const canary = "c4n4ry-of-a-secret"
	s := NewSecret(canary)
	h := holder{s, s, &s, []Secret{s}, map[string]Secret{"k": s}, s}
	values := []any{s, &s, h, &h, []any{s}, Token{Secret: s}, Record{Token: Token{Secret: s}}, CreateProfile{Secrets: map[string]Secret{"k": s}}}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%c", "%U", "%e", "%T", "%z"} {
			hides(t, canary, verb, fmt.Sprintf(verb, v))
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Errorf("json of %T: %v", v, err)
		}
		hides(t, canary, "json", string(text))
		for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"slog json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("message", "value", v)
			hides(t, canary, name, b.String())
		}
	}
	func() {
		defer func() { hides(t, canary, "panic", fmt.Sprint(recover())) }()
		panic(h)
	}()
}

// hides looks for the canary as it is, in hexadecimal and as a list of bytes.
func hides(t *testing.T, canary, how, out string) {
	t.Helper()
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), strings.Trim(fmt.Sprint([]byte(canary)), "[]")} {
		if strings.Contains(out, form) {
			t.Errorf("%s shows the secret: %s", how, out)
		}
	}
}

func TestSecretReadsJSONStringsAlone(t *testing.T) {
	var s Secret
	if err := json.Unmarshal([]byte(`"a\"b"`), &s); err != nil || s.Reveal() != `a"b` {
		t.Errorf("got %q, %v", s.Reveal(), err)
	}
	if err := json.Unmarshal([]byte(`{"a": "c4n4ry"}`), &s); err == nil || strings.Contains(err.Error(), "c4n4ry") {
		t.Errorf("an object was read as a secret, or shown: %v", err)
	}
}

func TestSecretEqual(t *testing.T) {
	a, b := NewSecret("a"), NewSecret("b")
	if !a.Equal(NewSecret("a")) || a.Equal(b) || a.Equal(Secret{}) || !(Secret{}).Equal(NewSecret("")) {
		t.Error("Equal does not compare the texts")
	}
	if !NewSecret("").IsZero() || a.IsZero() {
		t.Error("IsZero does not tell the empty text")
	}
}
