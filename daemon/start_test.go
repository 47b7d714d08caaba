package daemon_test

import (
	"slices"
	"strings"
	"testing"

	"tokend/providers/token"
)

// New opens every profile, without a Run: doctor and check-config look at such a
// daemon, and the sandbox needs the directories of all sinks.
func TestNewOpensAllProfiles(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("a", ordinary+"[[sink]]\npath = \"/run/a/token\"\n")
		in.profile("b", "provider = \"test\"\nissuer = \"idp\"\n\"s\\u0069nk\" = [{path = \"/run/b/token\"}]\n")
		in.profile("p", ordinary+"skope = 1\n")
		d, file := in.make()
		defer file.Close()
		st, err := d.Status(t.Context())
		if err != nil || len(st.Profiles) != 2 || len(st.ConfigErrors) != 1 {
			t.Errorf("%+v, %v", st, err)
		}
		if got := d.SinkDirs(); !slices.Equal(got, []string{"/run/a", "/run/b"}) {
			t.Errorf("%q", got)
		}
	})
}

func TestABadFileAtAStart(t *testing.T) {
	bubble(t, func(t *testing.T, in *installation) {
		in.profile("p", ordinary+"skope = \"x\"\n")
		in.start()
		err := in.refused("p", token.Query{}, token.ErrInvalid)
		if !strings.Contains(err.Message, `profile "p" is not active: `) || !strings.Contains(err.Message, "p.toml:3:") {
			t.Errorf("%v", err)
		}
		if !strings.Contains(in.logged(), `msg="a profile cannot be read" error=`) {
			t.Error("the log does not say so")
		}
	})
}
