package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// curlOptions are the options of the installed curl: it changes with every
// release, and an option that is mistaken for a URL, or a URL for an option's
// value, would be a URL that nobody checks.
type curlOptions struct {
	// valued has the long names, and whether a value follows.
	valued map[string]bool
	// short has the long name for each letter.
	short map[byte]string
}

// curlOptionsOf asks curl for its options.
func curlOptionsOf(ctx context.Context, program string) (curlOptions, error) {
	help, err := exec.CommandContext(ctx, program, "-q", "--help", "all").Output()
	options := parseCurlHelp(string(help))
	// 7.88 is the first to have this option.
	if _, recent := options.valued["http3-only"]; err != nil || !recent {
		return curlOptions{}, usage("%s is no curl, or one before 7.88, which is too old", program)
	}
	return options, nil
}

// parseCurlHelp reads lines such as " -o, --output <file> Write to file".
func parseCurlHelp(help string) curlOptions {
	options := curlOptions{map[string]bool{}, map[byte]string{}}
	for line := range strings.Lines(help) {
		fields := strings.Fields(line)
		letter := byte(0)
		if len(fields) > 1 && len(fields[0]) == 3 && fields[0][0] == '-' && fields[0][2] == ',' {
			letter, fields = fields[0][1], fields[1:]
		}
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "--") {
			continue
		}
		name := fields[0][2:]
		options.valued[name] = len(fields) > 1 && strings.ContainsRune("<[", rune(fields[1][0]))
		if letter != 0 {
			options.short[letter] = name
		}
	}
	return options
}

// find looks an option up by its full name. Those without a value can have "no-"
// before the name, or lack it if it is part of the name.
func (o curlOptions) find(name string) (valued, ok bool) {
	if valued, ok = o.valued[name]; ok {
		return valued, true
	}
	if bare, cut := strings.CutPrefix(name, "no-"); cut {
		valued, ok = o.valued[bare]
	} else {
		valued, ok = o.valued["no-"+name]
	}
	return false, ok && !valued
}

// A curlOption is an option on curl's command line, by its long name.
type curlOption struct{ name, value string }

// A curlCall is a command line of curl, understood.
type curlCall struct {
	args    []string
	rest    []string // args without the URLs
	options []curlOption
	urls    []string
}

// readCurlCall reads a command line as curl does, and refuses what could send
// a credential to where it does not belong.
func readCurlCall(options curlOptions, args []string) (curlCall, error) {
	call := curlCall{args: args}
	for at := 0; at < len(args); {
		arg := args[at]
		var took int
		var err error
		switch {
		case arg == "--":
			call.urls = append(call.urls, args[at+1:]...)
			took = len(args) - at
		case !strings.HasPrefix(arg, "-"):
			call.urls = append(call.urls, arg)
			took = 1
		case strings.HasPrefix(arg, "--"):
			took, err = call.readLong(options, args[at:])
		default:
			took, err = call.readShort(options, args[at:])
		}
		if err != nil {
			return curlCall{}, err
		}
		at += took
	}
	return call, call.check()
}

// readLong reads the long option that args begin with, and tells how many of
// args it is.
func (c *curlCall) readLong(options curlOptions, args []string) (int, error) {
	name := args[0][2:]
	valued, ok := options.find(name)
	switch {
	case !ok:
		return 0, usage("the installed curl has no option --%s; options have to be written in full, their values apart", name)
	case !valued:
		c.options = append(c.options, curlOption{name: name})
		c.rest = append(c.rest, args[0])
		return 1, nil
	case len(args) == 1:
		return 0, usage("curl's option --%s needs a value", name)
	case name == "url":
		c.urls = append(c.urls, args[1])
		return 2, nil
	}
	c.options = append(c.options, curlOption{name, args[1]})
	c.rest = append(c.rest, args[:2]...)
	return 2, nil
}

// readShort reads the letters that args begin with: -sSo FILE, -oFILE.
func (c *curlCall) readShort(options curlOptions, args []string) (int, error) {
	letters := args[0][1:]
	if letters == "" {
		return 0, usage("curl's command line has a - that is no option")
	}
	for i := range len(letters) {
		name, ok := options.short[letters[i]]
		value := letters[i+1:]
		switch {
		case !ok:
			return 0, usage("the installed curl has no option -%c", letters[i])
		case !options.valued[name]:
			c.options = append(c.options, curlOption{name: name})
		case value != "":
			c.options = append(c.options, curlOption{name, value})
			c.rest = append(c.rest, args[0])
			return 1, nil
		case len(args) == 1:
			return 0, usage("curl's option -%c needs a value", letters[i])
		default:
			c.options = append(c.options, curlOption{name, args[1]})
			c.rest = append(c.rest, args[:2]...)
			return 2, nil
		}
	}
	c.rest = append(c.rest, args[0])
	return 1, nil
}

// has tells whether one of the options is there.
func (c curlCall) has(names ...string) bool {
	return slices.ContainsFunc(c.options, func(o curlOption) bool { return slices.Contains(names, o.name) })
}

func (c curlCall) follows() bool { return c.has("location", "follow") }

func (c curlCall) hasOutputFile() bool { return c.has("output", "remote-name", "remote-name-all") }

// check refuses what could send a credential to where it does not belong.
func (c curlCall) check() error {
	for _, o := range c.options {
		if why := refusal(o); why != "" {
			return usage("--%s is refused: %s", o.name, why)
		}
		if slices.ContainsFunc(fileNames(o.value), isOurDescriptor) {
			return usage("--%s %s is refused: the descriptors 3 and 4 are taken; use a higher one", o.name, o.value)
		}
	}
	if len(c.urls) == 0 {
		return usage("there is no URL for curl")
	}
	for _, target := range c.urls {
		if strings.ContainsAny(withoutIPv6(target), "{}[]") && !c.has("globoff") {
			return usage("%q would be several URLs, which is left out here; if the brackets are part of it, add -g", target)
		}
	}
	if c.plain() && c.has("connect-to", "resolve") {
		return usage("--connect-to and --resolve are refused for http: without TLS, nothing tells who answers there")
	}
	return c.checkHeader("Host")
}

