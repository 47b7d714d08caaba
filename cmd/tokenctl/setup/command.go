package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"tokend/providers/token/format"
)

// ask runs a tool and returns its output. ok is false if it says no by its status.
func ask(name string, args ...string) (out string, ok bool, err error) {
	text, err := exec.Command(name, args...).Output()
	var no *exec.ExitError
	switch {
	case errors.As(err, &no) && len(no.Stderr) == 0:
		return "", false, nil
	case errors.As(err, &no):
		return "", false, impossible("%s: %s", typed(name, args...), strings.TrimSpace(string(no.Stderr)))
	case errors.Is(err, exec.ErrNotFound):
		return "", false, impossible("%s is not installed, or not in $PATH", name)
	}
	return string(text), err == nil, err
}

func command(name string, args ...string) error {
	_, ok, err := ask(name, args...)
	if err == nil && !ok {
		err = fmt.Errorf("%s failed", typed(name, args...))
	}
	return err
}

// typed is a command as it is typed.
func typed(name string, args ...string) string {
	words := []string{name}
	for _, arg := range args {
		if arg == "" || strings.Trim(arg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@+") != "" {
			arg = format.ShellQuote(arg)
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// gitValues are all values of a key of git's global configuration, in order.
// The first may be the empty one, which forgets those of other files.
type gitValues struct {
	key    string
	values []string
	// own reports whether a value is ours, whichever tokenctl wrote it.
	own func(string) bool
}

func (g gitValues) Show() string {
	var b strings.Builder
	for i, v := range g.values {
		args := []string{"config", "--global"}
		if i > 0 {
			args = append(args, "--add")
		}
		b.WriteString(typed("git", append(args, g.key, v)...) + "\n")
	}
	return b.String()
}

func (g gitValues) now() ([]string, error) {
	out, ok, err := ask("git", "config", "--global", "-z", "--get-all", g.key)
	if err != nil || !ok {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(out, "\x00"), "\x00"), nil
}

func (g gitValues) Done() (bool, error) {
	now, err := g.now()
	if err != nil {
		return false, err
	}
	for _, v := range now {
		if v != "" && !g.own(v) {
			return false, conflict("git's configuration has %s = %s; if that is not wanted any more: %s", g.key, v,
				typed("git", "config", "--global", "--unset-all", g.key))
		}
	}
	return slices.Equal(now, g.values), nil
}

func (g gitValues) Make() error {
	if err := g.Undo(); err != nil {
		return err
	}
	for _, v := range g.values {
		if err := command("git", "config", "--global", "--add", g.key, v); err != nil {
			return err
		}
	}
	return nil
}

func (g gitValues) Undo() error {
	now, err := g.now()
	if err != nil || !slices.ContainsFunc(now, g.own) {
		return err
	}
	if _, err := g.Done(); err != nil {
		return err
	}
	if err := command("git", "config", "--global", "--unset-all", g.key); err != nil {
		return err
	}
	// git leaves the section's empty heading behind.
	section := g.key[:strings.LastIndex(g.key, ".")]
	out, _, err := ask("git", "config", "--global", "--name-only", "--list")
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, section+".") {
			return err
		}
	}
	if err == nil {
		_, _, _ = ask("git", "config", "--global", "--remove-section", section) // git may have done so
	}
	return err
}

// A goAuth is our part of GOAUTH, which other commands may share (go help
// goauth).
type goAuth struct{ self, host string }

func (g goAuth) quoted() string {
	if strings.ContainsAny(g.self, " \t") {
		return `"` + g.self + `"`
	}
	return g.self
}

// parts are the commands of GOAUTH, ours apart.
func (g goAuth) parts() (hosts, others []string, err error) {
	out, _, err := ask("go", "env", "GOAUTH")
	for part := range strings.SplitSeq(strings.TrimSpace(out), ";") {
		part = strings.TrimSpace(part)
		_, args, ours := strings.Cut(part, " helper goauth")
		switch {
		case ours:
			for host := range strings.SplitSeq(args, "--host") {
				if host = strings.TrimSpace(host); host != "" {
					hosts = append(hosts, host)
				}
			}
		case part != "":
			others = append(others, part)
		}
	}
	return hosts, others, err
}

func (g goAuth) join(hosts, others []string) string {
	if len(hosts) > 0 {
		others = append([]string{g.quoted() + " helper goauth --host " + strings.Join(hosts, " --host ")}, others...)
	}
	return strings.Join(others, "; ")
}

func (g goAuth) wanted() (string, error) {
	hosts, others, err := g.parts()
	if !slices.Contains(hosts, g.host) {
		hosts = append(hosts, g.host)
	}
	return g.join(hosts, others), err
}

func (g goAuth) Show() string {
	value, err := g.wanted()
	if err != nil {
		value = g.join([]string{g.host}, []string{"netrc"})
	}
	return typed("go", "env", "-w", "GOAUTH="+value) + "\n"
}

func (g goAuth) Done() (bool, error) {
	wanted, err := g.wanted()
	if err != nil {
		return false, err
	}
	now, _, err := ask("go", "env", "GOAUTH")
	return strings.TrimSpace(now) == wanted, err
}

func (g goAuth) Make() error {
	wanted, err := g.wanted()
	if err != nil {
		return err
	}
	return command("go", "env", "-w", "GOAUTH="+wanted)
}

func (g goAuth) Undo() error {
	hosts, others, err := g.parts()
	if err != nil || !slices.Contains(hosts, g.host) {
		return err
	}
	hosts = slices.DeleteFunc(hosts, func(h string) bool { return h == g.host })
	value := g.join(hosts, others)
	if value == "netrc" || value == "" { // go's own default
		return command("go", "env", "-u", "GOAUTH")
	}
	return command("go", "env", "-w", "GOAUTH="+value)
}

// A kubeUser is a user of kubectl's configuration.
type kubeUser struct {
	name string
	args []string
	self string
}

func (k kubeUser) set() []string {
	args := []string{"config", "set-credentials", k.name, "--exec-api-version=client.authentication.k8s.io/v1",
		"--exec-interactive-mode=Never", "--exec-command=" + k.self}
	for _, arg := range k.args {
		args = append(args, "--exec-arg="+arg)
	}
	return args
}

func (k kubeUser) Show() string {
	quoted := make([]string, len(k.args))
	for i, arg := range k.args {
		quoted[i] = `"` + arg + `"`
	}
	return typed("kubectl", k.set()...) + "\n\nor in the file of $KUBECONFIG, usually ~/.kube/config:\n" +
		"users:\n- name: " + k.name + "\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n" +
		"      command: " + k.self + "\n      args: [" + strings.Join(quoted, ", ") + "]\n      interactiveMode: Never\n"
}

// A kubeExec is a user's exec section, as kubectl prints it.
type kubeExec struct {
	Command string   `json:"command"`
	Args    []string `json:"args"`
}

// now is the user as kubectl has it: whether there is one, and its exec
// section.
func (k kubeUser) now() (there bool, now kubeExec, err error) {
	out, _, err := ask("kubectl", "config", "view", "-o", "json")
	if err != nil {
		return false, now, err
	}
	var config struct {
		Users []struct {
			Name string `json:"name"`
			User struct {
				Exec kubeExec `json:"exec"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := json.Unmarshal([]byte(out), &config); err != nil {
		return false, now, impossible("kubectl config view -o json prints something else")
	}
	for _, u := range config.Users {
		if u.Name == k.name {
			return true, u.User.Exec, nil
		}
	}
	return false, now, nil
}

func (k kubeUser) Done() (bool, error) {
	there, now, err := k.now()
	if err != nil || !there {
		return false, err
	}
	if len(now.Args) < 2 || now.Args[0] != "helper" || now.Args[1] != "kube" {
		return false, conflict("kubectl's configuration has a user %s that is not tokend's", k.name)
	}
	return now.Command == k.self && slices.Equal(now.Args, k.args), nil
}

func (k kubeUser) Make() error { return command("kubectl", k.set()...) }

func (k kubeUser) Undo() error {
	there, _, err := k.now()
	if err != nil || !there {
		return err
	}
	if _, err := k.Done(); err != nil {
		return err
	}
	return command("kubectl", "config", "delete-user", k.name)
}

// A pipOption is one option of pip's configuration of the user.
type pipOption struct{ key, value string }

func pipArgs(args ...string) []string {
	return append([]string{"-m", "pip", "config", "--user"}, args...)
}

func (p pipOption) Show() string { return typed("python3", pipArgs("set", p.key, p.value)...) + "\n" }

func (p pipOption) now() (string, error) {
	out, _, err := ask("python3", pipArgs("list")...)
	for line := range strings.Lines(out) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), p.key+"="); ok {
			return strings.Trim(value, "'"), err
		}
	}
	return "", err
}

func (p pipOption) Done() (bool, error) {
	now, err := p.now()
	if err == nil && now != "" && now != p.value {
		err = conflict("pip's configuration has %s = %s", p.key, now)
	}
	return now == p.value, err
}

func (p pipOption) Make() error { return command("python3", pipArgs("set", p.key, p.value)...) }

func (p pipOption) Undo() error {
	if done, err := p.Done(); !done {
		return err
	}
	return command("python3", pipArgs("unset", p.key)...)
}
