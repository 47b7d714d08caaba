package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tokend/packaging/checktest"
	"tokend/providers/token"
)

// TestMain is the program of testProgram when it is called by that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "prog" {
		if _, err := testProgram(os.Stdout).Execute(context.Background(), os.Args[1:]); err != nil {
			fmt.Println("error:", err)
		}
		return
	}
	os.Exit(m.Run())
}

// testProgram writes what is called to out.
func testProgram(out io.Writer) *Program {
	socket, output, all := "", "", false
	profiles := func(args []string) []Candidate {
		if len(args) > 0 {
			return nil
		}
		return []Candidate{{"clms", "a profile"}, {"clms-2", "another"}, {"rock", ""}}
	}
	return &Program{
		Out:     out,
		Shared:  func(f *Flags) { f.StringVar(&socket, "socket", "", "`PATH` of the socket") },
		Version: func() string { return "prog 1.2.3" },
		UnknownFlag: func(_ *Call, name string) error {
			if name == "secret" {
				return Usage("no --secret here")
			}
			return nil
		},
		Root: &Command{
			Name: "prog", Short: "Does things", Long: "  prog get clms\n\nDoes things.",
			Commands: []*Command{
				{
					Name: "get", Args: "NAME", Short: "Print a token", Check: AnyArgs, Complete: profiles,
					Flags: func(f *Flags) {
						f.StringVar(&output, "output, o", "token", "`FORMAT`: token or json")
						f.Complete("output", Words("token", "json"))
						f.Heading("Rare ones")
						f.BoolVar(&all, "all", false, "everything")
					},
					Run: func(_ context.Context, c *Call) error {
						_, err := fmt.Fprintln(out, c.Name(), c.Args, socket, output, all)
						return err
					},
				},
				{Name: "keys", Short: "Show keys", Commands: []*Command{
					{Name: "move", Short: "Move keys", Long: "  prog keys move", Run: func(_ context.Context, c *Call) error {
						_, err := fmt.Fprintln(out, c.Name(), socket)
						return err
					}},
				}},
				{Name: "raw", Short: "Take anything", RawArgs: true, Check: AnyArgs, Run: func(_ context.Context, c *Call) error {
					_, err := fmt.Fprintln(out, c.Args)
					return err
				}},
				{Name: "secretly", Hidden: true, Run: func(context.Context, *Call) error { return nil }},
			},
		},
	}
}

