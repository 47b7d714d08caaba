package helper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tokend/providers/token"
)

const secret = "CANARY.abc-123"

var expiry = time.Date(2026, 11, 24, 13, 0, 0, 500e6, time.UTC)

// A fake is a daemon with one profile, devops.
type fake struct {
	hosts   []string
	present token.Presentation
	secret  string
	fail    error
	queries []token.Query
	askers  []token.Asker
	dropped []string
	// askedAgain is the answer to the first question; failDrop is Invalidate's.
	askedAgain bool
	failDrop   error
}

func (f *fake) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	f.queries, f.askers = append(f.queries, q), append(f.askers, token.AskerOf(ctx))
	if f.askedAgain && len(f.queries) == 1 {
		return token.Grant{}, &token.Error{Code: token.ErrUnavailable, Detail: token.AskedAgain}
	}
	host := token.MatchHost(f.hosts, q.URL)
	if name != "" && name != "devops" || q.URL != "" && host == "" {
		e := &token.Error{Code: token.ErrNotFound, Message: "no profile covers " + q.URL}
		if token.Origin(q.URL) == "https://dev.example:443" {
			e.Detail = token.AnotherPath
		}
		return token.Grant{}, e
	}
	if f.fail != nil {
		return token.Grant{}, f.fail
	}
	return token.Grant{
		Token:   token.Token{Secret: token.NewSecret(f.secret), Type: "Bearer", Issued: expiry.Add(-time.Hour), Expiry: expiry},
		Profile: "devops", Present: f.present, Host: host,
	}, nil
}

func (f *fake) Invalidate(ctx context.Context, name string, t token.Secret) error {
	f.dropped = append(f.dropped, name+" "+t.Reveal()+" "+token.AskerOf(ctx).Key)
	return f.failDrop
}

func (f *fake) Exchange(_ context.Context, name, registry string) (token.Secret, error) {
	return token.NewSecret("refresh-" + registry), f.fail
}

func newFake() *fake {
	return &fake{hosts: []string{"https://dev.example/org", "https://reg.example", "http://127.0.0.1:8080"}, secret: secret}
}

type result struct {
	out, err string
	status   int
}

// call runs a helper as tokenctl does.
func (f *fake) call(protocol, input string, args ...string) result {
	return f.as("", nil, protocol, input, args...)
}

// as is call with --profile and --host. kubectl's helper finds its input in the environment.
func (f *fake) as(profile string, hosts []string, protocol, input string, args ...string) result {
	p := Protocols[slices.IndexFunc(Protocols, func(p Protocol) bool { return p.Name == protocol })]
	os.Setenv(kubeInfo, input)
	var out, errs bytes.Buffer
	c := &Call{
		Args: args, Profile: profile, Hosts: hosts, In: strings.NewReader(input), Out: &out, Err: &errs, Daemon: f,
		Explain: func(err error) string { return err.Error() + "\n  what to do\n" },
	}
	err := p.Run(context.Background(), c)
	status := 0
	if err != nil {
		status = 1
		if !errors.Is(err, ErrReported) {
			errs.WriteString(c.Explain(err))
		}
	}
	return result{out.String(), errs.String(), status}
}

func TestProgramNames(t *testing.T) {
	for program, want := range map[string]string{
		"git-credential-tokend": "git ", "docker-credential-tokend.exe": "docker ", "pnpm-credential-tokend-npm": "pnpm npm",
		"keyring": "keyring ", "tokenctl": "", "git-credential-tokender": "", "git-credential-tokend-": "", "git": "",
	} {
		p, profile, ok := ByProgram(program)
		if got := p.Name + " " + profile; ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v", program, got, ok)
		}
	}
}

const gitAsks = "protocol=https\nhost=dev.example\npath=org/app.git\n"

