package setup

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"tokend/providers/token/format"
)

func git(r Request) ([]Change, error) {
	helper := "!" + format.ShellQuote(typed(r.Self)) + " " + strings.Join(r.helperArgs("git"), " ")
	if _, isSelf := lookPath("git-credential-tokend", r.Self); r.Profile == "" && isSelf {
		helper = "tokend"
	}
	changes := []Change{gitValues("credential."+r.Host+".helper", "", helper)}
	if r.path != "" {
		changes = append(changes, gitValues("credential."+strings.TrimSuffix(r.Host, "/"+r.path)+".useHttpPath", "true"))
	}
	return changes, nil
}

func docker(r Request) ([]Change, error) {
	dir := cmp.Or(os.Getenv("DOCKER_CONFIG"), filepath.Join(r.home, ".docker"))
	changes, err := onPath("docker-credential-tokend", r)
	if err != nil {
		return nil, err
	}
	return append(changes, credHelper(filepath.Join(dir, "config.json"), r.hostPort)), nil
}

// credHelper is an entry of credHelpers in docker's configuration, which docker
// itself writes as this does: indented, its members sorted.
func credHelper(path, host string) Change {
	const helper = "tokend"
	change := func(text, want string) (string, error) {
		members, helpers := map[string]json.RawMessage{}, map[string]string{}
		err := json.Unmarshal([]byte(cmp.Or(strings.TrimSpace(text), "{}")), &members)
		if now := members["credHelpers"]; err == nil && now != nil {
			err = json.Unmarshal(now, &helpers)
		}
		switch before := helpers[host]; {
		case err != nil || members == nil || helpers == nil:
			return "", conflict("%s is not a JSON object, or its credHelpers are not one of names", path)
		case before != "" && before != helper:
			return "", conflict("%s has the credential helper %q for %s", path, before, host)
		case before == want:
			return text, nil
		}
		if helpers[host] = want; want == "" {
			delete(helpers, host)
		}
		members["credHelpers"], _ = json.Marshal(helpers)
		if len(helpers) == 0 {
			delete(members, "credHelpers")
		}
		if len(members) == 0 { // to docker, the same as no file
			return "", nil
		}
		after, err := json.MarshalIndent(members, "", "\t")
		return string(after) + "\n", err
	}
	shown, _ := json.MarshalIndent(map[string]map[string]string{"credHelpers": {host: helper}}, "", "  ")
	return edit(path, string(shown)+"\n",
		func(text string) (string, error) { return change(text, helper) },
		func(text string) (string, error) { return change(text, "") })
}

func cargo(r Request) ([]Change, error) {
	// cargo passes the arguments on in its own protocol, so the name has to say
	// what the program is.
	provider := program(r.data, "cargo-credential-tokend")
	args := []string{typed(provider)}
	if r.Profile != "" {
		args = append(args, "--profile", r.Profile)
	}
	list, err := json.Marshal(args) // a JSON list of strings is one of TOML
	if err != nil {
		return nil, err
	}
	return []Change{link(provider, r.Self), block(
		filepath.Join(cmp.Or(os.Getenv("CARGO_HOME"), filepath.Join(r.home, ".cargo")), "config.toml"),
		"tokend", "[registry]\nglobal-credential-providers = [\"cargo:token\", \"tokend\"]\n\n[credential-alias]\ntokend = "+string(list)+"\n",
		"[registry]", "[credential-alias]", "registry.", "credential-alias.",
	)}, nil
}

func golang(r Request) ([]Change, error) {
	if !strings.HasPrefix(r.Host, "https://") {
		return nil, impossible("go authenticates over https alone")
	}
	return []Change{goAuth(typed(r.Self), r.Host)}, nil
}

func bazel(r Request) ([]Change, error) {
	helper := program(r.data, "bazel-credential-tokend")
	option := "--credential_helper=" + r.hostPort + "=" + typed(helper)
	if strings.ContainsAny(option, " \t'\"\\#") { // .bazelrc is read as a shell would
		option = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(option) + `"`
	}
	return []Change{
		sharedLink(helper, r.Self),
		block(filepath.Join(r.home, ".bazelrc"), "tokend for "+r.hostPort, "common "+option+"\n"),
	}, nil
}

