package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tokend/ipc"
	"tokend/packaging/checktest"
	"tokend/providers/providertest"
)

// The product, end to end: one script per promise, the real programs as
// processes of their own, issuers over TLS. After each script everything that
// it left behind is searched for the secrets that were used in it.

func TestMain(m *testing.M) {
	testscript.Main(programs{m}, commands)
}

// commands are the programs that this test's own binary is, by name.
var commands = map[string]func(){"tokend": func() { faultsEvery /= 50; main() }}

// programs puts tokenctl into the path of the tests. tokend is this test's own
// binary, run under that name.
type programs struct{ tests *testing.M }

func (p programs) Run() int {
	bin, err := os.MkdirTemp("", "tokend-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "tokenctl"), "tokend/cmd/tokenctl").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building tokenctl: %v\n%s", err, out)
		return 1
	}
	os.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return p.tests.Run()
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setUpScript,
		Condition: func(name string) (bool, error) {
			is, known := map[string]bool{"full": checktest.Full(), "root": os.Geteuid() == 0}[name]
			if !known {
				return false, fmt.Errorf("no condition %q", name)
			}
			return is, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"issuers":    cmdIssuers,
			"issuer":     cmdIssuer,
			"daemon":     cmdDaemon,
			"ends":       cmdEnds,
			"storm":      cmdStorm,
			"eventually": cmdEventually,
			"api":        cmdAPI,
			"datarock":   cmdDatarock,
			"apitoken":   cmdAPIToken,
			"host":       cmdHost,
			"build":      cmdBuild,
			"nosecrets":  cmdNoSecrets,
		},
	})
}

// A stage is what one script runs on.
type stage struct {
	issuers *providertest.Server
	daemon  *exec.Cmd
	host    *host

	mu       sync.Mutex
	canaries []string // what must be found nowhere
}

// plant adds a secret to those that must be found nowhere.
func (s *stage) plant(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.canaries = append(s.canaries, secrets...)
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

func setUpScript(env *testscript.Env) error {
	s := &stage{}
	env.Values[stageKey{}] = s
	for name, dir := range map[string]string{"HOME": "home", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run"} {
		path := filepath.Join(env.WorkDir, dir)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		env.Setenv(name, path)
	}
	env.Setenv("CONFIG", filepath.Join(env.WorkDir, "config", "tokend"))
	env.Setenv("STATE", filepath.Join(env.WorkDir, "state", "tokend"))
	env.Setenv("SOCKET", filepath.Join(env.WorkDir, "run", "tokend", "tokend.sock"))
	clone, err := filepath.Abs(root)
	env.Setenv("CLONE", clone)
	env.Setenv("REAL_HOME", os.Getenv("HOME"))
	env.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
	env.Defer(func() {
		if s.daemon != nil {
			_ = s.daemon.Process.Kill()
			_ = s.daemon.Wait()
		}
		endStarted(env.Getenv("SOCKET"))
		if s.issuers != nil {
			_ = s.issuers.Close()
		}
	})
	return err
}

// endStarted ends a daemon that tokenctl started, if one is left.
func endStarted(socket string) {
	client := ipc.Client{Socket: socket}
	if st, err := client.Status(context.Background()); err == nil {
		_ = syscall.Kill(st.PID, syscall.SIGKILL)
	}
}

// issuers: start | stop | resume. Start makes credentials at each issuer, puts
// the files that a person would have into in/, and has tokend trust the
// issuers' certificate.
func cmdIssuers(ts *testscript.TestScript, _ bool, args []string) {
	s := stageOf(ts)
	switch strings.Join(args, " ") {
	case "start":
		issuers, err := providertest.Start(providertest.Options{})
		ts.Check(err)
		s.issuers = issuers
		s.prepare(ts)
	case "stop":
		ts.Check(s.issuers.Stop())
	case "resume":
		ts.Check(s.issuers.Resume())
	default:
		ts.Fatalf("usage: issuers start|stop|resume")
	}
}

func (s *stage) prepare(ts *testscript.TestScript) {
	write := func(name string, content []byte) {
		path := ts.MkAbs(name)
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o700))
		ts.Check(os.WriteFile(path, content, 0o600))
	}
	ca := ts.MkAbs("ca.pem")
	write(ca, s.issuers.CertPEM())
	// As most people have it, without ca_file: the authority is one of the system's.
	write("config/tokend/config.toml", []byte("proxy = \"none\"\nlog_level = \"debug\"\n"))
	ts.Setenv("SSL_CERT_FILE", ca)

	for _, bits := range []int{2048, 4096} {
		key, err := s.issuers.CLMS().NewServiceKey(bits)
		ts.Check(err)
		write(fmt.Sprintf("in/service-key-%d.json", bits), key)
		text, err := privateKey(key)
		ts.Check(err)
		s.plantPEM([]byte(text))
	}
	id, secret := s.issuers.Azure().NewSecret()
	ts.Setenv("AZURE_ID", id)
	write("in/azure-secret", []byte(secret+"\n"))
	id, cert, key, err := s.issuers.Azure().NewCertificate(2048)
	ts.Check(err)
	ts.Setenv("AZURE_CERT_ID", id)
	write("in/azure-cert.pem", cert)
	write("in/azure-key.pem", key)
	s.plantPEM(key)
	asposeID, asposeSecret := s.issuers.Aspose().NewClient()
	ts.Setenv("ASPOSE_ID", asposeID)
	write("in/aspose-secret", []byte(asposeSecret))
	write("in/subscription-key", []byte(providertest.SubscriptionKey+"\n"))
	s.canaries = append(s.canaries, secret, asposeSecret, providertest.SubscriptionKey)
	ts.Setenv("ISSUER", s.issuers.URL())
	ts.Setenv("AZURE_TENANT", s.issuers.Azure().Tenant())
	ts.Setenv("AZURE_SCOPE", s.issuers.Azure().Scope())
	ts.Setenv("AZURE_AUTHORITY", s.issuers.Azure().Authority())
}

