package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestState(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	hour := Token{Secret: NewSecret("t"), Issued: noon, RenewAt: noon.Add(45 * time.Minute), Expiry: noon.Add(time.Hour)}
	short := Token{Secret: NewSecret("t"), Issued: noon, RenewAt: noon.Add(time.Second), Expiry: noon.Add(2 * time.Second)}
	tests := []struct {
		name string
		tok  Token
		at   time.Duration
		want State
	}{
		{"none", Token{}, 0, Expired},
		{"new", hour, 0, Fresh},
		{"just before it is due", hour, 45*time.Minute - 1, Fresh},
		{"due", hour, 45 * time.Minute, Due},
		{"eleven seconds before its end", hour, time.Hour - 11*time.Second, Due},
		{"ten seconds before its end", hour, time.Hour - 10*time.Second, Expired},
		{"ended", hour, time.Hour, Expired},
		{"short-lived, due", short, time.Second, Due},
		{"short-lived, a tenth before its end", short, 1800 * time.Millisecond, Expired},
		{"half a minute from the future: the clock was corrected", hour, -30 * time.Second, Fresh},
		{"two hours from the future", hour, -2 * time.Hour, Expired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.tok.State(noon.Add(tt.at)); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestErrorKeepsItsIdentity(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("wrapped: %w", &Error{Code: ErrRejected, Message: "m", Cause: cause})
	if !errors.Is(err, ErrRejected) || !errors.Is(err, cause) || errors.Is(err, ErrUnavailable) {
		t.Error("errors.Is does not see code and cause")
	}
	text, _ := json.Marshal(&Error{Code: ErrRejected, Message: "m", Cause: cause})
	if want := `{"code":"rejected","message":"m"}`; string(text) != want {
		t.Errorf("on the wire: %s, want %s", text, want)
	}
	for _, c := range []Code{ErrNotFound, ErrExists, ErrDenied, ErrRejected, ErrUnavailable, ErrLocked, ErrKeystore, ErrInvalid, ErrNoDaemon, ErrInternal} {
		if c.Error() == "" {
			t.Errorf("%q has no text", string(c))
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"client_id", "client_secret", "tenant", "scope"}
	for word, want := range map[string]string{
		"clientid": "client_id", "Tenant": "tenant", "tennant": "tenant", "tenatn": "tenant", "scpoe": "scope", "scopes": "scope", "frequency": "", "": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestProfileNames(t *testing.T) {
	for name, good := range map[string]bool{
		"clms": true, "CLMS-prod.2_eu": true, "9": true, strings.Repeat("n", 64): true,
		"": false, "-x": false, ".hidden": false, "a/b": false, "a b": false, "a\nb": false, "ä": false,
		"a\x00": false, "..": false, strings.Repeat("n", 65): false, "x\u202e": false,
	} {
		if err := CheckName(name); (err == nil) != good || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
}

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