func TestGit(t *testing.T) {
	basic := fmt.Sprintf("username=oauth2\npassword=%s\npassword_expiry_utc=%d\n", secret, expiry.Add(-10*time.Second).Unix())
	carrier := "capability[]=authtype\nauthtype=Bearer\ncredential=" + secret + "\nephemeral=1\n" +
		fmt.Sprintf("password_expiry_utc=%d\n", expiry.Add(-10*time.Second).Unix())
	for _, c := range []struct {
		name, input string
		present     token.Presentation
		out, err    string
	}{
		{"any git", gitAsks + "\n", "", basic, ""},
		{"no empty line at the end", gitAsks, "", basic, ""},
		{"what follows the empty line is not ours", gitAsks + "\nhost=other\n", "", basic, ""},
		{"keys that are not known", gitAsks + "wwwauth[]=Bearer realm=\"\xff\t\"\nwwwauth[]=Basic\ncapability[]=state\n\n", "", basic, ""},
		{"a git that knows bearer, for a profile that does not", "capability[]=authtype\n" + gitAsks + "\n", "", basic, ""},
		{"bearer", "capability[]=authtype\n" + gitAsks + "\n", token.Bearer, carrier, ""},
		{"bearer for an old git", gitAsks + "\n", token.Bearer, basic, ""},
		{"a user of the profile's", gitAsks + "\n", "basic:x-token-auth", strings.Replace(basic, "oauth2", "x-token-auth", 1), ""},
		{"a user of the URL's, for an old git", gitAsks + "username=me\n\n", token.Bearer, strings.Replace(basic, "oauth2", "me", 1), ""},
		{"a user of the URL's", gitAsks + "username=me\n\n", "", strings.Replace(basic, "oauth2", "me", 1), ""},
		{"another user", gitAsks + "username=me\n\n", "basic:you", "", "is for user you, and git asks for me"},
		{"a header of its own", gitAsks + "\n", "header:X-Key", "quit=1\n", "header:X-Key"},
		{"another path", "protocol=https\nhost=dev.example\npath=organisation/app\n\n", "", "", "no profile covers"},
		{"no path", "protocol=https\nhost=dev.example\n\n", "", "", "no profile covers"},
		{"another host", "protocol=https\nhost=other.example\n\n", "", "", ""},
		{"loopback", "protocol=http\nhost=127.0.0.1:8080\n\n", "", basic, ""},
		{"plain http", "protocol=http\nhost=dev.example\npath=org/app\n\n", "", "", "is not an https URL"},
		{"plain http elsewhere", "protocol=http\nhost=other.example\npath=org/app\n\n", "", "", ""},
		{"a path that goes up", "protocol=https\nhost=dev.example\npath=org/../app\n\n", "", "", `has a ".." in its path`},
		{"another protocol", "protocol=ssh\nhost=dev.example\npath=org/app\n\n", "", "", ""},
	} {
		f := newFake()
		f.present = c.present
		r := f.call("git", c.input, "get")
		if r.out != c.out || r.status != 0 || (c.err == "") != (r.err == "") || !strings.Contains(r.err, c.err) {
			t.Errorf("%s: %+v", c.name, r)
		}
		if len(f.queries) > 0 && f.queries[0].MinTTL < time.Minute {
			t.Errorf("%s: a token with %v left would do", c.name, f.queries[0].MinTTL)
		}
	}
}

