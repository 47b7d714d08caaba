package child

import (
	"slices"
	"testing"
)

func TestNoProxyIsExtended(t *testing.T) {
	for _, c := range []struct{ env, want []string }{
		{nil, []string{"NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"}},
		{[]string{"NO_PROXY=a, .b"}, []string{"NO_PROXY=a, .b,127.0.0.1", "no_proxy=a, .b,127.0.0.1"}},
		{[]string{"no_proxy=c", "NO_PROXY="}, []string{"NO_PROXY=c,127.0.0.1", "no_proxy=c,127.0.0.1"}},
		{[]string{"NO_PROXY=a", "no_proxy=c"}, []string{"NO_PROXY=a,127.0.0.1", "no_proxy=c,127.0.0.1"}},
		{[]string{"NO_PROXY=*"}, []string{"NO_PROXY=*", "no_proxy=*"}},
		{[]string{"NO_PROXY=old", "NO_PROXY=*", "no_proxy=a"}, []string{"NO_PROXY=*", "no_proxy=a,127.0.0.1"}},
	} {
		if got := withoutProxy(c.env)[len(c.env):]; !slices.Equal(got, c.want) {
			t.Errorf("%q: %q", c.env, got)
		}
	}
}
