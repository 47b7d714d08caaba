package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

const curlHelp = `  tokenctl curl clms -- -fsS 'https://land.copernicus.eu/api/@search?b_size=5'
  tokenctl curl rock -- -o sites.json 'https://mine.datarock.com.au/some-api'

Runs curl with the credential of the profile: an access token, or a signature
for the URL. Other processes do not see it, and it goes to the profile's hosts
alone; when a redirect (-L) leads to another host, it stays behind. What stands
after NAME is for curl (7.88 or later). The exit status is curl's own.

An API that answers 401 refuses the token. tokend then drops that token, and
the request is repeated once with a new one, if it has one URL and reads
neither stdin nor a pipe. With -D, -J, --no-clobber, --skip-existing, --stderr
or --trace it is not repeated, and signed requests never are.

Left out, as they could lead the credential astray: ~/.curlrc is not read, a
URL is one URL (no {} and []), and options such as -K, -k, -u, --next and
--location-trusted are refused; a signed request also takes no -L, -G and -T.
Proxies are used as ever, but not for http, which is for loopback alone.
-v and --trace show the credential, as they do with curl.`

func (a *app) curlCommand() *cobra.Command {
	c := &cobra.Command{
		Use:                   "curl NAME [--] ARGS...",
		Short:                 "Run curl with the profile's credential",
		Long:                  curlHelp,
		DisableFlagsInUseLine: true,
		Args:                  a.profileAndMore,
		ValidArgsFunction:     a.completeProfiles,
		RunE:                  func(c *cobra.Command, args []string) error { return a.curl(c, args[0], args[1:]) },
	}
	c.Flags().SetInterspersed(false) // what follows NAME is not ours
	return c
}

// profileAndMore takes a profile's name and what curl is called with.
func (a *app) profileAndMore(_ *cobra.Command, args []string) error {
	if len(args) < 2 {
		return usage("curl takes a profile name and what to call curl with, such as a URL")
	}
	a.profile = args[0]
	return nil
}

func (a *app) curl(c *cobra.Command, name string, args []string) error {
	if args[0] == "--" {
		args = args[1:]
	}
	program, err := findCurl()
	if err != nil {
		return err
	}
	options, err := curlOptionsOf(c.Context(), program)
	if err != nil {
		return err
	}
	call, err := readCurlCall(options, args)
	if err != nil {
		return err
	}
	p, err := a.profileStatus(c, name)
	if err != nil {
		return err
	}
	if p.Does != "mints" && p.Does != "signs" {
		return usage("the profile %s judges tokens that others present; it has no credential to send", name)
	}
	for _, target := range call.urls {
		if err := checkTarget(p, target); err != nil {
			return err
		}
	}
	if p.Does == "signs" {
		err = a.curlSigned(c, program, call, p)
	} else {
		err = a.curlWithToken(c, program, call, name)
	}
	var ended childExit
	if errors.As(err, &ended) {
		ended.dieAlike()
	}
	return err
}

func findCurl() (string, error) {
	if runtime.GOOS == "windows" {
		return "", usage("curl cannot be handed a credential unseen on Windows; use tokenctl get NAME -o curl | curl -K - URL")
	}
	program, err := exec.LookPath("curl")
	if err != nil {
		return "", usage("there is no curl on the PATH")
	}
	return program, nil
}

// checkTarget refuses a URL that the profile's credential is not for.
func checkTarget(p token.ProfileStatus, target string) error {
	bare, _, _ := strings.Cut(target, "#")
	bare, _, _ = strings.Cut(bare, "?")
	if !strings.Contains(bare, "://") {
		return usage("%q does not say its scheme, and curl would guess it; write https:// before it", target)
	}
	if err := token.CheckHost(bare); err != nil {
		return usage("the credential of %s cannot go there: %v", p.Name, err)
	}
	if token.Covers(p.Hosts, target) {
		return nil
	}
	if token.Covers(p.Hosts, bare) {
		return usage("%q has a character that does not belong in a URL; write it percent-encoded", target)
	}
	var quoted []string
	for _, host := range append(slices.Clone(p.Hosts), originOf(bare)) {
		quoted = append(quoted, strconv.Quote(host))
	}
	return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
		"%s is not among the hosts of %s, so its credential does not go there; to allow it, set hosts = [%s] in %s and run tokenctl reload",
		originOf(bare), p.Name, strings.Join(quoted, ", "), p.File)}
}