// git says a path without its escapes, whatever the repository's URL has. A host of
// ours is answered all the same, and one that covers such a path knows it again.
func TestGitUnescapedPaths(t *testing.T) {
	for _, c := range []struct {
		host, path string
		ours       bool
	}{
		{"https://dev.example/org", "org/My Project/_git/app", true}, {"https://dev.example/org", "org/Müller/日本", true},
		{"https://dev.example/org", "org/100%", true}, {"https://dev.example/org", "org/100%25?x#y", true}, {"https://dev.example/org", `org/a"b<c>\d^{e}|`, true},
		{"https://dev.example/My%20Project", "My Project/app", true}, {"https://dev.example/M%c3%bcller", "Müller", true},
		{"https://dev.example/M%C3%BCller", "Müller/x", true}, {"https://dev.example/100%25", "100%/app", true},
		{"https://dev.example/(a)+b", "(a)+b/c", true}, {"https://dev.example/%28a%29%2Bb", "(a)+b/c", true},
		{"https://dev.example/My%20Project", "My/Project", false}, {"https://dev.example/a%2520b", "a b", false}, {"https://dev.example/org", "org2/My Project", false},
	} {
		f := newFake()
		f.hosts = []string{c.host}
		r := f.call("git", "protocol=https\nhost=dev.example\npath="+c.path+"\n\n", "get")
		if strings.Contains(r.out, "password="+secret) != c.ours || strings.Contains(r.err, "no profile covers") == c.ours {
			t.Errorf("%s, %s: %+v", c.host, c.path, r)
		}
	}
}

// For a host that is ours a helper answers or says why, whatever URL the tool has.
func TestNoHelperIsSilentAboutItsOwnHost(t *testing.T) {
	for protocol, call := range map[string]func(url string) (input string, args []string){
		"docker":  func(url string) (string, []string) { return url, []string{"get"} },
		"cargo":   func(url string) (string, []string) { return cargoAsks(url), []string{"--cargo-plugin"} },
		"bazel":   func(url string) (string, []string) { return `{"uri":"` + url + `"}`, []string{"get"} },
		"keyring": func(url string) (string, []string) { return "", []string{"get", url, "oauth2"} },
	} {
		for url, ours := range map[string]bool{
			"https://me@reg.example/x": true, "https://me:pass@reg.example/x": true, "http://reg.example/x": true, "https://reg.example/ü": true,
			"https://reg.example/a b": true, "https://reg.example/../x": true,
			"https://reg.example@other.example/x": false, "https://a@b@reg.example/x": false, `https://other.example\\@reg.example/x`: false,
			"http://other.example/x": false, "https://other.example/ü": false,
		} {
			input, args := call(url)
			r := newFake().call(protocol, input, args...)
			has, says := strings.Contains(r.out, secret), strings.Contains(r.err, "tokend has no token for this URL")
			if has != (ours && strings.Contains(url, "me")) || says != (ours && !has) || strings.Contains(r.err, "pass") {
				t.Errorf("%s %s: %+v", protocol, url, r)
			}
		}
	}
}

// What could be read in two ways, or be put into git's mouth by a URL in a
// repository, gets an error and no byte of a credential.
func TestGitTrustsNoOddRequest(t *testing.T) {
	for _, input := range []string{
		"protocol=https\nhost=dev.example\r\npath=org/app\n\n", "protocol=https\nhost=dev.example\rhost=x\npath=org\n\n",
		"protocol=https\nhost=dev.example\x00\npath=org\n\n", "protocol=https\nhost=dev.example\npath=org\x7f\n\n",
		"protocol=https\nhost=dev.example\npath=org\u2028\n\n", "protocol=https\nhost=dev.example\npath=org\nusername=a\u202eb\n\n",
		"protocol=https\nhost=dev.example\npath=org\x1b[2J\n\n", "protocol=https\nhost=dev.example\npath=org\xff\n\n",
		"protocol=https\nhost=\npath=org\n\n", "protocol=\nhost=dev.example\n\n", "host=dev.example\npath=org\n\n", "protocol=https\n\n", "\n", "",
		"protocol=https\nhost=evil.example\nhost=dev.example\npath=org\n\n", "protocol=http\nprotocol=https\nhost=dev.example\npath=org\n\n",
		"protocol=https\nhost=dev.example\npath=org\npath=org\n\n", "protocol=https\nhost\n\n", "protocol=https\nhost=dev.example\n=x\n\n",
		"protocol=https\nhost=me@dev.example\npath=org\n\n", "protocol=https\nhost=dev.example/org\n\n", "protocol=https\nhost=dev.example?\n\n",
		"protocol=https\nhost=dev.example\npath=org", strings.Repeat("x=y\n", maxInput/3),
	} {
		f := newFake()
		if r := f.call("git", input, "get"); r.out != "" || r.status != 1 || r.err == "" || strings.Contains(r.err, secret) {
			t.Errorf("%.60q: %+v", input, r)
		}
		if f.dropped != nil {
			t.Errorf("%.60q: dropped %q", input, f.dropped)
		}
	}
	for _, host := range []string{
		"dev.example.attacker.example", "dev.example:444", "dev.example.", "xn--dv-fka.example", "[fe80::1%25eth0]", "dév.example", "dev%2eexample", "dev.example:443x",
		"[::1]:8080", "127.0.0.1:80", "DEV.example.attacker.example",
	} {
		for _, protocol := range []string{"https", "http"} {
			r := newFake().call("git", "protocol="+protocol+"\nhost="+host+"\npath=org/app\n\n", "get")
			if strings.Contains(r.out, secret) {
				t.Errorf("%s://%s got the token", protocol, host)
			}
		}
	}
	if r := newFake().call("git", "protocol=https\nhost=DEV.EXAMPLE:443\npath=org/app\n\n", "get"); !strings.Contains(r.out, secret) {
		t.Errorf("another spelling of the same host: %+v", r)
	}
}

