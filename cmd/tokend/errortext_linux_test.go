package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tokend/cmd/tokenctl/cli"
)

// goTypes are words of a program's inside, which no message for people has: Go's
// types, the prefixes of its libraries' errors, what its JSON decoder says, a
// stack.
var goTypes = regexp.MustCompile(`\*?\b(errors|fmt|json|toml|x509|asn1|pem|url|net|fs|exec|strconv|time|os|tls|store|daemon|token)\.[A-Z]\w+|` +
	`(^|[ (:])(json|toml|x509|asn1|pem|pkcs12|tls|strconv|cobra|pflag): |(open|read|l?stat|dial|mkdir) /[^ ]*: |struct field|&\{|%!|goroutine \d|panic:|` +
	`cannot (unmarshal|decode)|invalid character '|unexpected end of JSON|<nil>|0xc0[0-9a-f]{6}`)

// mistakes are commands that go wrong, with the files that they name.
const mistakesFiles = `
echo garbage > garbage; : > empty; mkdir dir; ln -s loop loop; head -c 300 /dev/urandom > random
head -c 3000000 /dev/zero > large; echo wrong > password
echo '{' > half.json; echo '[]' > list.json; echo '{"client_id":5}' > number.json
echo '{"client_id":"a","user_id":"b","token_uri":"zz","private_key":"x"}' > key.json
for kind in 'PRIVATE KEY' CERTIFICATE 'ENCRYPTED PRIVATE KEY'; do
	printf -- '-----BEGIN %s-----\nAAAA\n-----END %s-----\n' "$kind" "$kind" > "broken-$(echo $kind | tr ' ' -).pem"
done
openssl ecparam -genkey -name prime256v1 -noout -out ec.pem
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=a -keyout rsa.pem -out cert.pem 2> /dev/null
openssl pkcs12 -export -inkey rsa.pem -in cert.pem -passout pass:another -out app.pfx
mkdir -p ~/.docker && echo '{bad' > ~/.docker/config.json
`

func mistakes() (all []string) {
	azure := "tokenctl add x --provider azure --tenant t.example --client-id x --scope api://x/.default "
	files := []string{"garbage", "empty", "dir", "loop", "random", "large", "half.json", "list.json", "number.json", "key.json", "nothing",
		"broken-PRIVATE-KEY.pem", "broken-CERTIFICATE.pem", "broken-ENCRYPTED-PRIVATE-KEY.pem", "ec.pem", "cert.pem", "app.pfx"}
	for _, f := range files {
		all = append(all, "tokenctl add x --provider clms --service-key "+f, "tokenctl add y "+f)
		if f != "ec.pem" { // which is a key
			all = append(all, "tokenctl add x --provider datarock --email a@b.example --private-key "+f,
				"tokenctl add x --provider jwt-bearer --token-url https://127.0.0.1:1/t --issuer i --private-key "+f)
		}
		all = append(all, azure+"--certificate "+f, azure+"--certificate cert.pem --private-key "+f, azure+"--pfx "+f)
	}
	for _, config := range []string{`log_level = "loud"`, `log_level`, `log_levle = "info"`, `idle = "x"`, `idle = 5`, `admin_users = "root"`, `a = [1`,
		`proxy = "::"`, `ca_file = "/nonexistent"`, `ca_file = "relative"`, `ca_file = "/"`, `log_format = "xml"`, `[[sink]]`, `audit = 5`, `= 1`, `{`} {
		all = append(all, inFile("elsewhere/config.toml", config)+"tokend check-config --config $PWD/elsewhere",
			inFile("elsewhere/config.toml", config)+"tokend run --config $PWD/elsewhere --socket $PWD/other.sock")
	}
	for _, profile := range []string{`provider = 3`, `provider = "nope"`, `provider`, `provider = "azure"\ntenant = 5`, `provider = "azure"`,
		`provider = "aspose"\nclient_id = "x"\nbase_url = "ftp://x"`, `provider = "aspose"\nclient_id = "x"\nclient_secret = "y"`,
		`provider = "clms"\nhosts = "x"`, `provider = "clms"\nhosts = ["http://x"]`, `provider = "clms"\npresent = "zz"`,
		`provider = "clms"\n[[sink]]\npath = 4`, `provider = "oauth2"\nscopes = "x"`, `provider = "jwt-bearer"\nclaims = 4`} {
		all = append(all, "rm -rf wrong; mkdir -p wrong/profiles.d; printf '"+profile+"\n' > wrong/profiles.d/p.toml; tokend check-config --config $PWD/wrong")
	}
	for _, record := range []string{`keystore = 4`, `{`, `id = "a"\nkeystore = "zz"`, `other = 1`} {
		all = append(all, inFile("record/install.toml", record)+"tokend run --state $PWD/record --socket $PWD/other.sock")
	}
	return append(all,
		azure+"--pfx app.pfx --pfx-password-file password", "tokenctl add x", "tokenctl add", "tokenctl add a/b --provider clms --service-key key.json",
		"tokenctl add x --provider nope", "tokenctl add x --nope", "tokenctl import random half.json dir --yes", "tokenctl import nothing",
		"tokenctl frob", "tokenctl get --nope", "tokenctl get", "tokenctl get a b", "tokenctl get x --min-ttl x", "tokenctl get x --timeout 5q", "tokenctl get nope",
		"tokenctl get nope --socket /etc/passwd", "tokenctl get nope --socket nothing/at/all", "TOKEND_SOCKET=nothing tokenctl status",
		"tokenctl get --url :::", "tokenctl get --url 'https://x y/'", "tokenctl get clms --scope 'a\"b'", "tokenctl get clms -o zz",
		"tokenctl sign nope u", "tokenctl sign clms https://x/", "tokenctl sign rock :::", "tokenctl sign rock https://a/%zz", "tokenctl verify nope",
		"echo a.b.c | tokenctl verify weather", "echo e30.e30.e30 | tokenctl verify weather", "echo a.b.c | tokenctl verify clms",
		"tokenctl rotate nope", "tokenctl rotate clms --service-key garbage", "tokenctl show nope", "tokenctl remove nope --yes",
		"tokenctl curl nope -- x", "tokenctl curl clms -- -k https://land.copernicus.eu/", "tokenctl exec nope --env X -- true",
		"tokenctl exec --env X -- true", "tokenctl exec clms --env X -- ./nothing", "tokenctl exec clms --env X -- ./garbage", "tokenctl explain nope",
		"tokenctl status nope", "tokenctl keystore migrate --to zz", "tokenctl keystore migrate --to sealed --key-file /nonexistent/a",
		"tokenctl setup nope", "tokenctl setup git", "tokenctl setup git :bad", "tokenctl setup docker registry.example --write",
		"tokenctl helper nope", "tokenctl helper bazel get < garbage", "tokenctl helper cargo", "tokenctl helper kube < garbage",
		"tokend nope", "tokend run extra", "tokend run --nope", "tokend run", "tokend setup --keystore foo", "tokend setup --keystore sealed --state new",
		"tokend setup --keystore sealed --state new --key-file /nonexistent/dir/key", "tokend setup --keystore sealed --state new --key-file /etc/passwd",
		"tokend setup --keystore sealed --state new --key-file dir", "tokend setup --keystore os --state new",
		"tokend run --state nothing --socket $PWD/other.sock", "tokend run --config garbage", "tokend run --state garbage --socket $PWD/other.sock",
	)
}