func TestExecute(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"get clms", "get [clms]  token false\n"},
		{"get clms -o json --all", "get [clms]  json true\n"},
		{"get -o=json clms --socket=/s", "get [clms] /s json false\n"},
		{"get -output json - --all -- -x", "get [- -x]  json true\n"},
		{"--socket /s get clms -- --all", "get [clms --all] /s token false\n"},
		{"--socket /a keys --socket /b move --socket /c", "keys move /c\n"},
		{"--socket /a keys move", "keys move /a\n"},
		{"raw --all -x --help", "[--all -x --help]\n"},
		{"--version", "prog 1.2.3\n"},
		{"get --output", "error: --output needs a value"},
		{"get --all=perhaps", `error: --all: it takes true or false, or no value`},
		{"get --outptu json", "error: get has no flag --outptu; did you mean --output?"},
		{"get -x", "error: get has no flag -x"},
		{"get --x=s3cret", "error: get has no flag --x"},
		{"get ---x=s3cret", "error: get has no flag ---x"},
		{"get --secret s", "error: no --secret here"},
		{"--all get", "error: prog has no flag --all"},
		{"gte", `error: there is no command "gte"; did you mean get?`},
		{"keys mvoe", `error: there is no command "mvoe"; did you mean move?`},
		{"keys move it", `error: keys move takes no arguments, but got "it"`},
		{"secretly", ""},
	} {
		var out bytes.Buffer
		call, err := testProgram(&out).Execute(t.Context(), strings.Fields(c.line))
		if err != nil {
			fmt.Fprint(&out, "error: ", err)
			if !errors.Is(err, ErrUsage) || !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%s: %#v is no error about usage", c.line, err)
			}
		}
		if out.String() != c.want || call == nil {
			t.Errorf("%s: got %q, want %q", c.line, out.String(), c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	const get = `Print a token

Usage:
  prog get NAME [flags]

Flags:
  -o, --output FORMAT   FORMAT: token or json (default: token)
  -h, --help            show this help

Rare ones:
      --all   everything

Flags of every command:
      --socket PATH   PATH of the socket
`
	const root = `  prog get clms

Does things.

Usage:
  prog [flags]

Commands:
  get         Print a token
  keys        Show keys
  raw         Take anything
  help        Show the help of a command
  completion  Print the completion script for a shell

Flags:
      --version       print the version
      --socket PATH   PATH of the socket
  -h, --help          show this help
`
	for line, want := range map[string]string{
		"get --help": get, "get clms -h": get, "help get": get, "--socket /s get -h": get,
		"": root, "--help": root, "help": root, "-h get": root,
	} {
		var out bytes.Buffer
		if _, err := testProgram(&out).Execute(t.Context(), strings.Fields(line)); err != nil || out.String() != want {
			t.Errorf("%s: %v\n%s", line, err, out.String())
		}
	}
	if _, err := testProgram(io.Discard).Execute(t.Context(), []string{"help", "gte"}); !errors.Is(err, ErrUsage) {
		t.Errorf("help of a command that does not exist: %v", err)
	}
}

func TestCandidates(t *testing.T) {
	for line, want := range map[string]string{
		"":                    "get keys raw help completion",
		"g":                   "get",
		"zzz":                 "",
		"get ":                "clms clms-2 rock",
		"get r":               "rock",
		"get clms ":           "",
		"get -":               "--output --help --all --socket",
		"get --o":             "--output",
		"get clms -o ":        "token json",
		"get clms --output j": "json",
		"get --output=j":      "--output=json",
		"get --socket ":       filesLine,
		"get -- ":             filesLine,
		"--socket /s get cl":  "clms clms-2",
		"get --nonsense x":    "",
		"keys ":               "move",
		"keys move ":          "",
		"raw ":                filesLine,
		"completion ":         "bash zsh fish",
		"help k":              "keys",
		"help keys ":          "move",
	} {
		var out bytes.Buffer
		words := strings.Split(line, " ")
		if _, err := testProgram(&out).Execute(t.Context(), append([]string{completeCommand}, words...)); err != nil {
			t.Fatal(err)
		}
		var got []string
		for text := range strings.Lines(out.String()) {
			word, _, _ := strings.Cut(strings.TrimSpace(text), "\t")
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// In each shell: what its script offers for a line.
var shells = []struct {
	name, ask string
}{
	{"bash", `. <(prog completion bash)
complete -p prog >/dev/null || exit 1
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9 COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
_prog prog "${COMP_WORDS[COMP_CWORD]}" ""
for reply in "${COMPREPLY[@]}"; do echo "${reply%% *}"; done`},
	{"zsh", `compdef() { :; }
. <(prog completion zsh)
_describe() { for c in "${candidates[@]}"; do echo "${c%%:*}"; done; }
words=("$@") CURRENT=$# PREFIX=${@[-1]}
_prog`},
	{"fish", `prog completion fish | source
complete -C "$(string join ' ' -- $argv)" | cut -f 1`},
}

// progDir is a directory with testProgram as a program.
func progDir(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	self, err := os.Executable()
	if err = errors.Join(err, os.Symlink(self, filepath.Join(dir, "prog"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestShells(t *testing.T) {
	dir := progDir(t)
	for _, shell := range shells {
		t.Run(shell.name, func(t *testing.T) {
			program := checktest.Need(t, shell.name)
			for line, want := range map[string]string{
				"prog ge":            "get",
				"prog get ":          "clms clms-2 rock",
				"prog get clms-":     "clms-2",
				"prog get clms -o ":  "json token",
				"prog get --socke":   "--socket",
				"prog get clms -o j": "json",
			} {
				script := filepath.Join(dir, "script")
				if err := os.WriteFile(script, []byte(shell.ask), 0o600); err != nil {
					t.Fatal(err)
				}
				c := exec.Command(program, append([]string{script}, strings.Split(line, " ")...)...)
				c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir)
				out, err := c.CombinedOutput()
				got := strings.Fields(string(out))
				slices.Sort(got)
				if err != nil || strings.Join(got, " ") != want {
					t.Errorf("%q: got %q, want %q (%v)", line, got, want, err)
				}
			}
		})
	}
}

// bash makes words of their own of "=" and of what stands behind it, and is
// not shown the meaning of what it inserts.
func TestBashWords(t *testing.T) {
	const ask = `. <(prog completion bash); complete() { type -t "$2" >/dev/null; }
COMP_WORDBREAKS=$' \t\n=' COLUMNS=30
try() { COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2)) COMP_TYPE=$1; _prog prog; printf '<%s>' "${COMPREPLY[@]}"; }
try 9 prog get --output = j; try 9 prog get --output =; try 9 prog ke; try 9 prog get c; try 37 prog get c; try 9 prog get --`
	c := exec.Command("bash", "-c", ask)
	c.Env = append(os.Environ(), "PATH="+progDir(t)+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	want := "<json>" + "<token><json>" + "<keys>" + "<clms    (a profile)><clms-2  (another)>" + "<clms><clms-2>" +
		"<--output  (FORMAT: token or )><--help    (show this help)><--all     (everything)><--socket  (PATH of the socke)>"
	if err != nil || string(out) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, out, want)
	}
}

func TestReference(t *testing.T) {
	var out bytes.Buffer
	if _, err := testProgram(&out).Execute(t.Context(), []string{ReferenceCommand}); err != nil {
		t.Fatal(err)
	}
	var r Reference
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Commands) != 3 || r.Commands[1].Commands[0].Name != "prog keys move" || r.Flags[1].Name != "socket" || r.Flags[1].Group != "" {
		t.Errorf("%+v", r)
	}
	want := []*Flag{
		{Name: "output", Letter: "o", Value: "FORMAT", Doc: "FORMAT: token or json", Default: "token"},
		{Name: "help", Letter: "h", Doc: "show this help"},
		{Name: "all", Doc: "everything", Group: "Rare ones"},
		{Name: "socket", Value: "PATH", Doc: "PATH of the socket", Group: InheritedFlags},
	}
	if get := r.Commands[0]; get.Usage != "prog get NAME [flags]" || !reflect.DeepEqual(get.Flags, want) {
		t.Errorf("%+v", get)
	}
}
