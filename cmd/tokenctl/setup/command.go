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
	shown string
	// read reads the tool's configuration. The error names what others wrote
	// that conflicts with the setting.
	read func() (state, error)
}

// A state is what a tool's configuration has of a setting.
type state struct {
	done, ours bool // it is in place; some of it is there and ours
	set, unset []command
}

func (s setting) Show() string { return s.shown }

func (s setting) Done() (bool, error) {
	now, err := s.read()
	return now.done, err
}

func (s setting) Make() error {
	now, err := s.read()
	return runAll(now.set, err)
}

func (s setting) Undo() error {
	now, err := s.read()
	if !now.ours {
		return err
	}
	return runAll(now.unset, err)
}

func runAll(commands []command, err error) error {
	for _, c := range commands {
		if err == nil {
			_, err = c.run()
		}
	}
	return err
}

func show(commands []command) (text string) {
	for _, c := range commands {
		text += c.String() + "\n"
	}
	return text
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
	return setting{show(set), func() (state, error) {
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
		done := out == strings.Join(values, "\x00")+"\x00"
		return state{done, len(now) > 0, set, []command{unset}}, err
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
	read := func() (state, error) {
		out, err := command{"go", "env", "GOAUTH"}.run()
		out = strings.TrimSpace(out)
		hosts, others := goAuthParts(out)
		rest := slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return h == host })
		ours := len(rest) < len(hosts)
		if !ours {
			hosts = append(hosts, host)
		}
		want := set(hosts, others)
		return state{want[3] == "GOAUTH="+out, ours, []command{want}, []command{set(rest, others)}}, err
	}
	now, err := read()
	if err != nil {
		now.set = []command{set([]string{host}, []string{"netrc"})}
	}
	return setting{show(now.set), read}
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
		"--exec-interactive-mode=Never", "--exec-command=" + self}
	for _, arg := range args {
		set = append(set, "--exec-arg="+arg)
	}
	return setting{set.String() + "\n", func() (state, error) {
		s := state{set: []command{set}, unset: []command{{"kubectl", "config", "delete-user", name}}}
		out, err := command{"kubectl", "config", "view", "-o", "json"}.run()
		if err != nil {
			return s, err
		}
		var config struct {
			Users []struct {
				Name string
				User struct {
					Exec struct {
						Command string
						Args    []string
					}
				}
			}
		}
		if json.Unmarshal([]byte(out), &config) != nil {
			return s, impossible("kubectl config view -o json prints something else")
		}
		for _, u := range config.Users {
			if u.Name != name {
				continue
			}
			now := u.User.Exec
			s.done, s.ours = now.Command == self && slices.Equal(now.Args, args), true
			if !slices.Equal(now.Args[:min(2, len(now.Args))], []string{"helper", "kube"}) {
				return s, conflict("kubectl's configuration has a user %s that is not tokend's", name)
			}
		}
		return s, nil
	}}
}

// pipOption sets one option of pip's configuration of the user.
func pipOption(key, value string) setting {
	pip := func(args ...string) command {
		return append(command{"python3", "-m", "pip", "config", "--user"}, args...)
	}
	set := []command{pip("set", key, value)}
	return setting{show(set), func() (state, error) {
		out, err := pip("list").run()
		_, now, _ := strings.Cut("\n"+out, "\n"+key+"=")
		now, _, _ = strings.Cut(now, "\n")
		now = strings.Trim(strings.TrimSpace(now), "'")
		if now != "" && now != value {
			err = conflict("pip's configuration has %s = %s", key, now)
		}
		return state{now == value, now == value, set, []command{pip("unset", key)}}, err
	}}
}