func TestGitErasesTheTokenThatItNames(t *testing.T) {
	f := newFake()
	for _, input := range []string{
		gitAsks + "username=oauth2\npassword=old\n\n", "capability[]=authtype\nauthtype=Bearer\ncredential=older\n" + gitAsks + "\n", gitAsks + "\n",
	} {
		if r := f.call("git", input, "erase"); r.out != "" || r.status != 0 || r.err != "" {
			t.Errorf("%+v", r)
		}
	}
	if got := strings.Join(f.dropped, ","); got != " old https://dev.example/org/app.git, older https://dev.example/org/app.git" {
		t.Errorf("dropped %q", got)
	}
	if r := f.call("git", gitAsks+"password=x\n\n", "store"); r != (result{}) || len(f.queries) > 0 {
		t.Errorf("store: %+v", r)
	}
	if r := f.call("git", "", "future"); r != (result{}) {
		t.Errorf("an operation to come: %+v", r)
	}
	if r := f.call("git", "", "capability"); r.out != "version 0\ncapability authtype\n" {
		t.Errorf("capability: %+v", r)
	}
}

// A token that cannot stand in a protocol is an error, and no part of it is
// written anywhere.
func TestNoHelperWritesAnUnfitToken(t *testing.T) {
	for name, c := range map[string]struct {
		profile, input string
		present        token.Presentation
		args           []string
	}{
		"git":        {"", gitAsks + "\n", "", []string{"get"}},
		"git bearer": {"", "capability[]=authtype\n" + gitAsks + "\n", token.Bearer, []string{"get"}},
		"docker":     {"", "reg.example", "", []string{"get"}},
		"cargo":      {"", cargoAsks("https://reg.example/index/"), "", []string{"--cargo-plugin"}},
		"goauth":     {"", "HTTP/1.1 401 Unauthorized\n\n", "", []string{"https://reg.example/x"}},
		"bazel":      {"", `{"uri":"https://reg.example/x"}`, "", []string{"get"}},
		"kube":       {"devops", kubeAsks(""), "", nil},
		"terraform":  {"", "", "", []string{"get", "reg.example"}},
		"pnpm":       {"devops", "", "", nil},
		"keyring":    {"", "", "", []string{"get", "https://reg.example/simple/", "me"}},
	} {
		call := func(f *fake) result {
			f.present = c.present
			return f.as(c.profile, nil, strings.Fields(name)[0], c.input, c.args...)
		}
		if r := call(newFake()); !strings.Contains(r.out, secret) || r.status != 0 {
			t.Errorf("%s: %+v", name, r)
		}
		for _, odd := range []string{secret + "\n", secret + "\r\nX: y", secret + "\x00", secret + "\x1b]52;", secret + "\u202e"} {
			f := newFake()
			f.secret = odd
			if r := call(f); strings.Contains(r.out+r.err, "CANARY") {
				t.Errorf("%s of %q: %+v", name, odd, r)
			}
		}
		for _, code := range []token.Code{token.ErrUnavailable, token.ErrRejected, token.ErrLocked, token.ErrInvalid, token.ErrNoDaemon, token.ErrDenied} {
			f := newFake()
			f.fail = &token.Error{Code: code, Message: "the reason"}
			r := call(f)
			if !strings.Contains(r.out+r.err, "the reason") || !strings.Contains(r.out+r.err, "what to do") {
				t.Errorf("%s does not tell of %s: %+v", name, string(code), r)
			}
			// git asks no other helper and no person about a host that is ours.
			if quits := r.out == "quit=1\n"; quits != (strings.HasPrefix(name, "git") && code != token.ErrNoDaemon && code != token.ErrDenied) {
				t.Errorf("%s, %s: %+v", name, string(code), r)
			}
		}
	}
}