func kubectl(r Request) ([]Change, error) {
	return []Change{kubeUser("tokend-"+r.Profile, typed(r.Self), r.helperArgs("kube"))}, nil
}

func terraform(r Request) ([]Change, error) {
	args := ""
	if r.Profile != "" {
		args = `  args = ["--profile", "` + r.Profile + `"]` + "\n"
	}
	dir, config := filepath.Join(r.home, ".terraform.d"), filepath.Join(r.home, ".terraformrc")
	if data := os.Getenv("APPDATA"); onWindows && data != "" { // developer.hashicorp.com/terraform/cli/config
		dir, config = filepath.Join(data, "terraform.d"), filepath.Join(data, "terraform.rc")
	}
	return []Change{
		link(program(dir, "plugins", "terraform-credentials-tokend"), r.Self),
		block(cmp.Or(os.Getenv("TF_CLI_CONFIG_FILE"), config),
			"tokend", "credentials_helper \"tokend\" {\n"+args+"}\n", "credentials_helper"),
	}, nil
}

// pnpm from 11 on reads auth.ini of its own; older ones take a tokenHelper from
// ~/.npmrc alone, of which npm 11 warns.
func pnpm(r Request) ([]Change, error) {
	helper := program(r.data, "pnpm-credential-tokend-"+r.Profile)
	made := sharedLink(helper, r.Self)
	registry := "//" + r.hostPort + "/"
	if r.path != "" {
		registry += r.path + "/"
	}
	key := registry + ":tokenHelper"
	old := block(filepath.Join(r.home, ".npmrc"), "tokend for "+registry, key+"="+typed(helper)+"\n", key, registry+":_authToken", registry+":_auth")
	if major, _ := version("pnpm", "--version"); major > 0 && major < 11 {
		return []Change{made, old}, nil
	}
	return []Change{made, line(pnpmAuth(r.home), key, typed(helper)), without(old)}, nil
}

// pnpmAuth is pnpm's file of credentials (its configuration directory, pnpm.io/settings).
func pnpmAuth(home string) string {
	dir := os.Getenv("XDG_CONFIG_HOME")
	switch {
	case dir != "":
	case runtime.GOOS == "darwin":
		dir = filepath.Join(home, "Library", "Preferences")
	case runtime.GOOS == "windows":
		return filepath.Join(os.Getenv("LOCALAPPDATA"), "pnpm", "config", "auth.ini")
	default:
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "pnpm", "auth.ini")
}

func pip(r Request) ([]Change, error) {
	return []Change{
		link(program(r.data, "bin", "keyring"), r.Self),
		pipOption("global.keyring-provider", "subprocess"),
	}, nil
}

// pipMissing says what pip lacks to find our keyring and to call it.
func pipMissing(r Request) (text, fix string) {
	dir := filepath.Join(r.data, "bin")
	major, minor := version("python3", "-m", "pip", "--version")
	path, isSelf := lookPath("keyring", r.Self)
	first := "export PATH=" + format.ShellQuote(dir) + `:"$PATH"`
	switch {
	case major < 23 || major == 23 && minor < 1:
		return fmt.Sprintf("it is version %d.%d, and 23.1 or later can ask.", major, minor), "python3 -m pip install --upgrade pip"
	case !isSelf:
		return cmp.Or(path, "nothing called keyring") + " comes first in $PATH. Put this line into your shell's start file:", first
	}
	return "", ""
}

// version is the version that a tool prints, 0.0 if there is none.
func version(tool ...string) (major, minor int) {
	out, _ := command(tool).run()
	_, _ = fmt.Sscanf(strings.TrimLeft(out, "pi v"), "%d.%d", &major, &minor) // "pip 23.1 from …"
	return major, minor
}