// originOf is the scheme, host and port of a URL.
func originOf(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// curlSigned makes one request for the URL in the form that was signed.
func (a *app) curlSigned(c *cobra.Command, program string, call curlCall, p token.ProfileStatus) error {
	if err := call.checkSigned(); err != nil {
		return err
	}
	var signed token.Signed
	err := a.ask(c, func(ctx context.Context, d *ipc.Client) (err error) {
		signed, err = d.Sign(ctx, p.Name, token.Request{URL: call.urls[0]})
		return err
	})
	if err != nil {
		return err
	}
	if err := checkTarget(p, signed.URL); err != nil {
		return err
	}
	for _, h := range signed.Headers {
		if err := call.checkHeader(h.Name); err != nil {
			return err
		}
	}
	lines, err := formatSignedCurl(signed)
	if err != nil {
		return err
	}
	a.note(signedNotes(signed, call.urls[0], "curl"))
	stop := make(chan os.Signal, 1)
	defer catchSignals(stop)()
	t, err := a.startCurl(program, call.rest, call.config(lines), nil)
	if err != nil {
		return err
	}
	return t.wait(stop, func() {})
}

// curlWithToken makes requests with a token, and makes the request again with
// a new one if the API refuses that token.
func (a *app) curlWithToken(c *cobra.Command, program string, call curlCall, name string) error {
	t, err := a.tokenFor(c.Context(), name)
	if err != nil {
		return err
	}
	header, _, err := format.Header(t)
	if err != nil {
		return err
	}
	if err := call.checkHeader(header); err != nil {
		return err
	}
	if call.follows() && header != "Authorization" {
		return usage("--location is refused: curl would send the header %s to wherever a redirect leads; request the URL that it redirects to", header)
	}
	stop := make(chan os.Signal, 1)
	defer catchSignals(stop)()
	if call.repeatable() {
		if t, err = a.tryToken(c.Context(), stop, program, call, name, t); t.Secret.IsZero() {
			return err
		}
	}
	last, err := a.startWithToken(program, call, t, nil)
	if err != nil {
		return err
	}
	return last.wait(stop, func() {})
}

// tryToken makes the request with a token. If the API refuses it, nothing of
// the answer is shown and the token to repeat the request with is returned. The
// zero Token means that this was all; the error is then how it ended.
func (a *app) tryToken(ctx context.Context, stop <-chan os.Signal, program string, call curlCall, name string, t token.Grant) (token.Grant, error) {
	g, err := newGate(call.holdsErrors())
	if err != nil {
		return token.Grant{}, err
	}
	defer g.close()
	first, err := a.startWithToken(program, call, t, g)
	if err != nil {
		return token.Grant{}, err
	}
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	ended := make(chan error, 1)
	go func() { ended <- first.wait(stop, interrupt) }()

	var next token.Grant
	var failed error
	if refused(g.headers, call.urls[0], call.follows()) {
		next, failed = a.replace(ctx, name, t)
	}
	if !next.Secret.IsZero() && ctx.Err() == nil {
		g.open(io.Discard, io.Discard)
		if err = <-ended; ctx.Err() != nil { // a signal came in between
			return token.Grant{}, err
		}
		return next, nil
	}
	g.open(a.out.w, a.err.w)
	err = <-ended
	if failed != nil && ctx.Err() == nil {
		err = failed
	}
	return token.Grant{}, err
}

func (a *app) tokenFor(ctx context.Context, name string) (token.Grant, error) {
	d, err := a.daemon()
	if err != nil {
		return token.Grant{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer a.progress("Waiting for a token").end()
	return d.Get(ctx, name, token.Query{})
}

// replace has tokend drop a token that the API refused, and gets another: the
// zero Token if there is no other.
func (a *app) replace(ctx context.Context, name string, old token.Grant) (token.Grant, error) {
	d, err := a.daemon()
	if err != nil {
		return token.Grant{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.Invalidate(ctx, name, old.Secret); err != nil {
		return token.Grant{}, err
	}
	t, err := d.Get(ctx, name, token.Query{})
	if err != nil || t.Secret.Equal(old.Secret) {
		return token.Grant{}, err
	}
	return t, nil
}

// startWithToken starts curl with a token. The token stands in a header line
// of its own: curl drops that at a redirect to another host, and has at times
// sent what --oauth2-bearer says to servers of other protocols.
func (a *app) startWithToken(program string, call curlCall, t token.Grant, g *gate) (*transfer, error) {
	line, err := format.Curl(t, time.Now())
	if err != nil {
		return nil, err
	}
	config := call.config(line)
	if g != nil {
		config = append(config, g.config(isTerminal(a.out.w), call.hasOutputFile())...)
	}
	return a.startCurl(program, call.args, config, g)
}

// A transfer is one run of curl.
type transfer struct{ cmd *exec.Cmd }

// startCurl starts curl with a configuration that only curl can read, which
// comes before args. With a gate, curl's output goes there.
func (a *app) startCurl(program string, args []string, config []byte, g *gate) (*transfer, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()
	// -q has to come first: then curl does not read ~/.curlrc.
	cmd := exec.Command(program, append([]string{"-q", "-K", "/dev/fd/3"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.out.w, a.err.w
	cmd.ExtraFiles = []*os.File{read}
	if g != nil {
		g.attach(cmd)
	}
	if err := cmd.Start(); err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("curl cannot be run: %w", err)
	}
	if g != nil {
		g.started()
	}
	// A token can be longer than a pipe holds. If curl does not read it all,
	// curl says why.
	go func() {
		_, _ = write.Write(config)
		_ = write.Close()
	}()
	return &transfer{cmd}, nil
}

// wait waits for curl's end, passing signals on to it. The error is a childExit
// if curl did not succeed.
func (t *transfer) wait(signals <-chan os.Signal, caught func()) error {
	return waitFor(t.cmd, "curl", signals, caught)
}

// A gate holds back what curl says until it is known whether the API takes the
// token. Nothing is buffered here: curl waits once a pipe is full.
type gate struct {
	headers *os.File // what curl receives, as with -D
	out     *os.File
	err     *os.File // nil if it is not held back
	theirs  []*os.File
}

func newGate(holdErrors bool) (_ *gate, err error) {
	g := &gate{}
	ours := []**os.File{&g.headers, &g.out}
	if holdErrors {
		ours = append(ours, &g.err)
	}
	for _, end := range ours {
		var w *os.File
		if *end, w, err = os.Pipe(); err != nil {
			g.close()
			return nil, err
		}
		g.theirs = append(g.theirs, w)
	}
	return g, nil
}

// attach makes cmd write to the gate.
func (g *gate) attach(cmd *exec.Cmd) {
	cmd.ExtraFiles = append(cmd.ExtraFiles, g.theirs[0])
	cmd.Stdout = g.theirs[1]
	if g.err != nil {
		cmd.Stderr = g.theirs[2]
	}
}

// config is what curl has to be told about the gate: to write the headers, but
// none of a proxy's; and, if the output is for a terminal, to behave as on one.
func (g *gate) config(terminal, toFile bool) string {
	lines := "dump-header = \"/dev/fd/4\"\nsuppress-connect-headers\n"
	if terminal {
		lines += "no-buffer\n"
	}
	if terminal && !toFile {
		lines += "no-progress-meter\n"
	}
	return lines
}

// started lets go of curl's ends of the pipes.
func (g *gate) started() {
	for _, f := range g.theirs {
		_ = f.Close()
	}
	g.theirs = nil
}

// open lets everything through, until curl has closed its ends.
func (g *gate) open(out, errs io.Writer) {
	var passing sync.WaitGroup
	pass := func(to io.Writer, from *os.File) {
		if from == nil {
			return
		}
		passing.Go(func() {
			_, _ = io.Copy(to, from)
			_ = from.Close() // if nobody reads on, curl learns it
		})
	}
	pass(io.Discard, g.headers)
	pass(out, g.out)
	pass(errs, g.err)
	passing.Wait()
}

func (g *gate) close() {
	g.started()
	for _, f := range []*os.File{g.headers, g.out, g.err} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// maxHeaders bounds how many bytes of headers are looked at. curl writes them
// to two pipes at the same time (with -i), of which the other is not read yet
// and must not become full: 16 KiB is what the smallest pipe takes.
const maxHeaders = 16<<10 - 1

// refused reads the headers that curl receives until it is clear whether the
// answer is a 401 (RFC 6750 §3.1) of the host that got the token. One of a host
// that a redirect led to says nothing: curl did not send it the token.
func refused(headers io.Reader, target string, follows bool) bool {
	at, err := url.Parse(target)
	if err != nil {
		return false
	}
	status, location := 0, ""
	for in := bufio.NewScanner(io.LimitReader(headers, maxHeaders)); in.Scan(); {
		line := strings.TrimRight(in.Text(), "\r")
		name, value, _ := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "HTTP/"):
			status, location = statusOf(line), ""
		case strings.EqualFold(name, "Location"):
			location = strings.TrimSpace(value)
		case line != "" || status < 200: // another header, or an interim answer
		case follows && status/100 == 3 && location != "":
			if at, err = at.Parse(location); err != nil {
				return false
			}
		default:
			return status == 401 && token.Covers([]string{originOf(target)}, at.String())
		}
	}
	return false
}

// statusOf is the status in a status line (RFC 9112 §4), 0 for none.
func statusOf(line string) int {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return 0
	}
	status, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return status
}
