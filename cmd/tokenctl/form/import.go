package form

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/discover"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/input"
)

// An ImportRequest is what the command line says about an import.
type ImportRequest struct {
	Paths              []string
	scope, tokenURL    string
	yes, noCheck, json bool
}

// Flags defines the flags of import.
func (r *ImportRequest) Flags(f *cli.Flags) {
	f.StringVar(&r.scope, "scope", "", "`SCOPE` of the tokens, instead of what a file says or leaves open")
	f.StringVar(&r.tokenURL, "token-url", "", "`URL` of the token endpoint, where a file does not name it")
	f.BoolVar(&r.yes, "yes, y", false, "import without asking")
	f.BoolVar(&r.noCheck, "no-check", false, "do not obtain tokens to prove that they work")
	f.BoolVar(&r.json, "json", false, "print JSON; imports nothing without --yes")
}

// An item is a credential that was found, and what comes of it.
type item struct {
	discover.Find
	// Profile is the name that it gets, Existing the profile that has it already.
	Profile  string `json:"profile,omitempty"`
	Existing string `json:"existing,omitempty"`
	// Done: tokend created the profile. Checked: a token proved it. Error is why
	// there is none; it is nil as well if tokend was not asked.
	Done    bool         `json:"done"`
	Checked bool         `json:"checked,omitempty"`
	Error   *token.Error `json:"error,omitempty"`
	created token.Created
}

// isNew reports whether a profile is to be made of the item.
func (i item) isNew() bool { return i.Why == "" && i.Existing == "" }

// Import makes profiles of the credentials that are found.
func Import(ctx context.Context, e *ui.Env, r ImportRequest) error {
	finds, err := r.findAll(e)
	if err != nil {
		return err
	}
	st, err := e.Status(ctx)
	if err != nil {
		return err
	}
	items := plan(finds, st.Profiles)
	if r.json {
		if r.yes {
			create(ctx, e, items, r)
		}
		all := slices.Clone(items)
		for i := range all {
			all[i].Files = unneeded(all[i], items)
		}
		return errors.Join(e.Out.AnswerJSON(map[string]any{"found": all}), exitOf(items))
	}
	if len(items) == 0 {
		where := "in the environment and the usual places"
		if len(r.Paths) > 0 {
			where = "in " + strings.Join(r.Paths, ", ")
		}
		return cli.Usage("there is no key or secret that tokend knows %s", where)
	}
	if err := e.Out.Answer(renderPlan(e.Out, items)); err != nil || !slices.ContainsFunc(items, item.isNew) {
		return errors.Join(err, exitOf(items))
	}
	if t, ok := e.Terminal(); !ok && !r.yes {
		return e.Out.Answer("\nNothing is imported yet. To import: the same command with --yes\n")
	} else if !r.yes {
		if yes, err := t.Confirm("Make these profiles?"); err != nil || !yes {
			e.Note("Nothing is imported.")
			return err
		}
	}
	create(ctx, e, items, r)
	return errors.Join(e.Out.Answer("\n"+renderItems(e, items)), exitOf(items))
}

// plan gives each find the name of a new profile, or the profile that has it.
func plan(finds []discover.Find, profiles []token.ProfileStatus) []item {
	taken := map[string]bool{}
	for _, p := range profiles {
		taken[p.Name] = true
	}
	items := make([]item, len(finds))
	for i, f := range finds {
		items[i] = item{Find: f}
		if f.Why != "" {
			continue
		}
		if items[i].Existing = existing(f, profiles, items[:i]); items[i].Existing == "" {
			items[i].Profile = freeName(f.Name, taken)
			taken[items[i].Profile] = true
		}
	}
	return items
}