// privateKey returns the private key in a service key.
func privateKey(serviceKey []byte) (string, error) {
	var key struct {
		PrivateKey string `json:"private_key"`
	}
	err := json.Unmarshal(serviceKey, &key)
	return key.PrivateKey, err
}

// plantPEM makes canaries of a private key: a piece of it as it stands in DER,
// in PEM, and in base64 of each alignment.
func (s *stage) plantPEM(text []byte) {
	block, _ := pem.Decode(text)
	// The end of an RSA key is all secret; its beginning holds the modulus.
	piece := block.Bytes[len(block.Bytes)-120 : len(block.Bytes)-60]
	s.canaries = append(s.canaries, string(piece))
	for shift := range 3 {
		whole := base64.StdEncoding.EncodeToString(piece[shift : shift+48])
		s.canaries = append(s.canaries, whole)
	}
}

// issuer NAME: minted N | requests N | fails STATUS [RETRY-AFTER] | refuses CODE |
// echoes | hangs | heals | lifetime D | revokes |
// takes FILE (another secret of the application)
func cmdIssuer(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	type issuer interface {
		Minted() int
		Requests() int
		Fail(providertest.Fault)
		Heal()
		SetLifetime(time.Duration)
		RevokeTokens()
	}
	if len(args) < 2 {
		ts.Fatalf("usage: issuer NAME WORD [ARG]")
	}
	i, ok := map[string]issuer{"clms": s.issuers.CLMS(), "azure": s.issuers.Azure(), "aspose": s.issuers.Aspose()}[args[0]]
	arg := append(args[2:], "", "")
	count := func(got int) {
		if fmt.Sprint(got) == arg[0] == neg {
			ts.Fatalf("%s: %s %d, not %s", args[0], args[1], got, arg[0])
		}
	}
	act, known := map[string]func(){
		"minted":   func() { count(i.Minted()) },
		"requests": func() { count(i.Requests()) },
		"fails": func() {
			status, err := strconv.Atoi(arg[0])
			ts.Check(err)
			i.Fail(providertest.Status(status, arg[1]))
		},
		"refuses": func() { i.Fail(providertest.AADSTS(arg[0])) },
		"echoes":  func() { i.Fail(providertest.Echo(http.StatusBadRequest)) },
		"hangs":   func() { i.Fail(providertest.Hang(nil)) },
		"heals":   func() { i.Heal() },
		"revokes": func() { i.RevokeTokens() },
		"takes":   func() { s.issuers.Azure().AddSecret(ts.Getenv("AZURE_ID"), strings.TrimSpace(ts.ReadFile(arg[0]))) },
		"lifetime": func() {
			life, err := time.ParseDuration(arg[0])
			ts.Check(err)
			i.SetLifetime(life)
		},
	}[args[1]]
	if !ok || !known {
		ts.Fatalf("there is no issuer %s that %s", args[0], args[1])
	}
	act()
}

// daemon: start | stop | kill | hangup. Start sets up a sealed keystore if there
// is none, and waits until the daemon answers.
func cmdDaemon(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	switch strings.Join(args, " ") {
	case "start":
		if _, err := os.Stat(ts.MkAbs("state/tokend/install.toml")); err != nil {
			ts.Check(ts.Exec("tokend", "setup", "--keystore", "sealed", "--key-file", ts.MkAbs("home/tokend.key")))
		}
		s.start(ts)
	case "stop":
		ts.Check(s.daemon.Process.Signal(syscall.SIGTERM))
		err := s.daemon.Wait()
		s.daemon = nil
		ts.Check(err)
	case "kill":
		ts.Check(s.daemon.Process.Kill())
		_ = s.daemon.Wait()
		s.daemon = nil
	case "hangup":
		ts.Check(s.daemon.Process.Signal(syscall.SIGHUP))
	default:
		ts.Fatalf("usage: daemon start|stop|kill|hangup")
	}
}

