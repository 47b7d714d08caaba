package token

import (
	"encoding/json"
	"errors"
	"fmt"
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
}

func TestEveryCodeHasAText(t *testing.T) {
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
