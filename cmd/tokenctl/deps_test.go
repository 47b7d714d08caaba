package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// tokenctl starts with every call, so it links nothing heavy, and nothing that
// only the daemon needs.
func TestLinksNothingHeavy(t *testing.T) {
	heavy := []string{
		"net/http", "net/textproto", "crypto/tls", "crypto/x509", "log/slog", "os/user",
		"go.etcd.io/bbolt", "github.com/golang-jwt", "github.com/zalando/go-keyring", "github.com/godbus", "github.com/pelletier",
		"software.sslmate.com/src/go-pkcs12", "tokend/daemon", "tokend/store", "tokend/ipc/ipcserver",
	}
	for _, system := range []string{"linux", "darwin", "windows"} {
		list := exec.Command("go", "list", "-deps", "tokend/cmd/tokenctl")
		list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := list.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", system, err, out)
		}
		deps := strings.Fields(string(out))
		if len(deps) < 30 {
			t.Fatalf("%s: no list of packages: %s", system, out)
		}
		for _, dep := range deps {
			if dep == "tokend/providers" {
				t.Errorf("on %s tokenctl imports %s", system, dep)
			}
			for _, h := range heavy {
				if dep == h || strings.HasPrefix(dep, h+"/") {
					t.Errorf("on %s tokenctl imports %s", system, dep)
				}
			}
		}
	}
}