// existing is the profile of the same client at the same issuer, or the new one of
// the same credential, found before; empty for none. A client ID says nothing
// without its issuer: a test and a production system may both have it.
func existing(f discover.Find, profiles []token.ProfileStatus, before []item) string {
	endpoint, _, _ := strings.Cut(f.Endpoint, "?") // as tokend shows it
	for _, p := range profiles {
		client := cmp.Or(p.Settings.Text("client_id"), p.Settings.Text("issuer"))
		if p.Provider == f.Provider && client == f.Client && client != "" && p.Endpoint == endpoint {
			return p.Name
		}
	}
	for _, i := range before {
		if i.isNew() && i.Provider == f.Provider && reflect.DeepEqual(i.Settings, f.Settings) && reflect.DeepEqual(i.Secrets, f.Secrets) {
			return i.Profile
		}
	}
	return ""
}

// freeName is name, or name with the first number behind it that makes it free.
func freeName(name string, taken map[string]bool) string {
	free := name
	for n := 2; taken[free]; n++ {
		free = fmt.Sprintf("%.59s-%d", name, n)
	}
	return free
}

// create creates the profiles, one after the other.
func create(ctx context.Context, e *ui.Env, items []item, r ImportRequest) {
	for k := range items {
		i := &items[k]
		if !i.isNew() {
			continue
		}
		request := token.CreateProfile{Name: i.Profile, Provider: i.Provider, Settings: i.Settings, Secrets: i.Secrets, NoCheck: r.noCheck}
		var err error
		i.created, err = ui.AskFor(ctx, e, ui.Patience, "Obtaining a token for "+i.Profile, func(d *ipc.Client, ctx context.Context) (token.Created, error) { return d.Add(ctx, request) })
		i.Done, i.Checked = err == nil, i.created.Checked
		if err != nil && !errors.As(err, &i.Error) {
			i.Error = &token.Error{Code: ui.CodeOf(err), Message: err.Error()}
		}
	}
}

// exitOf is the exit status for all items: that of the first error, or an error
// if tokend knows none of them. The items' errors are shown with them.
func exitOf(items []item) error {
	none := len(items) > 0
	for _, i := range items {
		if i.Error != nil {
			return &ui.Exit{Status: ui.ExitStatus(i.Error)}
		}
		none = none && i.Why != ""
	}
	if none {
		return &ui.Exit{Status: ui.ExitStatus(token.ErrInvalid)}
	}
	return nil
}

// renderPlan shows what an import would do.
func renderPlan(s ui.Screen, items []item) (text string) {
	rows := []ui.Row{ui.Header("PROFILE", "PROVIDER", "FROM")}
	var known, other []string
	for _, i := range items {
		switch {
		case i.isNew():
			notes := append([]string{ui.Printable(i.Form)}, exposed(i.Files)...)
			if i.Note != "" {
				notes = slices.Insert(notes, 1, ui.Printable(i.Note))
			}
			rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: ui.Printable(i.Profile)}, {Text: ui.Printable(i.Provider)}, {Text: ui.Printable(i.From)}}, Notes: notes})
		case i.Existing != "":
			known = append(known, i.From+" ("+i.Form+"): the profile "+i.Existing+" has it")
		default:
			other = append(other, i.From+" ("+i.Form+"): "+i.Why)
		}
	}
	if len(rows) > 1 {
		text = s.Table(rows)
	}
	return strings.TrimPrefix(text+s.Section("Already there", ui.Good, known)+s.Section("Cannot be imported", ui.Warn, other), "\n")
}

// exposed warns of files that other users can read.
func exposed(files []string) (notes []string) {
	for _, file := range files {
		info, err := os.Stat(file)
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o044 != 0 {
			notes = append(notes, ui.Printable(fmt.Sprintf("other users can read %s (mode %04o): a new key or secret would be better", file, info.Mode().Perm())))
		}
	}
	return notes
}

