package child

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// What follows an option of curl.
const (
	flag = iota // nothing
	text        // text, a number, or a file that curl writes
	file        // a file that curl reads
	data        // what curl sends, or reads from a file: TEXT, @FILE, NAME=@FILE
)

// curlOptions are the options that cannot make curl send a credential elsewhere,
// by letter and long name. Others are refused: curl has too many, and more with
// each release.
var curlOptions = [...]string{
	flag: `s,silent S,show-error f,fail fail-with-body i,include I,head G,get g,globoff L,location v,verbose compressed
		O,remote-name remote-name-all J,remote-header-name R,remote-time create-dirs N,no-buffer #,progress-bar
		no-progress-meter 4,ipv4 6,ipv6 http1.1 http2 tlsv1.2 tlsv1.3 retry-connrefused retry-all-errors`,
	text: `o,output output-dir D,dump-header c,cookie-jar etag-save X,request H,header A,user-agent e,referer r,range
		C,continue-at z,time-cond m,max-time connect-timeout max-redirs max-filesize limit-rate retry retry-delay
		retry-max-time y,speed-time Y,speed-limit x,proxy pinnedpubkey cert-type key-type url`,
	file: `T,upload-file b,cookie etag-compare cacert capath E,cert key`,
	data: `d,data data-ascii data-binary data-raw data-urlencode url-query json F,form form-string w,write-out`,
}

// A curlCall is a call of curl with a profile's credential.
type curlCall struct {
	*ui.Env
	profile   token.ProfileStatus
	names     []string // of the options, long ones, which curl reads in one way
	args      []string // the options
	urls      []string
	refused   string // an option that is not passed on
	plain     bool   // a URL is not https
	reads     bool   // an option reads stdin or a pipe
	signals   <-chan os.Signal
	interrupt func() // called at a signal
}

// Curl runs curl with the credential of the profile of e, or else of one that the first
// URL is for. The error is a *ui.Exit with curl's status if curl does not succeed.
func Curl(ctx context.Context, e *ui.Env, args []string) error {
	if runtime.GOOS == "windows" {
		return cli.Usage("on Windows, tokenctl cannot pass curl a credential unseen; use tokenctl get NAME -o curl | curl.exe -K - URL")
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // does not end tokenctl, as it does not end curl
	signals, stop := catchSignals()
	defer stop()
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	st, err := e.State(ctx)
	if err != nil {
		return err
	}
	c := &curlCall{Env: e, signals: signals, interrupt: interrupt}
	if err := cmp.Or(c.parse(args), c.pick(st.Profiles), c.check()); err != nil {
		return err
	}
	if c.profile.Does == "signs" {
		return dieAlike(c.signed(ctx))
	}
	return dieAlike(c.withToken(ctx))
}

// parse reads a command line of curl.
func (c *curlCall) parse(args []string) error {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			c.urls = append(c.urls, args...)
			return nil
		}
		if !strings.HasPrefix(arg, "-") {
			c.urls = append(c.urls, arg)
			continue
		}
		if len(arg) > 2 && arg[1] != '-' { // letters such as -sSo
			rest := arg[2:]
			if _, kind := findOption(arg[:2]); kind <= flag {
				rest = "-" + rest
			}
			arg, args = arg[:2], append([]string{rest}, args...)
		}
		name, kind := findOption(arg)
		switch {
		case kind < 0:
			c.refused = arg
			return nil
		case kind > flag && len(args) == 0:
			return cli.Usage("curl's option %s needs a value", arg)
		}
		values := args[:min(kind, 1)]
		args = args[len(values):]
		if name == "url" {
			c.urls = append(c.urls, values...)
			continue
		}
		c.names, c.args = append(c.names, name), append(append(c.args, "--"+name), values...)
		for _, value := range values {
			if err := checkValue(name, kind, value); err != nil {
				return err
			}
			c.reads = c.reads || kind >= file && readsOnce(value)
		}
	}
	return nil
}

// pick takes the profile, or the resource of one, whose hosts cover the first URL most
// closely; if none does, the profile that is named.
func (c *curlCall) pick(profiles []token.ProfileStatus) (err error) {
	target, best := append(c.urls, "")[0], ""
	if c.Profile != "" {
		c.profile = profiles[0]
	} else {
		missing := &token.Error{Code: token.ErrNotFound, Field: "url", Message: "no profile covers " + target}
		if err = missing; token.HasOwnPermission(target) {
			missing.Detail = token.OwnPermission
		}
	}
	for _, p := range profiles {
		own := token.ResourceStatus{Hosts: p.Hosts, Present: p.Present, SecondHeader: p.SecondHeader}
		for _, r := range append([]token.ResourceStatus{own}, p.Resources...) {
			p := p
			p.Name, p.Hosts, p.Present, p.SecondHeader = token.WithResource(p.Name, r.Name), r.Hosts, r.Present, r.SecondHeader
			switch h := token.MatchHost(r.Hosts, target); {
			case len(h) > len(best):
				c.profile, best, err = p, h, nil
			case h != "" && len(h) == len(best):
				err = cli.Usage("%s and %s both cover %s; name one, or take it out of the hosts of one", c.profile.Name, p.Name, h)
			}
		}
	}
	return err
}

