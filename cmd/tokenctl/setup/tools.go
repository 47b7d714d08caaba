package setup

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidwall/sjson"

	"tokend/providers/token/format"
)

func git(r Request) ([]Change, error) {
	helper := "!" + format.ShellQuote(r.Self) + " " + strings.Join(r.helperArgs("git"), " ")
	if r.Profile == "" && leadsTo("git-credential-tokend", r.Self) {
		helper = "tokend"
	}
	section := "credential." + r.Host
	changes := []Change{gitValues{section + ".helper", []string{"", helper}, func(v string) bool {
		return v == "tokend" || strings.HasPrefix(v, "!") && strings.Contains(v, " helper git")
	}}}
	if r.path() != "" {
		changes = append(changes, gitValues{"credential." + strings.TrimSuffix(r.Host, "/"+r.path()) + ".useHttpPath", []string{"true"},
			func(v string) bool { return v == "true" }})
	}
	return changes, nil
}

// leadsTo reports whether a program name of $PATH is this tokenctl.
func leadsTo(name, self string) bool {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		own, err := filepath.EvalSymlinks(self)
		return err == nil && path == own
	}
	return false
}

func docker(r Request) ([]Change, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		var err error
		if dir, err = inHome(".docker"); err != nil {
			return nil, err
		}
	}
	changes, err := onPath("docker-credential-tokend", r.Self)
	if err != nil {
		return nil, err
	}
	return append(changes, credHelper{filepath.Join(dir, "config.json"), r.hostPort()}), nil
}

// A credHelper is an entry of credHelpers in docker's configuration.
type credHelper struct{ path, host string }

const dockerHelper = "tokend"

// key is the entry's path in the form of sjson, in which some characters are
// special.
func (c credHelper) key() string {
	return "credHelpers." + strings.NewReplacer(".", `\.`, ":", `\:`, "*", `\*`, "?", `\?`, "|", `\|`, "#", `\#`, "@", `\@`).Replace(c.host)
}

func (c credHelper) Show() string {
	text, _ := json.MarshalIndent(map[string]map[string]string{"credHelpers": {c.host: dockerHelper}}, "", "\t")
	return c.path + ":\n" + string(text) + "\n"
}

// read returns the configuration, and its credHelpers.
func (c credHelper) read() (text []byte, helpers map[string]any, err error) {
	text, err = readFile(c.path)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return []byte("{}\n"), nil, err
	}
	helpers, ok := credHelpers(text)
	if !ok {
		return nil, nil, conflict("%s is not a JSON object", c.path)
	}
	return text, helpers, nil
}

func credHelpers(text []byte) (map[string]any, bool) {
	var members map[string]any
	err := json.Unmarshal(text, &members)
	helpers, _ := members["credHelpers"].(map[string]any)
	return helpers, err == nil && members != nil
}

func (c credHelper) Done() (bool, error) {
	_, helpers, err := c.read()
	if err != nil {
		return false, err
	}
	now, exists := helpers[c.host]
	if exists && now != dockerHelper {
		return false, conflict("%s has the credential helper %q for %s", c.path, now, c.host)
	}
	return exists, nil
}

func (c credHelper) Make() error {
	text, _, err := c.read()
	if err != nil {
		return err
	}
	if text, err = sjson.SetBytes(text, c.key(), dockerHelper); err != nil {
		return err
	}
	return writeFile(c.path, text)
}

func (c credHelper) Undo() error {
	if done, err := c.Done(); !done {
		return err
	}
	text, _, err := c.read()
	if err == nil {
		text, err = sjson.DeleteBytes(text, c.key())
	}
	if helpers, _ := credHelpers(text); err == nil && len(helpers) == 0 {
		text, err = sjson.DeleteBytes(text, "credHelpers")
	}
	if err != nil {
		return err
	}
	if string(bytes.TrimSpace(text)) == "{}" { // to docker, the same as no file
		return os.Remove(c.path)
	}
	return writeFile(c.path, text)
}

