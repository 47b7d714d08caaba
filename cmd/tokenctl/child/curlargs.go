package child

import (
	"net/url"
	"os"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/providers/token"
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

// A curlOption is an option by its long name.
type curlOption struct {
	kind        int
	name, value string
}

// findOption finds an option as it is typed: --data, or -d.
func findOption(typed string) (o curlOption, ok bool) {
	for kind, names := range curlOptions {
		for entry := range strings.FieldsSeq(names) {
			name := entry[strings.Index(entry, ",")+1:]
			if typed == "--"+name || typed+","+name == "-"+entry {
				return curlOption{kind: kind, name: name}, true
			}
		}
	}
	return o, false
}

// parse reads a command line of curl.
func (c *curlCall) parse(args []string) error {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			c.urls, args = append(c.urls, args...), nil
			continue
		case !strings.HasPrefix(arg, "-"):
			c.urls = append(c.urls, arg)
			continue
		}
		for rest := arg; rest != ""; { // a long option, or letters such as -sSo
			typed, after := rest, ""
			if !strings.HasPrefix(rest, "--") && len(rest) > 2 {
				typed, after = rest[:2], rest[2:]
			}
			o, ok := findOption(typed)
			rest = ""
			switch {
			case !ok:
				return cli.Usage("tokenctl curl does not pass on %s, which could lead the credential past the profile's hosts. "+
					"To run curl yourself: curl -K <(tokenctl get %s -o curl) %s ...", typed, c.profile.Name, typed)
			case o.kind == flag && after != "":
				rest = "-" + after
			case o.kind == flag:
			case after != "":
				o.value = after
			case len(args) == 0:
				return cli.Usage("curl's option %s needs a value", typed)
			default:
				o.value, args = args[0], args[1:]
			}
			if o.name == "url" {
				c.urls = append(c.urls, o.value)
			} else {
				c.options = append(c.options, o)
			}
		}
	}
	return c.check()
}

// args are the arguments for curl, with long names, which it reads in one way.
func (c *curlCall) args() (args []string) {
	for _, o := range c.options {
		if args = append(args, "--"+o.name); o.kind != flag {
			args = append(args, o.value)
		}
	}
	if c.has("location") {
		// Before 7.83, curl sends a header along to another port (CVE-2022-27774),
		// and does not know this option, which asks for what is the default.
		args = append(args, "--no-remove-on-error")
	}
	return append(append(args, "--"), c.urls...)
}

func (c *curlCall) has(names ...string) bool {
	return slices.ContainsFunc(c.options, func(o curlOption) bool { return slices.Contains(names, o.name) })
}

// check refuses what could send the credential to where it does not belong.
func (c *curlCall) check() error {
	ownHeader, _ := c.profile.Present.Header()
	for _, o := range c.options {
		if err := o.check(ownHeader); err != nil {
			return err
		}
	}
	for _, target := range c.urls {
		if err := c.checkURL(target); err != nil {
			return err
		}
	}
	switch {
	case len(c.urls) == 0:
		return cli.Usage("there is no URL for curl")
	case c.profile.Does == "signs" && (len(c.urls) > 1 || c.has("get", "url-query", "upload-file", "location")):
		return cli.Usage("a signature is for one URL: a second one, --get, --url-query, --upload-file or --location would send another")
	}
	return nil
}

// check refuses a value that does more than its option says.
func (o curlOption) check(ownHeader string) error {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_." // of methods and headers
	isControl := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	end := strings.IndexAny(o.value, ":;")
	switch {
	case o.kind != data && strings.ContainsFunc(o.value, isControl):
		return cli.Usage("the value of --%s has a control character in it", o.name)
	case o.name == "request" && strings.Trim(o.value, letters) != "":
		return cli.Usage("--request takes the name of a method")
	case o.name == "upload-file" && strings.HasPrefix(o.value[strings.LastIndexAny(o.value, `/\`)+1:], ".."):
		return cli.Usage("--upload-file %s: curl would add that name to the URL", o.value) // and leave its path
	case o.name == "header" && (end < 1 || strings.Trim(o.value[:end], letters) != ""):
		return cli.Usage("--header takes NAME: VALUE here, and no file")
	case o.name == "header" && slices.Contains([]string{"authorization", "host", strings.ToLower(ownHeader)}, strings.ToLower(o.value[:end])):
		return cli.Usage("--header %s is refused: tokenctl and curl set this header themselves", o.value[:end])
	}
	return nil
}

// checkURL refuses a URL that the credential is not for, or a redirect from it.
func (c *curlCall) checkURL(target string) error {
	p, u := c.profile, new(url.URL)
	err := token.CheckURL(target)
	if err == nil {
		u, err = url.Parse(target)
	}
	_, isOwn := p.Present.Header()
	switch origin := u.Scheme + "://" + u.Host; {
	case err != nil:
		return cli.Usage("the credential of %s cannot go there: %v; write the whole URL, https://...", p.Name, err)
	case !token.Covers(p.Hosts, target):
		return cli.Usage("%s is not among the hosts of %s, so its credential does not go there; to allow it, set hosts = [..., %q] in %s and run tokenctl reload",
			origin, p.Name, origin, p.File)
	case c.has("location") && (isOwn || !token.Covers(p.Hosts, origin+"/")):
		return cli.Usage("with --location, a redirect could lead the credential past the hosts of %s; request the URL that it redirects to", p.Name)
	}
	return nil
}

// isRepeatable reports whether curl can make the same request again and leave
// nothing of the first answer: nothing in the values may be stdin or a pipe.
func (c *curlCall) isRepeatable() bool {
	isSeparator := func(r rune) bool { return strings.ContainsRune("@<=,;\"", r) }
	readsOnce := func(name string) bool {
		f, err := os.Stat(name)
		return name == "-" || name == "." || err == nil && !f.Mode().IsRegular() && !f.IsDir()
	}
	return len(c.urls) == 1 && !c.has("dump-header", "remote-header-name", "continue-at") && !slices.ContainsFunc(c.options, func(o curlOption) bool {
		return o.kind >= file && slices.ContainsFunc(strings.FieldsFunc(o.value, isSeparator), readsOnce)
	})
}
