package child

import (
	"slices"
	"testing"
)

func TestNoProxyIsExtended(t *testing.T) {
	for _, c := range []struct{ upper, lower, wantUpper, wantLower string }{
		{"", "", "127.0.0.1", "127.0.0.1"},
		{"a, .b", "", "a, .b,127.0.0.1", "a, .b,127.0.0.1"},
		{"", "c", "c,127.0.0.1", "c,127.0.0.1"},
		{"a", "c", "a,127.0.0.1", "c,127.0.0.1"},
		{"*", "", "*", "*"},
		{"*", "a", "*", "a,127.0.0.1"},
	} {
		t.Setenv("NO_PROXY", c.upper)
		t.Setenv("no_proxy", c.lower)
		if got := loopbackPastProxies(); !slices.Equal(got, []string{"NO_PROXY=" + c.wantUpper, "no_proxy=" + c.wantLower}) {
			t.Errorf("%q, %q: %q", c.upper, c.lower, got)
		}
	}
}