// plain tells of URLs without TLS.
func (c curlCall) plain() bool {
	return slices.ContainsFunc(c.urls, func(s string) bool { return strings.HasPrefix(strings.ToLower(s), "http:") })
}

// withoutIPv6 is a URL without the address in brackets that its host can be.
func withoutIPv6(target string) string {
	before, after, ok := strings.Cut(target, "://[")
	_, path, closed := strings.Cut(after, "]")
	if !ok || !closed {
		return target
	}
	return before + path
}

// refusal says why an option cannot be used with a credential of ours, "" if it
// can.
func refusal(o curlOption) string {
	switch o.name {
	case "config":
		return "what is in the file cannot be checked before the credential is sent; write its options here"
	case "next":
		return "each URL would have options of its own; call tokenctl curl once for each"
	case "location-trusted":
		return "it sends the credential to every host that a redirect names; use -L"
	case "insecure":
		return "it sends the credential to whoever answers; name the server's certificate with --cacert"
	case "request-target":
		return "another path is requested than the URL's, which is the one that is checked"
	case "no-globoff":
		return "a URL is one URL here"
	case "proto-redir":
		if !slices.Contains([]string{"=https", "=http,https", "=https,http"}, o.value) {
			return "redirects stay with http and https; =https can be set"
		}
	case "libcurl":
		return "it writes the credential to a file"
	case "help", "manual", "version":
		return "it makes no request; ask curl itself"
	case "user", "oauth2-bearer", "netrc", "netrc-file", "netrc-optional", "anyauth", "digest", "ntlm", "ntlm-wb", "negotiate", "aws-sigv4":
		return "the credential of the request is the profile's"
	}
	return ""
}

// checkHeader refuses a header of the person's that would change who reads the
// credential, or be a second credential.
func (c curlCall) checkHeader(name string) error {
	for _, o := range c.options {
		end := strings.IndexAny(o.value, ":;")
		if o.name == "header" && end >= 0 && strings.EqualFold(strings.TrimSpace(o.value[:end]), name) {
			return usage("-H %s is refused: tokenctl and curl set this header themselves", name)
		}
	}
	return nil
}

// checkSigned refuses what would make curl request another URL than the one
// that is signed.
func (c curlCall) checkSigned() error {
	switch {
	case len(c.urls) > 1:
		return usage("a signature is for one URL; call tokenctl curl once for each")
	case c.has("get"):
		return usage("--get is refused: it changes the URL after it was signed; write the query into the URL")
	case c.has("url-query"):
		return usage("--url-query is refused: it changes the URL after it was signed; write the query into the URL")
	case c.has("upload-file"):
		return usage("--upload-file is refused: it can change the URL after it was signed; use -X PUT --data-binary @FILE")
	case c.follows():
		return usage("--location is refused: the signature is for no other URL; request the URL that the service redirects to")
	}
	return nil
}

// config is the beginning of curl's configuration, with the lines that hold the
// credential. Options on the command line come after it.
func (c curlCall) config(credential []byte) []byte {
	lines := "globoff\nproto-redir = \"=http,https\"\n"
	if c.plain() {
		lines += "noproxy = \"*\"\n" // loopback is this machine's; a proxy would read along
	}
	return append([]byte(lines), credential...)
}

// holdsErrors tells whether all that curl can say on stderr is an error at the
// end, which is held back with the answer that it is about.
func (c curlCall) holdsErrors() bool {
	return c.has("fail", "fail-with-body") && c.has("silent") && !c.has("verbose")
}

// repeatable tells whether the same command line makes the same request again,
// and leaves nothing of the first answer.
func (c curlCall) repeatable() bool {
	if len(c.urls) != 1 || c.has("dump-header", "remote-header-name", "no-clobber", "skip-existing", "stderr", "trace", "trace-ascii") {
		return false
	}
	return !slices.ContainsFunc(c.options, curlOption.readsOnce)
}

// readsOnce tells of an option that may have curl read what can be read only
// once: stdin, or a pipe. Seeing one where there is none does no harm.
func (o curlOption) readsOnce() bool {
	switch o.name {
	case "output", "cookie-jar", "etag-save", "data-raw", "form-string":
		return false
	case "data", "data-ascii", "data-binary", "json":
		if !strings.HasPrefix(o.value, "@") {
			return false
		}
	case "upload-file":
		if o.value == "." || strings.ContainsAny(o.value, "{[") {
			return true
		}
	}
	return slices.ContainsFunc(fileNames(o.value), func(name string) bool {
		if name == "-" {
			return true
		}
		f, err := os.Stat(name)
		return err == nil && !f.Mode().IsRegular() && !f.IsDir()
	})
}

// fileNames are the parts of an option's value that could be files: FILE,
// @FILE, NAME@FILE, NAME=@FILE;type=T, NAME=<FILE, NAME=@FILE,FILE.
func fileNames(value string) []string {
	names := strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune("@<=,;\"", r) })
	return append(names, value, strings.TrimPrefix(value, "@"))
}

// isOurDescriptor tells of the files through which curl and tokenctl speak.
func isOurDescriptor(name string) bool {
	n, ok := strings.CutPrefix(name, "/dev/fd/")
	if !ok {
		n, ok = strings.CutPrefix(name, "/proc/self/fd/")
	}
	return ok && (n == "3" || n == "4")
}
