package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// A curlCall is a call of curl with a profile's credential.
type curlCall struct {
	*ui.Env
	profile   token.ProfileStatus
	options   []curlOption
	urls      []string
	signals   <-chan os.Signal
	interrupt func() // called at a signal
}

// Curl runs curl with the credential of a profile. The error is a *ui.Exit with
// curl's status if curl does not succeed.
func Curl(ctx context.Context, e *ui.Env, profile string, args []string) error {
	if runtime.GOOS == "windows" {
		return cli.Usage("on Windows, tokenctl cannot pass curl a credential unseen; use tokenctl get NAME -o curl | curl -K - URL")
	}
	signals, stop := catchSignals()
	defer stop()
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	p, err := e.ProfileStatus(ctx, profile)
	if err != nil {
		return err
	}
	if p.Does != "mints" && p.Does != "signs" {
		return cli.Usage("the profile %s verifies tokens; it has no credential to send", profile)
	}
	c := &curlCall{Env: e, profile: p, signals: signals, interrupt: interrupt}
	if err := c.parse(args); err != nil {
		return err
	}
	if p.Does == "signs" {
		return dieAlike(c.signed(ctx))
	}
	return dieAlike(c.withToken(ctx))
}

// signed makes one request for the URL in the form that was signed.
func (c *curlCall) signed(ctx context.Context) error {
	var signed token.Signed
	err := c.Ask(ctx, func(ctx context.Context, d *ipc.Client) (err error) {
		signed, err = d.Sign(ctx, c.profile.Name, token.Request{URL: c.urls[0]})
		return err
	})
	if err == nil {
		err = c.checkURL(signed.URL)
	}
	if err != nil {
		return err
	}
	if signed.Warning != "" {
		c.Note("Warning: " + ui.Printable(signed.Warning))
	}
	c.urls[0] = signed.URL
	lines := "path-as-is\n"
	for _, h := range signed.Headers {
		lines += "header = " + format.CurlQuote(h.Name+": "+h.Value.Reveal()) + "\n"
	}
	return c.run(lines, nil)
}

// withToken makes requests with a token, and makes the request again with a
// new one if the API refuses that token.
func (c *curlCall) withToken(ctx context.Context) error {
	t, err := getToken(ctx, c.Env, c.profile.Name, token.Query{})
	if err != nil {
		return err
	}
	if !c.isRepeatable() {
		return c.send(t, nil)
	}
	var next token.Grant
	err = c.send(t, func() bool {
		next = c.replace(ctx, t)
		return !next.Secret.IsZero()
	})
	if next.Secret.IsZero() || ctx.Err() != nil {
		return err
	}
	return c.send(next, nil)
}

func (c *curlCall) send(t token.Grant, refused func() bool) error {
	lines, err := format.Curl(t, time.Now())
	if err != nil {
		return err
	}
	return c.run(string(lines), refused)
}

// replace has tokend drop a token that the API refused, and gets another: the
// zero Grant if there is none.
func (c *curlCall) replace(ctx context.Context, old token.Grant) (next token.Grant) {
	err := c.Ask(ctx, func(ctx context.Context, d *ipc.Client) error {
		err := d.Invalidate(ctx, c.profile.Name, old.Secret)
		if err == nil {
			next, err = d.Get(ctx, c.profile.Name, token.Query{})
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		c.Note("Warning: the API refused the token, and there is no other: " + ui.Printable(err.Error()))
	}
	if err != nil || ctx.Err() != nil || next.Secret.Equal(old.Secret) {
		return token.Grant{}
	}
	return next
}

// run runs curl with configuration lines that hold the credential. With refused,
// it holds back what curl writes until the status of the answer is known: when
// that is a 401 (RFC 6750 §3.1) and refused returns true, nothing is shown.
//
// The credential is a header line: curl drops that at a redirect to another
// host, and has sent what --oauth2-bearer says to servers of other protocols.
func (c *curlCall) run(lines string, refused func() bool) error {
	config, configEnd, err := os.Pipe()
	headers, headersEnd, failed := os.Pipe()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	// -q has to come first: then curl does not read ~/.curlrc.
	cmd := exec.Command("curl", append([]string{"-q", "-K", "/dev/fd/3"}, c.args()...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = c.In, c.Out.W, c.Err.W, []*os.File{config, headersEnd}
	lines += "globoff\nproto-redir = \"=http,https\"\n"
	if slices.ContainsFunc(c.urls, func(u string) bool { return strings.HasPrefix(u, "http:") }) {
		lines += "noproxy = \"*\"\n" // a proxy would read along
	}
	decided := make(chan struct{})
	out, errs := &held{c.Out.W, decided}, &held{c.Err.W, decided}
	if refused != nil {
		lines += "dump-header = \"/dev/fd/4\"\nsuppress-connect-headers\nno-buffer\n"
		if ui.IsTerminal(c.Out.W) && !c.has("output", "remote-name", "remote-name-all") {
			lines += "no-progress-meter\n" // as curl does on a terminal
		}
		if cmd.Stdout = out; c.has("silent") && !c.has("verbose") { // then stderr is for an error at the end
			cmd.Stderr = errs
		}
	}
	err = cmd.Start()
	_, _ = config.Close(), headersEnd.Close()
	if err != nil {
		return fmt.Errorf("cannot run curl: %w", err)
	}
	defer forward(cmd.Process, c.signals, c.interrupt)()
	go func() { // a token can be longer than a pipe holds
		_, _ = io.WriteString(configEnd, lines)
		_ = configEnd.Close()
	}()
	if refused != nil && isUnauthorized(headers) && refused() {
		out.to, errs.to = io.Discard, io.Discard
		_ = cmd.Process.Kill()
	}
	close(decided)
	go func() { _, _ = io.Copy(io.Discard, headers) }()
	return wait(cmd)
}

// held is a writer that waits until it is decided where the text goes.
type held struct {
	to      io.Writer
	decided <-chan struct{}
}

func (h *held) Write(b []byte) (int, error) {
	<-h.decided
	return h.to.Write(b)
}

// isUnauthorized reports whether the first answer in the headers is a 401. A
// later one is of where a redirect led.
func isUnauthorized(headers io.Reader) bool {
	for in := bufio.NewScanner(headers); in.Scan(); {
		fields := strings.Fields(in.Text())
		if len(fields) > 1 && strings.HasPrefix(fields[0], "HTTP/") && !strings.HasPrefix(fields[1], "1") {
			return fields[1] == "401"
		}
	}
	return false
}