func cargoAsks(url string) string {
	return `{"v":1,"registry":{"index-url":"sparse+` + url + `","name":"mine"},"kind":"get","operation":"read"}` + "\n"
}

const kubeV1 = "client.authentication.k8s.io/v1"

// kubeAsks is what client-go says about a cluster, "" if it does not say which.
func kubeAsks(server string) string {
	return `{"apiVersion":"` + kubeV1 + `","kind":"ExecCredential","spec":{"cluster":{"server":"` + server + `"}}}`
}

// What each protocol answers, in the very bytes, and what it refuses.
func TestAnswers(t *testing.T) {
	login := func(server, user, secret string) string {
		return `{"Secret":"` + secret + `","ServerURL":"` + server + `","Username":"` + user + `"}` + "\n"
	}
	exec := func(version string) string {
		return `{"apiVersion":"` + version + `","kind":"ExecCredential","status":{"expirationTimestamp":"2026-11-24T12:59:50Z","token":"` + secret + `"}}` + "\n"
	}
	// Bazel reads no other form of a time than yyyy-MM-dd'T'HH:mm:ssXXX.
	bazel := `{"expires":"2026-11-24T12:59:50Z","headers":{"Authorization":["Bearer ` + secret + `"]}}` + "\n"
	const hello, cargo, otherProfile = `{"v":[1]}` + "\n", "cargo --cargo-plugin", `"get","args":["--profile","other"]`
	ok := fmt.Sprintf(`{"Ok":{"cache":"expires","expiration":%d,"kind":"get","operation_independent":true,"token":"Bearer %s"}}`+"\n", expiry.Add(-10*time.Second).Unix(), secret)
	no := func(message string) string {
		return hello + `{"Err":{"caused-by":["what to do"],"kind":"other","message":"tokend: ` + message + `"}}` + "\n"
	}
	const refused, missing, reg = "HTTP/1.1 401 Unauthorized\nWww-Authenticate: Basic\n\n", "HTTP/1.1 404 Not Found\n\n", "https://reg.example"
	header := "https://reg.example\n\nAuthorization: Bearer " + secret + "\n\n"
	for _, c := range []struct {
		call    string // the protocol and its arguments
		input   string
		profile string
		host    string // --host
		present token.Presentation
		out     string // of what succeeds, and the helper docker
		err     string // of what fails, a part of it; - is silence
	}{
		{call: "docker get", input: "reg.example", out: login("reg.example", "oauth2", secret)},
		{call: "docker get", input: "reg.example\n", present: "basic:me", out: login("reg.example", "me", secret)},
		{call: "docker get", input: "https://reg.example/v1/", out: login("https://reg.example/v1/", "oauth2", secret)},
		{call: "docker get", input: "reg.example", present: "acr", out: login("reg.example", "<token>", "refresh-https://reg.example")},
		{call: "docker get", input: "me@reg.example", out: login("me@reg.example", "oauth2", secret)},
		{call: "docker get", input: "other.example", out: "credentials not found in native keychain\n", err: "-"},
		{call: "docker get", input: "reg.example:444", out: "credentials not found in native keychain\n", err: "-"},
		{call: "docker get", out: "no credentials server URL\n  what to do\n", err: "-"},

		{call: cargo, input: cargoAsks("https://reg.example/index/"), out: hello + ok},
		{call: cargo, input: cargoAsks("https://reg.example/a/") + cargoAsks("https://other.example/b/"), out: hello + ok + `{"Err":{"kind":"url-not-supported"}}` + "\n"},
		{call: cargo, out: hello},
		{call: cargo, input: strings.Replace(cargoAsks("https://reg.example/"), "get", "logout", 1), out: hello + `{"Err":{"kind":"operation-not-supported"}}` + "\n"},
		{call: cargo, input: strings.Replace(cargoAsks("https://reg.example/"), `"get"`, strings.Replace(otherProfile, "other", "devops", 1), 1), out: hello + ok},
		{call: cargo, input: strings.Replace(cargoAsks("https://reg.example/"), `"get"`, otherProfile, 1), out: hello + `{"Err":{"kind":"url-not-supported"}}` + "\n"},
		{call: cargo, input: strings.Replace(cargoAsks("https://reg.example/"), `"get"`, `"get","args":["--verbose"]`, 1),
			out: no("in cargo's configuration, this provider takes --profile NAME and nothing else")},
		{call: cargo, input: `{"v":1,"kind":"get"}` + "\n", out: no("cargo's request names no registry")},
		{call: cargo, input: "x\n", out: no("cargo's request is not valid JSON of the expected kind")},

		{call: "goauth"}, // the first call
		{call: "goauth", host: reg, out: header},
		{call: "goauth", host: "https://other.example"},
		{call: "goauth https://reg.example/m/@v/list", input: refused, out: header},            // go has no token yet
		{call: "goauth https://reg.example/m/@v/list", input: refused, host: reg, out: header}, // it is refused
		{call: "goauth https://reg.example/m/@v/list", input: missing, host: reg, out: header}, // the module is not there
		{call: "goauth https://other.example/m", input: refused, host: reg},
		{call: "goauth http://127.0.0.1:8080/m", input: refused},
		{call: "goauth https://reg.example", err: "status"},
		{call: "goauth https://reg.example", input: "HTTP/1.1\n", err: "status"},
		{call: "goauth https://reg.example", input: "401\n", err: "status"},
		{call: "goauth https://reg.example", input: "HTTP/1.1 abc\n", err: "status"},

		{call: "bazel get", input: `{"uri":"https://reg.example/x","more":1}`, out: bazel},
		{call: "bazel get", input: `{"uri":"grpcs://reg.example/x"}`, out: bazel},
		{call: "bazel get", input: `{"uri":"https://other.example/x"}`, out: "{}\n"},
		{call: "bazel get", input: "x", err: "JSON"},
		{call: "bazel get", input: "{}", err: "no URL"},
		{call: "bazel set", input: `{"uri":"https://reg.example"}`, err: `with "get"`},

		{call: "kube", input: kubeAsks(""), profile: "devops", out: exec(kubeV1)},
		{call: "kube", input: strings.Replace(kubeAsks(""), "v1", "v1beta1", 1), profile: "devops", out: exec(kubeV1 + "beta1")},
		{call: "kube", input: kubeAsks("https://reg.example/k8s"), out: exec(kubeV1)},
		{call: "kube", input: kubeAsks(""), err: "provideClusterInfo"},
		{call: "kube", input: kubeAsks("https://other.example"), err: "no profile covers"},
		{call: "kube", input: strings.Replace(kubeAsks(""), "v1", "v2", 1), profile: "devops", err: "apiVersion"},
		{call: "kube", profile: "devops", err: kubeInfo}, // called by hand
		{call: "kube", input: "x", profile: "devops", err: kubeInfo},

		{call: "terraform get reg.example", out: `{"token":"` + secret + `"}` + "\n"},
		{call: "terraform get other.example", out: "{}\n"},
		{call: "terraform get reg.example/x", err: "not a host"},
		{call: "terraform get me@reg.example", err: "not a host"},
		{call: "terraform store reg.example", err: "login"},
		{call: "terraform forget reg.example", err: "login"},
		{call: "terraform list", err: "and a host"},

		{call: "pnpm", profile: "devops", present: "basic:you", out: "Basic eW91OkNBTkFSWS5hYmMtMTIz\n"},
		{call: "pnpm", err: "must end in the profile's"},
		{call: "pnpm x", err: `not with "x"`},
		{call: "rclone", profile: "devops", out: secret + "\n"},
		{call: "rclone", host: "https://reg.example/dav", out: secret + "\n"},
		{call: "rclone", host: "https://other.example", err: "no profile covers"},
		{call: "rclone", err: "no URL"},
		{call: "rclone x", err: `not with "x"`},

		{call: "keyring get https://reg.example/simple/ me", out: secret + "\n"},
		{call: "keyring get reg.example me", out: secret + "\n"},
		{call: "keyring get reg.example me", present: "basic:you", err: "-"},
		{call: "keyring get reg.example --mode creds", out: "oauth2\n" + secret + "\n"},
		{call: "keyring get --mode=creds reg.example me", out: "me\n" + secret + "\n"},
		// pip 26.2 (src/pip/_internal/network/auth.py, KeyRingCliProvider), and keyring's other options.
		{call: "keyring --mode=creds --output=json get https://reg.example/simple/", out: `{"username":"oauth2","password":"` + secret + `"}` + "\n"},
		{call: "keyring --mode=creds --output=json get reg.example me", out: `{"username":"me","password":"` + secret + `"}` + "\n"},
		{call: "keyring --mode=creds --output=json get other.example", err: "-"},
		{call: "keyring --mode password get reg.example --output json", out: `{"password":"` + secret + `"}` + "\n"},
		{call: "keyring --output=plain get --mode=password reg.example", out: secret + "\n"},
		{call: "keyring --mode=cred get reg.example", err: "--mode"},
		{call: "keyring --output=xml get reg.example", err: "--output"},
		{call: "keyring --mode=creds --output=json set reg.example me", err: "command get only"},
		{call: "keyring get other.example me", err: "-"},
		{call: "keyring get", err: "a service"},
		{call: "keyring get reg.example me more", err: "a service"},
	} {
		f := newFake()
		f.present = c.present
		words := strings.Fields(c.call)
		r := f.as(c.profile, strings.Fields(c.host), words[0], c.input, words[1:]...)
		if r.out != c.out || (r.status == 0) != (c.err == "") || !strings.Contains(r.err, strings.TrimPrefix(c.err, "-")) || c.err == "-" && r.err != "" {
			t.Errorf("%+v: %+v", c, r)
		}
	}
}

