package setup

import (
	"cmp"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"

	"tokend/providers/token"
	"tokend/providers/token/format"
)

// A command is a tool's program and its arguments.
type command []string

// run runs the command and returns its output.
func (c command) run() (string, error) {
	out, err := exec.Command(c[0], c[1:]...).Output()
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		err = impossible("%s: %s", c, cmp.Or(strings.TrimSpace(string(failed.Stderr)), failed.Error()))
		err.(*token.Error).Cause = failed
	case errors.Is(err, exec.ErrNotFound):
		err = impossible("%s is not installed, or not in $PATH", c[0])
	}
	return string(out), err
}

// String is the command as it is typed.
func (c command) String() string {
	words := slices.Clone(c)
	for i, word := range words {
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@+") != "" {
			words[i] = format.ShellQuote(word)
		}
	}
	return strings.Join(words, " ")
}

// A setting is a change that the tool's own commands make.
type setting struct {
	set, unset []command
	// read reports whether the setting is in place, and whether some of it is there
	// and ours. The error names what others wrote that conflicts with it.
	read func() (done, ours bool, err error)
}

func (s setting) Show() (text string) {
	for _, c := range s.set {
		text += c.String() + "\n"
	}
	return text
}

func (s setting) Done() (bool, error) {
	done, _, err := s.read()
	return done, err
}

func (s setting) Make() error {
	_, _, err := s.read()
	return runAll(s.set, err)
}

func (s setting) Undo() error {
	_, ours, err := s.read()
	if !ours {
		return err
	}
	return runAll(s.unset, err)
}

func runAll(commands []command, err error) error {
	for _, c := range commands {
		if err == nil {
			_, err = c.run()
		}
	}
	return err
}

// gitValues sets all values of a key of git's global configuration, in order.
// The first may be the empty one, which forgets those of other files. isOwn
// reports whether a value is ours, whichever tokenctl wrote it.
func gitValues(key string, values []string, isOwn func(string) bool) setting {
	var set []command
	for i, v := range values {
		how := "--add"
		if i == 0 {
			how = "--replace-all"
		}
		set = append(set, command{"git", "config", "--global", how, key, v})
	}
	unset := command{"git", "config", "--global", "--unset-all", key}
	return setting{set, []command{unset}, func() (done, ours bool, err error) {
		out, err := command{"git", "config", "--global", "-z", "--get-all", key}.run()
		var failed *exec.ExitError
		if errors.As(err, &failed) && failed.ExitCode() == 1 { // there is no value
			err = nil
		}
		now := strings.FieldsFunc(out, func(r rune) bool { return r == 0 })
		for _, v := range now {
			if !isOwn(v) {
				err = conflict("git's configuration has %s = %s; if that is not wanted any more: %s", key, v, unset)
			}
		}
		return out == strings.Join(values, "\x00")+"\x00", len(now) > 0, err
	}}
}

// goAuth sets our part of GOAUTH, which other commands may share (go help
// goauth).
func goAuth(self, host string) setting {
	if strings.ContainsAny(self, " \t") {
		self = `"` + self + `"`
	}
	set := func(hosts, others []string) command {
		if len(hosts) > 0 {
			others = append([]string{self + " helper goauth --host " + strings.Join(hosts, " --host ")}, others...)
		}
		value := strings.Join(others, "; ")
		if value == "netrc" || value == "" { // go's own default
			return command{"go", "env", "-u", "GOAUTH"}
		}
		return command{"go", "env", "-w", "GOAUTH=" + value}
	}
	read := func() (value string, hosts, others []string, err error) {
		out, err := command{"go", "env", "GOAUTH"}.run()
		value = strings.TrimSpace(out)
		hosts, others = goAuthParts(value)
		return value, hosts, others, err
	}
	_, hosts, others, err := read()
	if err != nil { // without go, which Done will say
		others = []string{"netrc"}
	}
	rest := slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return h == host })
	if len(rest) == len(hosts) {
		hosts = append(hosts, host)
	}
	want := set(hosts, others)
	return setting{[]command{want}, []command{set(rest, others)}, func() (done, ours bool, err error) {
		value, hosts, _, err := read()
		return want[3] == "GOAUTH="+value, slices.Contains(hosts, host), err
	}}
}

// goAuthParts are the hosts in our command of GOAUTH, and the other commands.
func goAuthParts(value string) (hosts, others []string) {
	for part := range strings.SplitSeq(value, ";") {
		part = strings.TrimSpace(part)
		_, args, ours := strings.Cut(part, " helper goauth")
		switch {
		case ours:
			hosts = append(hosts, strings.Fields(strings.ReplaceAll(args, "--host", ""))...)
		case part != "":
			others = append(others, part)
		}
	}
	return hosts, others
}

// kubeUser sets a user of kubectl's configuration.
func kubeUser(name, self string, args []string) setting {
	set := command{"kubectl", "config", "set-credentials", name, "--exec-api-version=client.authentication.k8s.io/v1",
		"--exec-interactive-mode=Never", "--exec-provide-cluster-info=true", "--exec-command=" + self}
	for _, arg := range args {
		set = append(set, "--exec-arg="+arg)
	}
	return setting{[]command{set}, []command{{"kubectl", "config", "delete-user", name}}, func() (done, ours bool, err error) {
		out, err := command{"kubectl", "config", "view", "-o", "json"}.run()
		if err != nil {
			return false, false, err
		}
		var config struct {
			Users []struct {
				Name string
				User struct {
					Exec struct {
						Command            string
						Args               []string
						ProvideClusterInfo bool
					}
				}
			}
		}
		if json.Unmarshal([]byte(out), &config) != nil {
			return false, false, impossible("kubectl config view -o json prints something else")
		}
		for _, u := range config.Users {
			now := u.User.Exec
			switch {
			case u.Name != name:
			case len(now.Args) < 2 || !slices.Equal(now.Args[:2], []string{"helper", "kube"}):
				return false, true, conflict("kubectl's configuration has a user %s that is not tokend's", name)
			default:
				return now.Command == self && now.ProvideClusterInfo && slices.Equal(now.Args, args), true, nil
			}
		}
		return false, false, nil
	}}
}

// pipOption sets one option of pip's configuration of the user.
func pipOption(key, value string) setting {
	pip := func(args ...string) command {
		return append(command{"python3", "-m", "pip", "config", "--user"}, args...)
	}
	return setting{[]command{pip("set", key, value)}, []command{pip("unset", key)}, func() (done, ours bool, err error) {
		out, err := pip("list").run()
		_, now, _ := strings.Cut("\n"+out, "\n"+key+"=")
		now, _, _ = strings.Cut(now, "\n")
		now = strings.Trim(strings.TrimSpace(now), "'")
		if now != "" && now != value {
			err = conflict("pip's configuration has %s = %s", key, now)
		}
		return now == value, now == value, err
	}}
}
