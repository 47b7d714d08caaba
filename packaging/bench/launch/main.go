//go:build unix

// Command launch measures what a cached token costs a script: launching a
// program that asks tokend, as a whole process. Beside it, in turns, what a
// program costs that does nothing, and others that ask a daemon of their own.
//
//	go run -C packaging/bench ./launch
//	go run -C packaging/bench ./launch -n 2000 -also 'mine=/path/to/program argument'
//
// Programs of -also find the socket in $TOKEND_SOCKET.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tokend/ipc"
	"tokend/packaging/bench"
	"tokend/providers/token"
)

func main() {
	n := flag.Int("n", 500, "how often each program is launched")
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
	secret, err := profile(ctx, h)
	if err != nil {
		return err
	}
	subjects, err := subjects(h, secret)
	if err != nil {
		return err
	}
	for _, text := range also {
		name, command, _ := strings.Cut(text, "=")
		subjects = append(subjects, &subject{name: name, argv: strings.Fields(command)})
	}
	defer func() { err = errors.Join(err, endGitsCache(h)) }()
	os.Setenv(ipc.SocketEnv, h.Client.Socket)
	for range n {
		// What ran before leaves its traces in the processor's caches.
		for _, i := range rand.Perm(len(subjects)) {
			s := subjects[i]
			if err := s.launch(h.Dir); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	tell(subjects)
	return nil
}

// profile adds a profile and has its token obtained.
func profile(ctx context.Context, h *bench.Home) (secret string, err error) {
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
	g, err := h.Client.Get(ctx, "p", token.Query{})
	return g.Secret.Reveal(), err
}

const (
	gitAsks = "protocol=https\nhost=dev.example\n\n"
	bareGo  = "Go, prints a line"
	gitsOwn = "git credential-cache get"
)

func subjects(h *bench.Home, secret string) (list []*subject, err error) {
	bare, err := h.Build("bare", "packaging/bench/launch/bare")
	if err != nil {
		return nil, err
	}
	client, err := h.Build("client", "cmd/tokenctl/testdata/bareclient")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"git-credential-tokend", "docker-credential-tokend"} {
		if err := os.Symlink(h.Tokenctl, filepath.Join(h.Dir, name)); err != nil {
			return nil, err
		}
	}
	c := filepath.Join(h.Dir, "c")
	compile := exec.Command("cc", "-O2", "-x", "c", "-o", c, "-")
	compile.Stdin = strings.NewReader("#include <stdio.h>\nint main(void) { return puts(\"a line\") < 0; }\n")
	if out, err := compile.CombinedOutput(); err == nil {
		list = append(list, &subject{name: "C, puts", argv: []string{c}, want: "a line"})
	} else {
		fmt.Fprintf(os.Stderr, "launch: no C program to compare with: %v %s\n", err, out)
	}
	list = append(list,
		&subject{name: bareGo, argv: []string{bare}, want: "a line"},
		&subject{name: "Go, standard library's client", argv: []string{client, h.Client.Socket, "p"}, want: secret},
		&subject{name: "tokenctl get", argv: []string{h.Tokenctl, "get", "p"}, want: secret},
		&subject{name: "tokenctl get -o json", argv: []string{h.Tokenctl, "get", "p", "-o", "json"}, want: secret},
		&subject{name: "git-credential-tokend get", argv: []string{filepath.Join(h.Dir, "git-credential-tokend"), "get"}, input: gitAsks, want: secret},
		&subject{name: "docker-credential-tokend get", argv: []string{filepath.Join(h.Dir, "docker-credential-tokend"), "get"}, input: "dev.example", want: secret},
	)
	if git, err := exec.LookPath("git"); err == nil {
		socket := gitSocket(h)
		store := exec.Command(git, "credential-cache", "--socket", socket, "store")
		store.Stdin = strings.NewReader(strings.TrimSuffix(gitAsks, "\n") + "username=me\npassword=" + secret + "\n\n")
		if err := errors.Join(os.Mkdir(filepath.Dir(socket), 0o700), store.Run()); err != nil {
			return nil, fmt.Errorf("git credential-cache: %w", err)
		}
		list = append(list, &subject{name: gitsOwn, argv: []string{git, "credential-cache", "--socket", socket, "get"}, input: gitAsks, want: secret})
	}
	if curl, err := exec.LookPath("curl"); err == nil {
		list = append(list, &subject{name: "curl --unix-socket", want: secret,
			argv: []string{curl, "-sS", "--unix-socket", h.Client.Socket, "http://tokend/v1/token/p"}})
	}
	return list, nil
}

func gitSocket(h *bench.Home) string { return filepath.Join(h.Dir, "git", "socket") }

// endGitsCache ends the daemon that git started, if it did.
func endGitsCache(h *bench.Home) error {
	if _, err := os.Stat(gitSocket(h)); err != nil {
		return nil
	}
	return exec.Command("git", "credential-cache", "--socket", gitSocket(h), "exit").Run()
}

// launch runs the program once. What it prints goes through a pipe, which holds
// it until the program has ended: nothing else happens meanwhile.
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
		return errors.New("it did not print what it should")
	}
	s.took, s.faults = append(s.took, took), used.Minflt
	return nil
}

func tell(subjects []*subject) {
	var bare, git bench.Times
	for _, s := range subjects {
		switch s.name {
		case bareGo:
			bare = s.took
		case gitsOwn:
			git = s.took
		}
	}
	rows := []string{"ms, by\tmin\tmedian\tp99\tx bare Go: min\tmedian\tx git's cache: min\tmedian\tpage faults"}
	for _, s := range subjects {
		beside := "-\t-"
		if git != nil {
			beside = bench.Ratio(s.took, git)
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%d", s.name, s.took.Cells(time.Millisecond), bench.Ratio(s.took, bare), beside, s.faults))
	}
	bench.Table(os.Stdout, rows...)
}