// inFile is the command that writes a line of a file.
func inFile(file, text string) string {
	return "mkdir -p " + filepath.Dir(file) + "; printf '" + text + "\n' > " + file + "; "
}

// Errors are one line for people, with nothing from the inside of the
// programs, and a status that is not 0.
func TestMessagesAreForPeople(t *testing.T) {
	s := newReader(t, newInternet(t), []string{"daemon", "clms", "rock", "weather"})
	s.does("files", block{language: "sh", text: mistakesFiles})
	for _, mistake := range mistakes() {
		status, out := s.mistakes(mistake)
		switch m := goTypes.FindString(out); {
		case status == 0:
			t.Errorf("%s: succeeds:\n%s", mistake, out)
		case m != "":
			t.Errorf("%s: %q:\n%s", mistake, m, out)
		case !strings.Contains("\n"+out, "\ntokenctl: ") && !strings.Contains("\n"+out, "\ntokend: ") &&
			!strings.Contains(out, ".toml:") && !strings.Contains(out, "not valid: ") && !strings.HasPrefix(out, "Cannot be imported\n"):
			t.Errorf("%s: no line that says what is wrong:\n%s", mistake, out)
		}
	}
}

// mistakes runs a command in the reader's place.
func (s *reader) mistakes(command string) (status int, out string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.Dir = filepath.Join(s.home, "work")
	text, err := c.CombinedOutput()
	if c.ProcessState == nil || ctx.Err() != nil {
		s.t.Fatalf("%s: %v\n%s", command, err, text)
	}
	return c.ProcessState.ExitCode(), string(text)
}

// Every --help fits in 80 columns and begins with an example; so do the tables.
func TestScreensHaveEightyColumns(t *testing.T) {
	s := newReader(t, newInternet(t), []string{"daemon", "clms", "rock", "weather", "broken"})
	screens := []string{"tokenctl", "tokenctl status", "tokenctl status clms", "tokenctl list", "tokenctl show clms", "tokenctl doctor", "tokenctl explain",
		"tokenctl explain AADSTS7000215", "tokenctl get broken", "tokenctl get nope", "tokenctl version", "tokenctl keystore"}
	for _, program := range []string{"tokenctl", "tokend"} {
		for _, c := range allCommands(commandTree(t, program)) {
			screens = append(screens, c+" --help")
		}
	}
	if len(screens) < 35 {
		t.Fatalf("only %d screens", len(screens))
	}
	for _, screen := range screens {
		_, out := s.mistakes(screen)
		for line := range strings.Lines(out) {
			line = strings.TrimRight(line, "\n")
			// Paths of this test are longer than people's.
			if n := utf8.RuneCountInString(strings.ReplaceAll(line, s.home, "/home/me")); n > 80 {
				t.Errorf("%s: %d columns: %s", screen, n, line)
			}
		}
		if strings.HasSuffix(screen, " --help") && !strings.HasPrefix(out, "  "+strings.Fields(screen)[0]) {
			t.Errorf("%s does not begin with an example:\n%.200s", screen, out)
		}
	}
}

func allCommands(c cli.Reference) (all []string) {
	all = []string{c.Name}
	for _, sub := range c.Commands {
		all = append(all, allCommands(sub)...)
	}
	return all
}
