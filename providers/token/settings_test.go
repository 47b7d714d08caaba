package token

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

func TestSettings(t *testing.T) {
	s, err := NewSettings(map[string]any{"url": "https://a.example/?b&c", "n": 3600, "list": []string{"x"}, "table": map[string]any{"k": true}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(ProfileStatus{Name: "p", Settings: s})
	if err != nil {
		t.Fatal(err)
	}
	var back ProfileStatus
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"url": "https://a.example/?b&c", "n": json.Number("3600"), "list": []any{"x"}, "table": map[string]any{"k": true}}
	for where, s := range map[string]Settings{"made": s, "received": back.Settings} {
		if got := s.Values(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", where, got, want)
		}
		if s.Text("url") != "https://a.example/?b&c" || s.Text("n") != "" || s.Text("other") != "" {
			t.Errorf("%s: texts are %q, %q, %q", where, s.Text("url"), s.Text("n"), s.Text("other"))
		}
	}
	if _, err := NewSettings(map[string]any{"x": math.NaN()}); err == nil {
		t.Error("JSON has no NaN")
	}
}

func TestNoSettings(t *testing.T) {
	none, err := NewSettings(map[string]any{})
	if err != nil || !none.IsZero() || len(none.Values()) != 0 {
		t.Errorf("%v, %v", none, err)
	}
	for _, text := range []string{`{"name":"p"}`, `{"settings":{}}`, `{"settings":null}`} {
		var p ProfileStatus
		if err := json.Unmarshal([]byte(text), &p); err != nil || !p.Settings.IsZero() {
			t.Errorf("%s: %v, %v", text, p.Settings, err)
		}
	}
	for _, text := range []string{`{"settings":[]}`, `{"settings":"x"}`, `{"settings":5}`} {
		if err := json.Unmarshal([]byte(text), &ProfileStatus{}); err == nil {
			t.Errorf("%s is not refused", text)
		}
	}
}