// Helpers say who asks: the tool's process and the URL, and what a further question
// means. If that is a refusal, they have the token dropped, and get the next one.
// git says itself what was refused.
func TestHelpersSayWhoAsks(t *testing.T) {
	process := toolProcess()
	if pid, start, _ := strings.Cut(process, "."); pid != strconv.Itoa(os.Getppid()) || runtime.GOOS == "linux" && start == "" {
		t.Errorf("the process is %q", process)
	}
	for protocol, c := range map[string]struct {
		profile, input string
		args           []string
		about          string
		again          int
		always         bool
	}{
		"goauth":          {"", "HTTP/1.1 401 No\n\n", []string{"https://reg.example/x"}, "https://reg.example", 1, true},
		"goauth too":      {"", "HTTP/1.1 404 Not Found\n\n", []string{"https://reg.example/x"}, "https://reg.example/x", 0, false},
		"goauth at first": {"", "", nil, "https://reg.example", 1, true},
		"git":             {"", gitAsks + "\n", []string{"get"}, "https://dev.example/org/app.git", 0, false},
		"docker":          {"", "reg.example", []string{"get"}, "https://reg.example", 2, true},
		"cargo":           {"", cargoAsks("https://reg.example/i/"), []string{"--cargo-plugin"}, "https://reg.example/i/", 2, false},
		"bazel":           {"", `{"uri":"https://reg.example/x"}`, []string{"get"}, "https://reg.example/x", 2, false},
		"kube":            {"devops", kubeAsks("https://reg.example/k8s"), nil, "https://reg.example/k8s", 1, false},
		"terraform":       {"", "", []string{"get", "reg.example"}, "https://reg.example", 2, false},
		"keyring":         {"", "", []string{"get", "reg.example", "me"}, "https://reg.example", 2, false},
		"pnpm":            {"devops", "", nil, "", 2, true},
		"rclone":          {"devops", "", nil, "https://reg.example", 2, true},
	} {
		want := token.Asker{Key: process + " " + c.about, Again: c.again}
		if c.again == 0 {
			want.Key = c.about
		}
		for _, refusedTwice := range []bool{false, true} {
			f := newFake()
			f.askedAgain = true
			if refusedTwice {
				f.failDrop = &token.Error{Code: token.ErrUnavailable, Message: "refused twice"}
			}
			r := f.as(c.profile, []string{"https://reg.example"}, strings.Fields(protocol)[0], c.input, c.args...)
			if f.askers[0] != want || f.askers[1] != (token.Asker{}) {
				t.Errorf("%s: asked as %v, want %v", protocol, f.askers, want)
			}
			dropped := "devops " + secret + " " + want.Key
			if c.always {
				dropped = "devops " + secret + " "
			}
			if len(f.dropped) != 1 || f.dropped[0] != dropped {
				t.Errorf("%s: dropped %q, want %q", protocol, f.dropped, dropped)
			}
			if has := strings.Contains(r.out, secret); has != (c.always || !refusedTwice) || has == strings.Contains(r.out+r.err, "refused twice") {
				t.Errorf("%s, refused twice: %v: %+v", protocol, refusedTwice, r)
			}
		}
	}
}