// refuse is the error for an option that is not passed on.
func (c *curlCall) refuse(option string) error {
	command := "get " + c.profile.Name
	if c.profile.SecondHeader != "" {
		command += " --second-header"
	}
	if c.profile.Does == "signs" {
		command = "sign " + c.profile.Name + " URL"
	}
	return cli.Usage("tokenctl curl does not pass on %s, which could lead the credential past the profile's hosts. "+
		"To run curl yourself: curl -K <(tokenctl %s -o curl) %s ...", option, command, option)
}

// findOption finds an option as it is typed: --data, or -d. The kind is negative if
// there is no such one.
func findOption(typed string) (long string, kind int) {
	for kind, names := range curlOptions {
		for entry := range strings.FieldsSeq(names) {
			name := entry[strings.Index(entry, ",")+1:]
			if typed == "--"+name || typed+","+name == "-"+entry {
				return name, kind
			}
		}
	}
	return "", -1
}

// config adds to the configuration lines of a credential those that keep it in its
// place. curl drops it at a redirect to another host, but before 7.83 not at one to
// another port or to plain http (CVE-2022-27774): such a one fails.
func (c *curlCall) config(lines []byte) []byte {
	lines = append(lines, "globoff\n"...)
	if agent := c.profile.Settings.Text("user_agent"); agent != "" && !c.has("user-agent") {
		lines = append(lines, "user-agent = "+format.CurlQuote(agent)+"\n"...) // --header counts more
	}
	if c.plain {
		lines = append(lines, "noproxy = \"*\"\n"...) // a proxy would read along
	}
	if !c.has("location") {
		return lines
	}
	schemes, others := "=http,https", ""
	for _, target := range c.urls {
		scheme, place, _ := strings.Cut(token.Origin(target), "://")
		if scheme == "https" {
			schemes = "=https"
		}
		lines = append(lines, "connect-to = "+format.CurlQuote(place+":"+place)+"\n"...)
		host := place[:strings.LastIndexByte(place, ':')]
		for _, spelling := range []string{host, host + "."} {
			others += "connect-to = " + format.CurlQuote(spelling+"::redirect-to-another-port.invalid:0") + "\n"
		}
	}
	return append(lines, others+"proto-redir = "+format.CurlQuote(schemes)+"\n"...) // the first that fits counts
}

func (c *curlCall) has(names ...string) bool {
	return slices.ContainsFunc(c.names, func(name string) bool { return slices.Contains(names, name) })
}

// check refuses what could send the credential to where it does not belong.
func (c *curlCall) check() (err error) {
	switch does := c.profile.Does; {
	case c.refused != "":
		return c.refuse(c.refused)
	case does == "verifies":
		return cli.Usage("the profile %s verifies tokens; it has no credential to send", c.profile.Name)
	case len(c.urls) == 0:
		return cli.Usage("there is no URL for curl")
	case does == "signs" && (len(c.urls) > 1 || c.has("get", "url-query", "upload-file", "location")):
		return cli.Usage("a signature is for one URL: a second one, --get, --url-query, --upload-file or --location would send another")
	}
	for _, target := range c.urls {
		err = cmp.Or(err, c.checkURL(target))
	}
	return err
}

