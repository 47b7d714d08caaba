package setup

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"tokend/providers/token/format"
)

func git(r Request) ([]Change, error) {
	helper := "!" + format.ShellQuote(r.Self) + " " + strings.Join(r.helperArgs("git"), " ")
	if _, isSelf := lookPath("git-credential-tokend", r.Self); r.Profile == "" && isSelf {
		helper = "tokend"
	}
	changes := []Change{gitValues("credential."+r.Host+".helper", []string{"", helper}, func(v string) bool {
		return v == "tokend" || strings.HasPrefix(v, "!") && strings.Contains(v, " helper git")
	})}
	if r.path() != "" {
		changes = append(changes, gitValues("credential."+strings.TrimSuffix(r.Host, "/"+r.path())+".useHttpPath", []string{"true"},
			func(v string) bool { return v == "true" }))
	}
	return changes, nil
}

func docker(r Request) ([]Change, error) {
	dir := cmp.Or(os.Getenv("DOCKER_CONFIG"), filepath.Join(r.home, ".docker"))
	changes, err := onPath("docker-credential-tokend", r)
	if err != nil {
		return nil, err
	}
	return append(changes, credHelper(filepath.Join(dir, "config.json"), r.hostPort())), nil
}

// credHelper is an entry of credHelpers in docker's configuration.
func credHelper(path, host string) edit {
	const helper = "tokend"
	shown, _ := json.MarshalIndent(map[string]map[string]string{"credHelpers": {host: helper}}, "", "\t")
	helpers := func(text string) (helpers map[string]any, exists bool, err error) {
		var members map[string]any
		if json.Unmarshal([]byte(text), &members) != nil || members == nil {
			return nil, false, conflict("%s is not a JSON object", path)
		}
		value, has := members["credHelpers"]
		helpers, isObject := value.(map[string]any)
		if has && !isObject {
			return nil, false, conflict("%s has credHelpers that are not an object", path)
		}
		now, exists := helpers[host]
		if exists && now != helper {
			err = conflict("%s has the credential helper %q for %s", path, now, host)
		}
		return helpers, exists, err
	}
	add := func(text string) (string, error) {
		if strings.TrimSpace(text) == "" {
			text = "{}\n"
		}
		if _, exists, err := helpers(text); err != nil || exists {
			return text, err
		}
		object := strings.Index(text, "{")
		if _, at, _ := findMember(text, object, "credHelpers"); at > 0 {
			return insertMember(text, at, host, `"`+helper+`"`), nil
		}
		return insertMember(text, object, "credHelpers", insertMember("{}", 0, host, `"`+helper+`"`)), nil
	}
	remove := func(text string) (string, error) {
		if strings.TrimSpace(text) == "" {
			return text, nil
		}
		all, exists, err := helpers(text)
		if err != nil || !exists {
			return text, err
		}
		begin, object, end := findMember(text, strings.Index(text, "{"), "credHelpers")
		if len(all) > 1 {
			begin, _, end = findMember(text, object, host)
		}
		text = removeMember(text, begin, end)
		if strings.TrimSpace(text) == "{}" { // to docker, the same as no file
			text = ""
		}
		return text, nil
	}
	return edit{path, string(shown) + "\n", add, remove}
}

func cargo(r Request) ([]Change, error) {
	// cargo passes the arguments on in its own protocol, so the name has to say
	// what the program is.
	program := filepath.Join(r.data, "cargo-credential-tokend")
	args := []string{program}
	if r.Profile != "" {
		args = append(args, "--profile", r.Profile)
	}
	list, err := json.Marshal(args) // a JSON list of strings is one of TOML
	if err != nil {
		return nil, err
	}
	const providers = `global-credential-providers = ["cargo:token", "tokend"]`
	alias := "tokend = " + string(list)
	return []Change{link{program, r.Self, nil}, block(
		filepath.Join(cmp.Or(os.Getenv("CARGO_HOME"), filepath.Join(r.home, ".cargo")), "config.toml"),
		"tokend", "[registry]\n"+providers+"\n\n[credential-alias]\n"+alias+"\n",
		"; add to it by hand: "+providers+" under [registry], "+alias+" under [credential-alias]",
		"[registry]", "[credential-alias]", "registry.", "credential-alias.",
	)}, nil
}

func golang(r Request) ([]Change, error) {
	if !strings.HasPrefix(r.Host, "https://") {
		return nil, impossible("go authenticates over https alone")
	}
	return []Change{goAuth(r.Self, r.Host)}, nil
}

func bazel(r Request) ([]Change, error) {
	path, program := filepath.Join(r.home, ".bazelrc"), filepath.Join(r.data, "bazel-credential-tokend")
	return []Change{
		link{program, r.Self, named(path, program)},
		block(path, "tokend for "+r.hostPort(), "common --credential_helper="+r.hostPort()+"="+program+"\n", ""),
	}, nil
}

func kubectl(r Request) ([]Change, error) {
	return []Change{kubeUser("tokend-"+r.Profile, r.Self, r.helperArgs("kube"))}, nil
}

func terraform(r Request) ([]Change, error) {
	args := ""
	if r.Profile != "" {
		args = `  args = ["--profile", "` + r.Profile + `"]` + "\n"
	}
	return []Change{
		link{filepath.Join(r.home, ".terraform.d", "plugins", "terraform-credentials-tokend"), r.Self, nil},
		block(cmp.Or(os.Getenv("TF_CLI_CONFIG_FILE"), filepath.Join(r.home, ".terraformrc")),
			"tokend", "credentials_helper \"tokend\" {\n"+args+"}\n", ", and terraform takes one", "credentials_helper"),
	}, nil
}

func pnpm(r Request) ([]Change, error) {
	path, program := filepath.Join(r.home, ".npmrc"), filepath.Join(r.data, "pnpm-credential-tokend-"+r.Profile)
	registry := "//" + r.hostPort() + "/"
	if r.path() != "" {
		registry += r.path() + "/"
	}
	return []Change{
		link{program, r.Self, named(path, program)},
		block(path, "tokend for "+registry, registry+":tokenHelper="+program+"\n", "", registry+":tokenHelper", registry+":_authToken", registry+":_auth"),
	}, nil
}

func pip(r Request) ([]Change, error) {
	return []Change{
		link{filepath.Join(r.data, "bin", "keyring"), r.Self, nil},
		pipOption("global.keyring-provider", "subprocess"),
	}, nil
}