func FuzzHelpers(f *testing.F) {
	for _, seed := range [][2]string{
		{"git", gitAsks + "\n"}, {"git", "capability[]=authtype\nprotocol=https\nhost=dev.example:443\n\n"}, {"docker", "reg.example"},
		{"cargo", cargoAsks("https://reg.example/")}, {"bazel", `{"uri":"grpcs://reg.example"}`}, {"goauth", "HTTP/1.1 401 Unauthorized\n\n"},
		{"kube", kubeAsks("https://reg.example")}, {"terraform", "reg.example"}, {"keyring", "https://reg.example/simple/"}, {"pnpm", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	args := map[string][]string{"git": {"get"}, "docker": {"get"}, "cargo": {"--cargo-plugin"}, "bazel": {"get"}, "goauth": {"https://reg.example/x"}, "kube": nil}
	f.Fuzz(func(t *testing.T, protocol, input string) {
		a, ok := args[protocol]
		switch {
		case protocol == "terraform" || protocol == "keyring": // they ask by arguments
			a = []string{"get", input}
		case !ok:
			return
		}
		d := newFake()
		r := d.call(protocol, input, a...)
		// The token goes nowhere unless the daemon said that the URL is claimed.
		if strings.Contains(r.out, secret) {
			for _, q := range d.queries {
				if token.MatchHost(d.hosts, q.URL) != "" {
					return
				}
			}
			t.Errorf("%s got a token for %q", protocol, input)
		}
		if strings.Contains(r.err, secret) {
			t.Errorf("%s tells the token to people: %q", protocol, r.err)
		}
	})
}