// checkValue refuses a value that does more than its option says.
func checkValue(name string, kind int, value string) error {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_." // of methods and headers
	isControl := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	header := value[:max(0, strings.IndexAny(value, ":;"))]
	switch {
	case kind != data && strings.ContainsFunc(value, isControl):
		return cli.Usage("the value of --%s has a control character in it", name)
	case name == "request" && strings.Trim(value, letters) != "":
		return cli.Usage("--request takes the name of a method")
	case name == "upload-file" && value != "." && !token.Covers([]string{"https://x"}, "https://x/"+url.PathEscape(value[strings.LastIndexAny(value, `/\`)+1:])):
		return cli.Usage("--upload-file %s: curl would add that name to the URL", value) // and leave its path
	case name == "header" && (header == "" || strings.Trim(header, letters) != ""):
		return cli.Usage("--header takes NAME: VALUE here, not a file")
	case name == "header" && slices.Contains([]string{"authorization", "host"}, strings.ToLower(header)):
		return cli.Usage("--header %s is refused: tokenctl and curl set this header themselves", header)
	}
	return nil
}

// readsOnce reports whether something in a value may be stdin or a pipe, which
// another run of curl would find empty.
func readsOnce(value string) bool {
	isSeparator := func(r rune) bool { return strings.ContainsRune("@<=,;\"", r) }
	return slices.ContainsFunc(strings.FieldsFunc(value, isSeparator), func(name string) bool {
		f, err := os.Stat(name)
		return name == "-" || name == "." || err == nil && !f.Mode().IsRegular() && !f.IsDir()
	})
}

// checkURL refuses a URL that the credential is not for, or a redirect from it.
func (c *curlCall) checkURL(target string) error {
	p := c.profile
	if _, err := token.ParseURL(target); err != nil {
		return cli.Usage("the credential of %s cannot go there: %v; write the whole URL, https://...", p.Name, err)
	}
	c.plain = c.plain || strings.HasPrefix(strings.ToLower(target), "http:")
	_, hasHeader := p.Present.Header() // curl drops no such header at a redirect
	switch origin := strings.Join(strings.SplitN(target, "/", 4)[:3], "/"); {
	case !token.Covers(p.Hosts, target) && token.HasOwnPermission(target):
		return cli.Usage("this link carries its own permission and takes no token; download it with plain curl")
	case !token.Covers(p.Hosts, target):
		return cli.Usage("%s is not among the hosts of %s, so its credential does not go there; to allow it, set hosts = [..., %q] in %s and run tokenctl reload",
			origin, p.Name, origin, p.File)
	case c.has("location") && (hasHeader || p.SecondHeader != "" || !token.Covers(p.Hosts, origin+"/")):
		return cli.Usage("with --location, a redirect could lead the credential past the hosts of %s; request the URL that it redirects to", p.Name)
	}
	return nil
}

// signed makes one request for the URL in the form that was signed.
func (c *curlCall) signed(ctx context.Context) error {
	signed, err := Sign(ctx, c.Env, c.profile.Name, c.urls[0])
	if err = cmp.Or(err, c.checkURL(signed.URL)); err != nil {
		return err
	}
	c.urls = nil
	lines, err := SignedLines(signed)
	if err != nil {
		return err
	}
	return c.run(lines, nil)
}

// Sign asks for a signed request, and warns where tokend does.
func Sign(ctx context.Context, e *ui.Env, profile, target string) (token.Signed, error) {
	signed, err := ui.Ask(ctx, e, func(d *ipc.Client, ctx context.Context) (token.Signed, error) {
		return d.Sign(ctx, profile, token.Request{URL: target})
	})
	if signed.Warning != "" {
		e.Note("Warning: " + ui.Printable(signed.Warning))
	}
	return signed, err
}

// SignedLines is a signed request for curl -K. It has curl send the URL as it is,
// because no other one is signed: no globbing, no squashing of dot segments.
func SignedLines(s token.Signed) ([]byte, error) {
	if strings.ContainsFunc(s.URL, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, &token.Error{Code: token.ErrInternal, Cause: format.ErrUnfit,
			Message: "the URL holds characters that do not belong in one; only -o json can write it"}
	}
	lines := "globoff\npath-as-is\nurl = " + format.CurlQuote(s.URL) + "\n"
	for _, h := range s.Headers {
		lines += "header = " + format.CurlQuote(h.Name+": "+h.Value.Reveal()) + "\n"
	}
	return []byte(lines), nil
}

// withToken makes requests with a token. If the API refuses that token, it makes
// the request again with a new one.
func (c *curlCall) withToken(ctx context.Context) error {
	t, err := GetToken(ctx, c.Env, c.profile.Name, token.Query{Second: c.profile.SecondHeader != ""}, ui.Patience)
	if err != nil {
		return err
	}
	lines, err := format.Curl(t, time.Now())
	if err != nil {
		return err
	}
	// A second request must be the same, and nothing may be left of the first answer.
	if c.reads || len(c.urls) > 1 || c.has("dump-header", "remote-header-name", "continue-at") {
		return c.run(lines, nil)
	}
	return c.run(lines, func() []byte { return c.replace(ctx, t) })
}

// replace has tokend drop a token that the API refused, and returns the lines
// for curl of another, if there is one.
func (c *curlCall) replace(ctx context.Context, old token.Grant) (lines []byte) {
	next, err := ui.Ask(ctx, c.Env, func(d *ipc.Client, ctx context.Context) (token.Grant, error) {
		if err := d.Invalidate(ctx, c.profile.Name, old.Secret); err != nil {
			return old, err
		}
		return d.Get(ctx, c.profile.Name, token.Query{Second: c.profile.SecondHeader != ""})
	})
	if err == nil && !next.Secret.Equal(old.Secret) {
		lines, err = format.Curl(next, time.Now())
	}
	if err != nil && ctx.Err() == nil {
		c.Note("Warning: the API refused the token, and there is no other: " + ui.Printable(err.Error()))
	}
	return lines
}

// run runs curl with configuration lines that hold the credential. With replace,
// it holds back what curl writes until the status of the answer is known: if
// that is a 401 (RFC 6750 §3.1) and replace returns other lines, it shows nothing
// and runs curl once more with these.
//
// The credential is a header line: curl drops that at a redirect to another
// host, and has sent what --oauth2-bearer says to servers of other protocols.
func (c *curlCall) run(lines []byte, replace func() []byte) error {
	config, configEnd, err := os.Pipe()
	headers, headersEnd, failed := os.Pipe()
	if err = cmp.Or(err, failed); err != nil {
		return err
	}
	lines = c.config(lines)
	// -q has to come first: then curl does not read ~/.curlrc.
	cmd := exec.Command("curl", slices.Concat([]string{"-q", "-K", "/dev/fd/3"}, c.args, []string{"--"}, c.urls)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = c.In, c.Out.W, c.Err.W, []*os.File{config, headersEnd}
	var body io.ReadCloser
	var errs bytes.Buffer
	if replace != nil {
		lines = append(lines, "dump-header = \"/dev/fd/4\"\nsuppress-connect-headers\nno-buffer\n"...)
		if ui.IsTerminal(c.Out.W) && !c.has("output", "remote-name", "remote-name-all") {
			lines = append(lines, "no-progress-meter\n"...) // as curl does on a terminal
		}
		if cmd.Stdout = nil; c.has("silent") && !c.has("verbose") { // then stderr is for an error at the end
			cmd.Stderr = &errs
		}
		body, err = cmd.StdoutPipe()
	}
	if err = cmp.Or(err, cmd.Start()); err != nil {
		return fmt.Errorf("cannot run curl: %w", err)
	}
	_, _ = config.Close(), headersEnd.Close()
	stop := forward(cmd.Process, c.signals, c.interrupt)
	go func() { // a token can be longer than a pipe holds
		_, _ = configEnd.Write(lines)
		_ = configEnd.Close()
	}()
	if replace != nil && c.isTokenRefused(headers) {
		if next := replace(); next != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			stop()
			return c.run(next, nil)
		}
	}
	defer stop()
	go func() { _, _ = io.Copy(io.Discard, headers) }()
	var unwritten error
	if body != nil {
		if _, unwritten = io.Copy(c.Out.W, body); unwritten != nil {
			_ = body.Close() // so that curl's next write fails
		}
	}
	err = wait(cmd)
	_, _ = c.Err.W.Write(errs.Bytes())
	if err == nil && unwritten != nil { // curl's status for that is 23 (CURLE_WRITE_ERROR)
		err = &ui.Exit{Status: 23, Err: fmt.Errorf("cannot write what curl received: %w", unwritten)}
	}
	return err
}

// isTokenRefused reports whether the first final answer in the headers is a 401 that
// a new token may cure. A later answer is of where a redirect led.
func (c *curlCall) isTokenRefused(headers io.Reader) bool {
	is401 := false
	for in := bufio.NewScanner(headers); in.Scan(); {
		fields := strings.Fields(in.Text())
		name, challenge, _ := strings.Cut(in.Text(), ":")
		switch {
		case is401 && len(fields) == 0:
			return true
		case is401 && strings.EqualFold(name, "WWW-Authenticate") && wantsElse(challenge):
			c.Note("Note: the API answers 401 for another reason than the token's age, so tokenctl does not ask for a new token. It says: " +
				ui.Printable(strings.TrimSpace(challenge)))
			return false
		case !is401 && len(fields) > 1 && strings.HasPrefix(fields[0], "HTTP/") && !strings.HasPrefix(fields[1], "1"):
			if is401 = fields[1] == "401"; !is401 {
				return false
			}
		}
	}
	return is401
}

// wantsElse reports whether a new token cannot meet a challenge (RFC 9110 §11.6.1),
// because that would be the same: the API wants a subscription key (Azure API
// Management), or another scope, audience or issuer (RFC 6750 §3.1, and the words
// of ASP.NET Core's and Spring's resource servers).
func wantsElse(challenge string) bool {
	text := strings.ToLower(challenge)
	_, description, _ := strings.Cut(text, "error_description=")
	words := strings.FieldsFunc(description, func(r rune) bool { return r < 'a' || r > 'z' })
	text += " " + strings.Join(words, " ") + " "
	return slices.ContainsFunc([]string{
		"subscription-key", "subscription key", "azureapimanagementkey", "insufficient_scope",
		" aud ", " audience ", " audiences ", " scope ", " scopes ", " scp ", " roles ", " iss ", " issuer ",
	}, func(part string) bool { return strings.Contains(text, part) })
}
