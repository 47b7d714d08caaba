package ipc

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// tokenctl links this package, and starts with every call.
func TestLinksNothingHeavy(t *testing.T) {
	heavy := []string{"net/http", "net/textproto", "crypto/tls", "crypto/x509", "log/slog", "os/user",
		"go.etcd.io/bbolt", "github.com/golang-jwt", "github.com/zalando/go-keyring", "github.com/godbus", "tokend/ipc/ipcserver"}
	for _, system := range []string{"linux", "darwin", "windows"} {
		list := exec.Command("go", "list", "-deps", "tokend/ipc")
		list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := list.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", system, err, out)
		}
		deps := strings.Fields(string(out))
		if len(deps) < 10 {
			t.Fatalf("%s: no list of packages: %s", system, out)
		}
		for _, dep := range deps {
			for _, h := range heavy {
				if dep == h || strings.HasPrefix(dep, h+"/") {
					t.Errorf("on %s ipc imports %s", system, dep)
				}
			}
		}
	}
}
