package setup

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
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
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		text := fmt.Sprintf("%s: %s", c, cmp.Or(strings.TrimSpace(string(failed.Stderr)), failed.Error()))
		return string(out), &token.Error{Code: token.ErrInvalid, Message: text, Cause: failed}
	}
	if errors.Is(err, exec.ErrNotFound) {
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

// setting is a change that the tool's own commands make. read reports whether it is in
// place, and whether some of it is there and ours.
func setting(set []command, unset command, read func() (done, ours bool, err error)) Change {
	show := ""
	for _, c := range set {
		show += c.String() + "\n"
	}
	return Change{
		Show: show,
		Done: func() (bool, error) {
			done, _, err := read()
			return done, err
		},
		Make: func() (err error) {
			for _, c := range set {
				if err == nil {
					_, err = c.run()
				}
			}
			return err
		},
		Undo: func() error {
			_, ours, err := read()
			if ours && err == nil {
				_, err = unset.run()
			}
			return err
		},
	}
}

// gitValues sets all values of a key of git's global configuration, in order.
// The first may be the empty one, which forgets those of other files.
func gitValues(key string, values ...string) Change {
	isOwn := func(v string) bool { // whichever tokenctl wrote it
		return v == "tokend" || v == "true" || strings.HasPrefix(v, "!") && strings.Contains(v, " helper git")
	}
	var set []command
	for i, v := range values {
		how := "--add"
		if i == 0 {
			how = "--replace-all"
		}
		set = append(set, command{"git", "config", "--global", how, key, v})
	}
	unset := command{"git", "config", "--global", "--unset-all", key}
	return setting(set, unset, func() (done, ours bool, err error) {
		out, err := command{"git", "config", "--global", "-z", "--get-all", key}.run()
		if failed, ok := errors.AsType[*exec.ExitError](err); ok && failed.ExitCode() == 1 { // there is no value
			err = nil
		}
		now := strings.FieldsFunc(out, func(r rune) bool { return r == 0 })
		for _, v := range now {
			if !isOwn(v) {
				err = conflict("git's configuration has %s = %s; if that is not wanted any more: %s", key, v, unset)
			}
		}
		return out == strings.Join(values, "\x00")+"\x00", len(now) > 0, err
	})
}

// goAuth adds our command for a host to GOAUTH, a list of commands (go help goauth).
func goAuth(self, host string) Change {
	if strings.ContainsAny(self, " \t") {
		self = `"` + self + `"`
	}
	const helper = " helper goauth --host "
	own := self + helper + host
	set := func(list []string) command {
		value := strings.Join(list, "; ")
		if value == "netrc" || value == "" { // go's own default
			return command{"go", "env", "-u", "GOAUTH"}
		}
		return command{"go", "env", "-w", "GOAUTH=" + value}
	}
	read := func() (list []string, err error) {
		out, err := command{"go", "env", "GOAUTH"}.run()
		for part := range strings.SplitSeq(strings.TrimSpace(out), ";") {
			program, hosts, isHelper := strings.Cut(strings.TrimSpace(part), helper)
			if !isHelper {
				list = append(list, program)
				continue
			}
			for h := range strings.SplitSeq(hosts, " --host ") { // as earlier versions wrote them
				list = append(list, program+helper+h)
			}
		}
		return list, err
	}
	isOurs := func(part string) bool { return strings.HasSuffix(part, helper+host) }
	list, _ := read() // Done reports an error
	others := slices.DeleteFunc(list, isOurs)
	return setting([]command{set(append([]string{own}, others...))}, set(others), func() (done, ours bool, err error) {
		list, err := read()
		return slices.Contains(list, own), slices.ContainsFunc(list, isOurs), err
	})
}

// kubeUser sets a user of kubectl's configuration.
func kubeUser(name, self string, args []string) Change {
	set := command{"kubectl", "config", "set-credentials", name, "--exec-api-version=client.authentication.k8s.io/v1",
		"--exec-interactive-mode=Never", "--exec-provide-cluster-info=true", "--exec-command=" + self}
	for _, arg := range args {
		set = append(set, "--exec-arg="+arg)
	}
	return setting([]command{set}, command{"kubectl", "config", "delete-user", name}, func() (done, ours bool, err error) {
		out, err := command{"kubectl", "config", "view", "-o", "json"}.run() // jsonpath fails where there are no users
		type user struct {
			Name string
			User struct {
				Exec struct {
					Command            string
					Args               []string
					ProvideClusterInfo bool
				}
			}
		}
		var config struct{ Users []user }
		_ = json.Unmarshal([]byte(out), &config)
		i := slices.IndexFunc(config.Users, func(u user) bool { return u.Name == name })
		if i < 0 {
			return false, false, err
		}
		now := config.Users[i].User.Exec
		if len(now.Args) < 2 || now.Args[0] != "helper" || now.Args[1] != "kube" {
			return false, false, conflict("kubectl's configuration has a user %s that is not tokend's", name)
		}
		return now.Command == self && now.ProvideClusterInfo && slices.Equal(now.Args, args), true, nil
	})
}

// pipOption sets one option of pip's configuration of the user.
func pipOption(key, value string) Change {
	pip := func(args ...string) command {
		return append(command{"python3", "-m", "pip", "config", "--user"}, args...)
	}
	return setting([]command{pip("set", key, value)}, pip("unset", key), func() (done, ours bool, err error) {
		out, err := pip("list").run()
		_, now, _ := strings.Cut("\n"+out, "\n"+key+"=")
		now, _, _ = strings.Cut(now, "\n")
		now = strings.Trim(strings.TrimSpace(now), "'")
		if now != "" && now != value {
			err = conflict("pip's configuration has %s = %s", key, now)
		}
		return now == value, now == value, err
	})
}
