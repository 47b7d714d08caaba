package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows says which of our packages each may import (docs/architecture.md).
var arrows = map[string][]string{
	"tokend/providers/token":            {},
	"tokend/providers/token/erase":      {},
	"tokend/providers/token/format":     {"tokend/providers/token"},
	"tokend/providers/token/input":      {},
	"tokend/daemon":                     {"tokend/daemon/mint", "tokend/daemon/profile", "tokend/daemon/sink", "tokend/providers/token"},
	"tokend/daemon/mint":                {"tokend/providers/token"},
	"tokend/daemon/profile":             {"tokend/providers/token", "tokend/providers/token/format"},
	"tokend/daemon/sink":                {"tokend/daemon/profile", "tokend/providers/token", "tokend/providers/token/format"},
	"tokend/store":                      {"tokend/providers/token", "tokend/providers/token/erase", "tokend/store/internal/seal"},
	"tokend/store/cache":                {"tokend/providers/token", "tokend/store/internal/seal"},
	"tokend/store/internal/seal":        {"tokend/providers/token"},
	"tokend/store/keyringtest":          {"tokend/packaging/checktest"},
	"tokend/providers":                  {"tokend/providers/jose", "tokend/providers/strictjson", "tokend/providers/token", "tokend/providers/token/erase", "tokend/providers/token/input"},
	"tokend/providers/jose":             {"tokend/providers/strictjson", "tokend/providers/token", "tokend/providers/token/input"},
	"tokend/providers/strictjson":       {},
	"tokend/providers/providertest":     {},
	"tokend/providers/clmstest":         {},
	"tokend/providers/fixturetest":      {"tokend/providers/token"},
	"tokend/ipc":                        {"tokend/providers/token"},
	"tokend/ipc/ipcserver":              {"tokend/ipc", "tokend/providers/token", "tokend/providers/token/format"},
	"tokend/packaging":                  {},
	"tokend/packaging/boottest/issuers": {"tokend/providers/providertest"},
	"tokend/packaging/man":              {"tokend/cmd/tokenctl/cli"},
	"tokend/packaging/checktest":        {},
	"tokend/packaging/recording":        {},
	"tokend/docs":                       {},
	"tokend/cmd/tokenctl": {"tokend/cmd/tokenctl/child", "tokend/cmd/tokenctl/cli", "tokend/cmd/tokenctl/form", "tokend/cmd/tokenctl/helper", "tokend/cmd/tokenctl/launch", "tokend/cmd/tokenctl/setup", "tokend/cmd/tokenctl/ui",
		"tokend/docs", "tokend/ipc", "tokend/providers/token", "tokend/providers/token/format"},
	"tokend/cmd/tokenctl/child":    {"tokend/cmd/tokenctl/cli", "tokend/cmd/tokenctl/ui", "tokend/ipc", "tokend/providers/token", "tokend/providers/token/format"},
	"tokend/cmd/tokenctl/discover": {"tokend/providers/token", "tokend/providers/token/input"},
	"tokend/cmd/tokenctl/form":     {"tokend/cmd/tokenctl/cli", "tokend/cmd/tokenctl/discover", "tokend/cmd/tokenctl/ui", "tokend/docs", "tokend/ipc", "tokend/providers/token", "tokend/providers/token/input"},
	"tokend/cmd/tokenctl/cli":      {"tokend/providers/token"},
	"tokend/cmd/tokenctl/ui":       {"tokend/cmd/tokenctl/cli", "tokend/docs", "tokend/ipc", "tokend/providers/token", "tokend/providers/token/format"},
	"tokend/cmd/tokenctl/launch":   {"tokend/cmd/tokenctl/ui", "tokend/ipc", "tokend/providers/token"},
	"tokend/cmd/tokenctl/setup":    {"tokend/providers/token", "tokend/providers/token/format"},
	"tokend/cmd/tokenctl/helper":   {"tokend/cmd/tokenctl/cli", "tokend/providers/token", "tokend/providers/token/format"},
	"tokend/cmd/tokend/audit":      {"tokend/ipc/ipcserver", "tokend/providers/token", "tokend/providers/token/format"},
	"tokend/cmd/tokend/backup":     {"tokend/daemon/profile", "tokend/providers/token", "tokend/store"},
	"tokend/cmd/tokend/demo":       {"tokend/cmd/tokenctl/cli", "tokend/daemon/profile", "tokend/ipc", "tokend/providers/providertest", "tokend/providers/token", "tokend/store"},
	"tokend/cmd/tokend/confine":    {"tokend/daemon/profile", "tokend/providers/token"},
	"tokend/cmd/tokend/network":    {},
	"tokend/cmd/tokend/notify":     {"tokend/ipc", "tokend/providers/token"},
	"tokend/cmd/tokend/service":    {"tokend/daemon/profile", "tokend/ipc", "tokend/packaging", "tokend/providers/token"},
	"tokend/cmd/tokend": {"tokend/cmd/tokenctl/cli", "tokend/cmd/tokenctl/launch", "tokend/cmd/tokenctl/ui", "tokend/cmd/tokend/audit", "tokend/cmd/tokend/backup", "tokend/cmd/tokend/confine", "tokend/cmd/tokend/demo", "tokend/cmd/tokend/network", "tokend/cmd/tokend/notify", "tokend/cmd/tokend/service", "tokend/daemon", "tokend/daemon/profile", "tokend/ipc", "tokend/ipc/ipcserver", "tokend/providers",
		"tokend/providers/token", "tokend/store", "tokend/store/cache"},
}

func TestPackagesImportWhatTheMapSays(t *testing.T) {
	for _, pkg := range goList(t, "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "tokend/...") {
		name, imports, _ := strings.Cut(pkg, " ")
		allowed, known := arrows[name]
		if !known {
			t.Errorf("%s is not on the map", name)
		}
		for _, imported := range strings.Fields(imports) {
			if strings.HasPrefix(imported, "tokend/") && !slices.Contains(allowed, imported) {
				t.Errorf("%s must not import %s", name, imported)
			}
		}
	}
}

// tokenctl must start like a bare program.
func TestTokenctlLinksNothingHeavy(t *testing.T) {
	heavy := []string{"net/http", "net/textproto", "crypto/tls", "crypto/x509", "log/slog", "os/user", "github.com/godbus", "go.etcd.io/bbolt", "github.com/golang-jwt", "github.com/zalando", "github.com/kardianos"}
	for _, dep := range goList(t, "-deps", "tokend/cmd/tokenctl") {
		for _, h := range heavy {
			if dep == h || strings.HasPrefix(dep, h+"/") {
				t.Errorf("tokenctl links %s", dep)
			}
		}
	}
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