func (s *stage) start(ts *testscript.TestScript) {
	log, err := os.OpenFile(ts.MkAbs("tokend.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	s.daemon = command(ts, "tokend", "run")
	s.daemon.Stderr = log
	ts.Check(s.daemon.Start())
	client := ipc.Client{Socket: ts.Getenv("SOCKET")}
	for begin := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		_, err := client.Status(context.Background())
		if err == nil {
			return
		}
		if time.Since(begin) > 20*time.Second {
			ts.Fatalf("tokend does not answer: %v\n%s", err, ts.ReadFile("tokend.log"))
		}
	}
}

// command is a program with the script's environment, found in the script's $PATH by
// env(1).
func command(ts *testscript.TestScript, name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/usr/bin/env", append([]string{name}, args...)...)
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"PATH", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "XDG_DATA_HOME", "SSL_CERT_FILE"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	return cmd
}

// ends STATUS PROGRAM ARGS…: a program that must end with the exit status.
func cmdEnds(ts *testscript.TestScript, _ bool, args []string) {
	status := "0"
	if exit, ok := errors.AsType[*exec.ExitError](ts.Exec(args[1], args[2:]...)); ok {
		status = strconv.Itoa(exit.ExitCode())
	}
	if status != args[0] {
		ts.Fatalf("it ended with status %s", status)
	}
}

// storm N STATUS ARGS…: N tokenctl processes at once, all of which must end
// with the exit status.
func cmdStorm(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	var callers sync.WaitGroup
	others := make(chan string, n)
	for range n {
		cmd := command(ts, "tokenctl", args[2:]...)
		callers.Go(func() {
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
				others <- fmt.Sprintf("%v: %s", err, out)
			}
		})
	}
	callers.Wait()
	if len(others) > 0 {
		ts.Fatalf("%d of %d, such as: %s", len(others), n, <-others)
	}
}

// eventually CMD ARGS…: a program that must succeed (with !, fail) within 15
// seconds.
func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	var last []byte
	for begin := time.Now(); time.Since(begin) < 15*time.Second; time.Sleep(20 * time.Millisecond) {
		out, err := command(ts, args[0], args[1:]...).CombinedOutput()
		if (err == nil) != neg {
			return
		}
		last = out
	}
	ts.Fatalf("%s did not happen: %s", strings.Join(args, " "), last)
}

// api ISSUER FILE: the issuer's API takes the token in FILE (stdout and stderr
// of the last command too).
func cmdAPI(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	url := map[string]string{
		"clms": s.issuers.CLMS().APIURL(), "azure": s.issuers.Azure().APIURL(), "aspose": s.issuers.Aspose().APIURL(),
	}[args[0]]
	text := strings.TrimSpace(ts.ReadFile(args[1]))
	s.canaries = append(s.canaries, text)
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	ts.Check(err)
	request.Header.Set("Authorization", "Bearer "+text)
	client, err := trusting(s.issuers.CertPEM())
	ts.Check(err)
	answer, err := client.Do(request)
	ts.Check(err)
	answer.Body.Close()
	if (answer.StatusCode == http.StatusOK) == neg {
		ts.Fatalf("the API answers %s", answer.Status)
	}
}

// datarock: register EMAIL FILE | accepted N.
func cmdDatarock(ts *testscript.TestScript, neg bool, args []string) {
	d := stageOf(ts).issuers.Datarock()
	switch {
	case len(args) == 3 && args[0] == "register":
		ts.Check(d.Register(args[1], ts.ReadFile(args[2])))
	case len(args) == 2 && args[0] == "accepted":
		if fmt.Sprint(d.Accepted()) == args[1] == neg {
			ts.Fatalf("accepted %d requests; the last refusal: %q", d.Accepted(), d.Refusal())
		}
	default:
		ts.Fatalf("usage: datarock register EMAIL FILE | accepted N")
	}
}

// apitoken [-consent] DSI FILE: a dataspace's API token for a data source, or a
// consent token.
func cmdAPIToken(ts *testscript.TestScript, _ bool, args []string) {
	make := stageOf(ts).issuers.Dataspace().NewToken
	if args[0] == "-consent" {
		args = args[1:]
		make = func(dsi string) (string, error) { return stageOf(ts).issuers.Dataspace().NewConsent(dsi, nil) }
	}
	text, err := make(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text+"\n"), 0o600))
}

// nosecrets: searches all files of the script, but those in in/, and the
// processes' arguments and environments, for the secrets that were used.
func cmdNoSecrets(ts *testscript.TestScript, _ bool, _ []string) {
	s := stageOf(ts)
	if len(s.canaries) < 5 {
		ts.Fatalf("only %d secrets to look for", len(s.canaries))
	}
	find := func(where string, content []byte) {
		for _, canary := range s.canaries {
			if bytes.Contains(content, []byte(canary)) {
				ts.Fatalf("%s holds a secret: %q", where, canary)
			}
		}
	}
	files := 0
	ts.Check(filepath.WalkDir(ts.Getenv("WORK"), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path == ts.MkAbs("in"):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		find(path, content)
		files++
		return err
	}))
	if files < 5 {
		ts.Fatalf("only %d files searched", files)
	}
	if s.daemon != nil {
		for _, name := range []string{"cmdline", "environ"} {
			content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.daemon.Process.Pid, name))
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				ts.Fatalf("%v", err)
			}
			find("/proc "+name, content)
		}
	}
}

// trusting is a client that trusts one authority.
func trusting(ca []byte) (*http.Client, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("no certificate in it")
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}, nil
}
