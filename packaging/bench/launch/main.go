//go:build unix

// Command launch measures what a cached token costs a script: one launch of a
// whole process that asks tokend. It launches each form of tokenctl get in
// turns with a Go program that does nothing, with git's own cache and with
// oauth2l, and prints medians as multiples of the Go program's.
//
//	go run -C packaging/bench ./launch
//	go run -C packaging/bench ./launch -n 2000 -also 'mine=/path/to/program argument'
//
// A program of -also finds the socket in $TOKEND_SOCKET. Launch leaves out what
// is not installed; oauth2l comes with "go install github.com/google/oauth2l@latest".
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tokend/ipc"
	"tokend/packaging/bench"
	"tokend/providers/token"
)

func main() {
	n := flag.Int("n", 500, "how often to launch each program")
	var also []string
	flag.Func("also", "measure `NAME=COMMAND` as well; repeatable", func(s string) error {
		also = append(also, s)
		return nil
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *n, also); err != nil {
		fmt.Fprintln(os.Stderr, "launch:", err)
		os.Exit(1)
	}
}

// A subject is a program that is launched again and again.
type subject struct {
	name  string
	argv  []string
	input string // what it reads
	want  string // what it must print, to count
	took  bench.Times
	// faults are the page faults of its last launch.
	faults int64
}

func run(ctx context.Context, n int, also []string) (err error) {
	h, err := bench.NewHome()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.End()) }()
	secret, err := cachedToken(ctx, h)
	if err != nil {
		return err
	}
	all, err := subjects(h, secret)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, endGitCache(h)) }()
	for _, text := range also {
		name, command, _ := strings.Cut(text, "=")
		all = append(all, &subject{name: name, argv: strings.Fields(command)})
	}
	os.Setenv(ipc.SocketEnv, h.Client.Socket)
	for range n {
		// The order varies because each program leaves its traces in the processor's caches.
		for _, i := range mathrand.Perm(len(all)) {
			if err := all[i].launch(h.Dir); err != nil {
				return fmt.Errorf("%s: %w", all[i].name, err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	report(all)
	return nil
}

// cachedToken adds the profile p and gets its token once.
func cachedToken(ctx context.Context, h *bench.Home) (secret string, err error) {
	if _, _, err := h.Start(ctx); err != nil {
		return "", err
	}
	id, clientSecret := h.Issuers.OAuth2().NewClient()
	_, err = h.Client.Add(ctx, token.CreateProfile{Name: "p", Provider: "oauth2",
		Secrets: map[string]token.Secret{"client_secret": token.NewSecret(clientSecret)},
		Settings: map[string]any{"token_url": h.Issuers.OAuth2().TokenURL(), "client_id": id,
			"hosts": []string{"https://dev.example"}}})
	if err != nil {
		return "", err
	}
	// A tool that asks docker's helper again and again has its token refused, so tokend
	// obtains another: that one has a profile of its own.
	_, err = h.Client.Add(ctx, token.CreateProfile{Name: "docker", Provider: "oauth2",
		Secrets: map[string]token.Secret{"client_secret": token.NewSecret(clientSecret)},
		Settings: map[string]any{"token_url": h.Issuers.OAuth2().TokenURL(), "client_id": id,
			"hosts": []string{"https://docker.example"}}})
	if err != nil {
		return "", err
	}
	g, err := h.Client.Get(ctx, "p", token.Query{})
	return g.Secret.Reveal(), err
}

const (
	bareGo     = "Go, prints a line"
	gitRequest = "protocol=https\nhost=dev.example\n\n"
)

func subjects(h *bench.Home, secret string) (list []*subject, err error) {
	bare, err := h.Build("bare", "packaging/bench/launch/bare")
	if err != nil {
		return nil, err
	}
	list = []*subject{{name: bareGo, argv: []string{bare}, want: "a line"}}
	for _, form := range []string{"p", "p -o json", "p --min-ttl 1m", "--url https://dev.example/x"} {
		argv := append([]string{h.Tokenctl, "get"}, strings.Fields(form)...)
		list = append(list, &subject{name: "tokenctl get " + form, argv: argv, want: secret})
	}
	for _, helper := range []struct{ name, input, want string }{
		{"git-credential-tokend", gitRequest, secret}, {"docker-credential-tokend", "docker.example", `"Secret":"`},
	} {
		program := filepath.Join(h.Dir, helper.name)
		if err := os.Symlink(h.Tokenctl, program); err != nil {
			return nil, err
		}
		list = append(list, &subject{name: helper.name + " get", argv: []string{program, "get"}, input: helper.input, want: helper.want})
	}
	for _, other := range []func(*bench.Home, string) (*subject, error){standardClient, gitFill, oauth2l, curl} {
		s, err := other(h, secret)
		switch {
		case errors.Is(err, exec.ErrNotFound):
			fmt.Fprintln(os.Stderr, "launch: left out:", err)
		case err != nil:
			return nil, err
		default:
			list = append(list, s)
		}
	}
	return list, nil
}

// standardClient is a program with the standard library's client and nothing else.
func standardClient(h *bench.Home, secret string) (*subject, error) {
	program, err := h.Build("client", "cmd/tokenctl/testdata/bareclient")
	return &subject{name: "Go, standard library's client", argv: []string{program, h.Client.Socket, "p"}, want: secret}, err
}

// gitFill is git with its own cache, a daemon as well.
func gitFill(h *bench.Home, secret string) (*subject, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, err
	}
	os.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	argv := []string{git, "-c", "credential.helper=cache --socket " + gitSocket(h), "credential", "fill"}
	store := exec.Command(git, append(slices.Clone(argv[1:len(argv)-1]), "approve")...)
	store.Stdin = strings.NewReader(strings.TrimSuffix(gitRequest, "\n") + "username=me\npassword=" + secret + "\n\n")
	err = errors.Join(os.Mkdir(filepath.Dir(gitSocket(h)), 0o700), store.Run())
	return &subject{name: "git credential fill, git's cache", argv: argv, input: gitRequest, want: secret}, err
}

func gitSocket(h *bench.Home) string { return filepath.Join(h.Dir, "git", "socket") }

// endGitCache ends the daemon that git started.
func endGitCache(h *bench.Home) error {
	if _, err := os.Stat(gitSocket(h)); err != nil {
		return nil
	}
	return exec.Command("git", "credential-cache", "--socket", gitSocket(h), "exit").Run()
}

// oauth2l prints the token that its first launch signed and wrote to its cache file.
func oauth2l(h *bench.Home, _ string) (*subject, error) {
	program, err := exec.LookPath("oauth2l")
	if err != nil {
		return nil, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	account, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "p@dev.example", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": h.Issuers.OAuth2().TokenURL()})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(h.Dir, "account.json")
	if err := os.WriteFile(file, account, 0o600); err != nil {
		return nil, err
	}
	argv := []string{program, "fetch", "--type", "jwt", "--audience", "https://dev.example", "--credentials", file, "--cache", filepath.Join(h.Dir, "oauth2l")}
	printed, err := exec.Command(program, argv[1:]...).Output()
	return &subject{name: "oauth2l fetch, its cache", argv: argv, want: string(printed)}, err
}

func curl(h *bench.Home, secret string) (*subject, error) {
	program, err := exec.LookPath("curl")
	return &subject{name: "curl --unix-socket", want: secret,
		argv: []string{program, "-sS", "--unix-socket", h.Client.Socket, "http://tokend/v1/token/p"}}, err
}

// launch runs the program once. A pipe holds what it prints until it has ended:
// nothing else happens meanwhile.
func (s *subject) launch(dir string) error {
	input := filepath.Join(dir, "input")
	if err := os.WriteFile(input, []byte(s.input), 0o600); err != nil {
		return err
	}
	in, err := os.Open(input)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{in.Fd(), w.Fd(), 2}}

	begin := time.Now()
	pid, err := syscall.ForkExec(s.argv[0], s.argv, attr)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	var status syscall.WaitStatus
	var used syscall.Rusage
	for _, err = syscall.Wait4(pid, &status, 0, &used); err == syscall.EINTR; {
		_, err = syscall.Wait4(pid, &status, 0, &used)
	}
	took := time.Since(begin)

	out := make([]byte, 64<<10)
	size := 0
	if closed := w.Close(); closed == nil {
		size, _ = r.Read(out)
	}
	switch {
	case err != nil:
		return err
	case status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", status.ExitStatus())
	case !strings.Contains(string(out[:size]), s.want):
		return errors.New("it did not print the token")
	}
	s.took, s.faults = append(s.took, took), used.Minflt
	return nil
}

func report(subjects []*subject) {
	bare := subjects[0].took
	rows := []string{"ms\tmin\tmedian\tp99\tx bare Go: min\tmedian\tpage faults"}
	for _, s := range subjects {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d", s.name, s.took.Cells(time.Millisecond), bench.Ratio(s.took, bare), s.faults))
	}
	bench.Table(os.Stdout, rows...)
}