// renderItems shows what came of the items, and what you can delete.
func renderItems(e *ui.Env, items []item) string {
	rows := []ui.Row{ui.Header("PROFILE", "RESULT")}
	var files, variables []string
	checked := true
	for _, i := range items {
		if !i.isNew() {
			continue
		}
		result, notes := ui.Cell{Text: "saved, untested", As: ui.Warn}, []string{"Use it: " + ui.Typed(UseOf(i.created.Profile))}
		if i.Error != nil {
			result = ui.Cell{Text: "nothing was saved", As: ui.Bad}
			notes = append([]string{ui.Printable(i.Error.Error())}, ui.Hints(i.Error, ui.Situation{Command: "import", Profile: ui.Printable(i.Profile)})...)
		} else {
			if i.Checked {
				result = ui.Cell{Text: "ready; a token came in " + ui.Took(i.created.Took), As: ui.Good}
			}
			checked = checked && i.Checked
			files = append(files, unneeded(i, items)...)
			for _, v := range i.Variables {
				variables = append(variables, v+" in "+i.From)
			}
		}
		rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: ui.Printable(i.Profile)}, result}, Notes: notes})
	}
	slices.Sort(files)
	text := e.Out.Table(rows) + e.Out.Section("tokend no longer needs these variables", ui.Plain, variables)
	if list := renderFiles(slices.Compact(files), checked, "tokenctl get"); list != "" {
		text += "\n" + list
	}
	return text
}

// unneeded are the files of an item that hold nothing of another that has no
// profile yet. A file of variables may hold much else.
func unneeded(i item, items []item) []string {
	if len(i.Variables) > 0 || !i.isNew() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(i.Files), func(file string) bool {
		return slices.ContainsFunc(items, func(other item) bool {
			return !other.Done && other.Existing == "" && (other.From == file || slices.Contains(other.Files, file))
		})
	})
}

// findAll finds the credentials in the paths, or without any in the environment
// and the usual places.
func (r ImportRequest) findAll(e *ui.Env) (finds []discover.Find, err error) {
	o := discover.Options{Scope: r.scope, TokenURL: r.tokenURL, Read: readCandidate}
	paths := r.Paths
	if len(paths) == 0 {
		finds = discover.Env(os.Environ(), o)
		paths = usualPlaces()
	}
	for _, path := range paths {
		inPath, err := findIn(e, path, o)
		if err != nil {
			return nil, err
		}
		finds = append(finds, inPath...)
	}
	return finds, nil
}

// usualPlaces are the files and folders in which the tools that are known here
// keep credentials, if they exist.
func usualPlaces() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc([]string{
		filepath.Join(home, ".azure", "service_principal_entries.json"),
		filepath.Join(home, ".config", "gcloud", "application_default_credentials.json"),
		filepath.Join(home, ".oidc-agent"),
		cmp.Or(os.Getenv("OIDC_CONFIG_DIR"), filepath.Join(home, ".config", "oidc-agent")),
		".env",
	}, func(path string) bool { _, err := os.Stat(path); return err != nil })
}

// findIn finds the credentials in a file, in the files of a folder, or in stdin.
func findIn(e *ui.Env, path string, o discover.Options) (finds []discover.Find, err error) {
	if path == "-" || ui.IsKey(path) {
		content, err := Input{Label: "PATH"}.Read(e, path)
		return discover.File(discover.Stdin, content, o), err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		content, err := readCandidate(path)
		if err != nil {
			return nil, cli.Usage("%s", token.FileFault(err))
		}
		return findInFile(path, content, o), nil
	}
	for _, entry := range entries {
		file := filepath.Join(path, entry.Name())
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxSecret { // larger ones hold no credential
			continue
		}
		content, err := readCandidate(file)
		if err != nil {
			finds = append(finds, discover.Find{From: file, Form: "file", Why: err.Error()})
			continue
		}
		finds = append(finds, discover.File(file, content, o)...)
	}
	return finds, nil
}

// findInFile finds the credentials in a file that must hold one, or says why
// there is none.
func findInFile(path string, content []byte, o discover.Options) []discover.Find {
	if finds := discover.File(path, content, o); finds != nil {
		return finds
	}
	why := "tokend does not know this kind of file; enter a secret alone with its flag, such as --client-secret-file or --pfx"
	if what := input.What(string(content)); what != "" {
		why = "it is " + what
	}
	return []discover.Find{{From: path, Form: "file", Why: why}}
}

// readCandidate reads a file that may hold a credential.
func readCandidate(path string) ([]byte, error) {
	content, err := token.ReadFile(ui.ExpandHome(path), maxSecret)
	return []byte(input.Text(string(content))), err
}