func cargo(r Request) ([]Change, error) {
	dir := os.Getenv("CARGO_HOME")
	if dir == "" {
		var err error
		if dir, err = inHome(".cargo"); err != nil {
			return nil, err
		}
	}
	data, err := dataDir()
	if err != nil {
		return nil, err
	}
	// cargo passes the arguments on in its own protocol, so the name has to say
	// what the program is.
	program := filepath.Join(data, "cargo-credential-tokend")
	args := []string{program}
	if r.Profile != "" {
		args = append(args, "--profile", r.Profile)
	}
	list, err := json.Marshal(args) // a JSON list of strings is one of TOML
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "config.toml")
	return []Change{link{program, r.Self, nil}, block{path, "tokend", "[registry]\nglobal-credential-providers = [\"cargo:token\", \"tokend\"]\n\n" +
		"[credential-alias]\ntokend = " + string(list) + "\n", func(rest string) error {
		for _, table := range []string{"[registry]", "[credential-alias]", "registry.", "credential-alias."} {
			if hasLine(rest, table) {
				return conflict("%s has %s already; add to it by hand: global-credential-providers = [\"cargo:token\", \"tokend\"] under [registry], tokend = %s under [credential-alias]", path, table, list)
			}
		}
		return nil
	}}}, nil
}

func golang(r Request) ([]Change, error) {
	if !strings.HasPrefix(r.Host, "https://") {
		return nil, impossible("go authenticates over https alone")
	}
	return []Change{goAuth{r.Self, r.Host}}, nil
}

func bazel(r Request) ([]Change, error) {
	path, err := inHome(".bazelrc")
	if err != nil {
		return nil, err
	}
	dir, err := dataDir()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "bazel-credential-tokend")
	return []Change{
		link{program, r.Self, named(path, program)},
		block{path, "tokend for " + r.hostPort(), "common --credential_helper=" + r.hostPort() + "=" + program + "\n", nil},
	}, nil
}

func kubectl(r Request) ([]Change, error) {
	return []Change{kubeUser{"tokend-" + r.Profile, r.helperArgs("kube"), r.Self}}, nil
}

func terraform(r Request) ([]Change, error) {
	path := os.Getenv("TF_CLI_CONFIG_FILE")
	var err error
	if path == "" {
		if path, err = inHome(".terraformrc"); err != nil {
			return nil, err
		}
	}
	plugins, err := inHome(".terraform.d", "plugins")
	if err != nil {
		return nil, err
	}
	args := ""
	if r.Profile != "" {
		args = `  args = ["--profile", "` + r.Profile + `"]` + "\n"
	}
	return []Change{
		link{filepath.Join(plugins, "terraform-credentials-tokend"), r.Self, nil},
		block{path, "tokend", "credentials_helper \"tokend\" {\n" + args + "}\n", func(rest string) error {
			if hasLine(rest, "credentials_helper") {
				return conflict("%s has a credentials_helper already, and terraform takes one", path)
			}
			return nil
		}},
	}, nil
}

func pnpm(r Request) ([]Change, error) {
	path, err := inHome(".npmrc")
	if err != nil {
		return nil, err
	}
	dir, err := dataDir()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "pnpm-credential-tokend-"+r.Profile)
	registry := "//" + r.hostPort() + "/"
	if r.path() != "" {
		registry += r.path() + "/"
	}
	return []Change{
		link{program, r.Self, named(path, program)},
		block{path, "tokend for " + registry, registry + ":tokenHelper=" + program + "\n", func(rest string) error {
			for _, key := range []string{":tokenHelper", ":_authToken", ":_auth"} {
				if hasLine(rest, registry+key) {
					return conflict("%s has %s%s already", path, registry, key)
				}
			}
			return nil
		}},
	}, nil
}

func pip(r Request) ([]Change, error) {
	dir, err := dataDir()
	if err != nil {
		return nil, err
	}
	return []Change{
		link{filepath.Join(dir, "bin", "keyring"), r.Self, nil},
		pipOption{"global.keyring-provider", "subprocess"},
	}, nil
}
