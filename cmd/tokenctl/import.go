package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tokend/cmd/tokenctl/discover"
	"tokend/ipc"
	"tokend/providers/token"
)

const importHelp = `  tokenctl import                        the environment, and the usual places
  tokenctl import keys/ .env             files, and the files of folders
  tokenctl import sp.json --scope api://example/.default --yes

Makes profiles of the credentials that you have already. It shows what it would
do and asks first; without a terminal it does nothing unless --yes is given.
Each is proven by a token before anything is kept. Nothing is changed or deleted
where it came from: at the end you are told what you may delete.

It takes:
  CLMS service keys (JSON), Google service account keys
  variables in the environment and in .env files: AZURE_CLIENT_ID ...,
    API_CLIENT_ID and API_CLIENT_SECRET (Aspose), ARM_CLIENT_ID ...,
    PREFIX_CLIENT_ID with PREFIX_CLIENT_SECRET and PREFIX_TOKEN_URL
  service principals: az ad sp create-for-rbac, --sdk-auth, MSAL's
    parameters.json, ~/.azure/service_principal_entries.json
  oidc-agent clients as plain JSON (oidc-gen -p NAME prints an encrypted one)
  any JSON with client_id, client_secret and token_url

What it cannot take it names, with the reason. docs/import.md tells more.`

// An importing is what import was asked for.
type importing struct {
	paths           []string
	scope, tokenURL string
	yes, noCheck    bool
	json            bool
}

func (a *app) importCommand() *cobra.Command {
	var im importing
	c := &cobra.Command{
		Use:   "import [PATH...]",
		Short: "Make profiles of the keys and secrets that you have",
		Long:  importHelp,
		RunE: func(c *cobra.Command, args []string) error {
			im.paths = args
			return a.importAll(c, im)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&im.scope, "scope", "", "`SCOPE` of the tokens, in place of what a file says or leaves open")
	f.StringVar(&im.tokenURL, "token-url", "", "`URL` of the token endpoint, where a file does not name it")
	f.BoolVarP(&im.yes, "yes", "y", false, "do it without asking")
	f.BoolVar(&im.noCheck, "no-check", false, "do not obtain tokens to prove that they work")
	f.BoolVar(&im.json, "json", false, "print JSON; does nothing without --yes")
	return c
}

// A plan is what is to become of one find.
type plan struct {
	discover.Find
	// profile is the name that it gets, existing that of the profile that is
	// made of it already.
	profile, existing string
	// added is what became of it, err why nothing did; done: it was tried.
	added token.Added
	err   error
	done  bool
}

// takes tells whether something is to be made of it.
func (p plan) takes() bool { return p.Why == "" && p.existing == "" }

func (a *app) importAll(c *cobra.Command, im importing) error {
	finds, err := a.discoverAll(im)
	if err != nil {
		return err
	}
	st, err := a.status(c)
	if err != nil {
		return err
	}
	plans := planAll(finds, st.Profiles)
	if im.json {
		return a.importJSON(c, plans, im)
	}
	if len(plans) == 0 {
		return a.nothingFound(im)
	}
	if err := a.out.answer([]byte(a.planned(plans))); err != nil {
		return err
	}
	if !slices.ContainsFunc(plans, plan.takes) {
		return worst(plans)
	}
	switch t, ok := a.terminal(); {
	case im.yes:
	case !ok:
		return a.out.answer([]byte("\nNothing is done yet. To do it: the same command with --yes\n"))
	default:
		yes, err := t.confirm("\nMake these profiles?")
		if err != nil || !yes {
			a.err.print("Nothing is done.\n")
			return err
		}
	}
	a.carryOut(c, plans, im)
	if err := a.out.answer([]byte("\n" + a.carried(c, plans))); err != nil {
		return err
	}
	return worst(plans)
}

// nothingFound tells that there is nothing to import, and where was looked.
func (a *app) nothingFound(im importing) error {
	where := "in the environment and the usual places"
	if len(im.paths) > 0 {
		where = "in " + strings.Join(im.paths, ", ")
	}
	return &token.Error{Code: token.ErrInvalid, Cause: errUsage, Message: "no key or secret of a known form is " + where}
}

// discoverAll finds what there is in the paths, or without any in the
// environment and the usual places.
func (a *app) discoverAll(im importing) (finds []discover.Find, err error) {
	o := discover.Options{Scope: im.scope, TokenURL: im.tokenURL, Read: readImport}
	files := im.paths
	if len(files) == 0 {
		finds = discover.Env(os.Environ(), o)
		files = usualPlaces()
	}
	for _, path := range files {
		inPath, err := a.discoverPath(path, o)
		if err != nil {
			return nil, err
		}
		finds = append(finds, inPath...)
	}
	return withoutTwins(finds), nil
}

// withoutTwins leaves out what was found before: a variable may name a file
// that is found by itself too.
func withoutTwins(finds []discover.Find) (unique []discover.Find) {
	seen := map[string]bool{}
	for _, f := range finds {
		key := strings.Join([]string{f.From, f.Form, f.Provider, f.Client, f.Why}, "\x00")
		if !seen[key] {
			unique = append(unique, f)
		}
		seen[key] = true
	}
	return unique
}

// usualPlaces are the files and folders, if they are there, where the tools
// that are known here keep what could be taken.
func usualPlaces() (paths []string) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	config := cmp.Or(os.Getenv("OIDC_CONFIG_DIR"), filepath.Join(home, ".config", "oidc-agent"))
	for _, path := range []string{
		filepath.Join(home, ".azure", "service_principal_entries.json"),
		filepath.Join(home, ".config", "gcloud", "application_default_credentials.json"),
		filepath.Join(home, ".oidc-agent"), config, ".env",
	} {
		if there(path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// discoverPath finds what there is in a file, in the files of a folder, or in
// stdin.
func (a *app) discoverPath(path string, o discover.Options) ([]discover.Find, error) {
	if path == "-" {
		return a.discoverStdin(o)
	}
	if looksSecret(path) {
		return nil, contentForName(secretInput{field: "PATH"})
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadablePath(path, err)
	}
	if !info.IsDir() {
		content, err := readImport(path)
		if err != nil {
			return nil, usage("%v", err)
		}
		finds := discover.File(path, content, o)
		if finds == nil {
			finds = []discover.Find{{From: path, Form: "file", Why: "it is of no form that is known here"}}
		}
		return finds, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadablePath(path, err)
	}
	var finds []discover.Find
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		content, err := readImport(file)
		if err != nil {
			finds = append(finds, discover.Find{From: file, Form: "file", Why: err.Error()})
			continue
		}
		finds = append(finds, discover.File(file, content, o)...)
	}
	return finds, nil
}

// discoverStdin finds what there is in stdin, which leaves no file behind.
func (a *app) discoverStdin(o discover.Options) ([]discover.Find, error) {
	content, err := a.readKnown(secretInput{field: "import"}, "-")
	if err != nil {
		return nil, err
	}
	finds := discover.File("stdin", content, o)
	for i := range finds {
		finds[i].Files = slices.DeleteFunc(finds[i].Files, func(file string) bool { return file == "stdin" })
	}
	return finds, nil
}

func unreadablePath(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return usage("there is no file or folder %s", path)
	}
	return usage("%v", err)
}

// readImport reads a file that may hold a credential. Larger ones hold none.
func readImport(path string) ([]byte, error) {
	f, err := os.Open(expandHome(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no plain file", path))
	}
	b, err := io.ReadAll(io.LimitReader(f, ipc.MaxBody/2+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > ipc.MaxBody/2 || bytes.IndexByte(b, 0) >= 0 && !isPFX(b):
		return nil, nil
	}
	return b, nil
}

// planAll gives each find a profile's name that is free, or tells which profile
// there is of it.
func planAll(finds []discover.Find, profiles []token.ProfileStatus) []plan {
	taken := map[string]bool{}
	for _, p := range profiles {
		taken[p.Name] = true
	}
	plans := make([]plan, len(finds))
	for i, f := range finds {
		plans[i] = plan{Find: f}
		if f.Why != "" {
			continue
		}
		if plans[i].existing = madeOf(f, profiles); plans[i].existing == "" {
			plans[i].profile = freeName(f.Name, taken)
			taken[plans[i].profile] = true
		}
	}
	return plans
}

// madeOf is the profile that a find was made a profile of before, "" if none
// was: it is known by who it is at the issuer.
func madeOf(f discover.Find, profiles []token.ProfileStatus) string {
	for _, p := range profiles {
		if p.Provider == f.Provider && f.Client != "" && (p.Settings["client_id"] == f.Client || p.Settings["issuer"] == f.Client) {
			return p.Name
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

// planned tells what is to be done.
func (a *app) planned(plans []plan) (text string) {
	rows := []row{header("PROFILE", "PROVIDER", "FROM")}
	for _, p := range plans {
		if !p.takes() {
			continue
		}
		r := row{cells: []cell{{text: printable(p.profile)}, {text: printable(p.Provider)}, {text: printable(p.From)}}}
		r.notes = append(r.notes, printable(p.Form))
		for _, note := range append([]string{p.Note}, exposed(p.Files)...) {
			if note != "" {
				r.notes = append(r.notes, printable(note))
			}
		}
		rows = append(rows, r)
	}
	if len(rows) > 1 {
		text = a.out.table(rows)
	}
	var already, left []string
	for _, p := range plans {
		switch {
		case p.existing != "":
			already = append(already, p.From+" ("+p.Form+"): the profile "+p.existing+" is of it")
		case p.Why != "":
			left = append(left, p.From+" ("+p.Form+"): "+p.Why)
		}
	}
	return strings.TrimPrefix(text+a.noticed("There already", good, already)+a.noticed("Cannot be taken", warn, left), "\n")
}

// exposed tells of files that other users can read.
func exposed(files []string) (notes []string) {
	for _, file := range files {
		info, err := os.Stat(file)
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o044 != 0 {
			notes = append(notes, fmt.Sprintf("other users can read %s (mode %04o): a new key or secret would be better", file, info.Mode().Perm()))
		}
	}
	return notes
}

// carryOut makes the profiles, one after the other.
func (a *app) carryOut(c *cobra.Command, plans []plan, im importing) {
	waiting := a.progress("Making profiles")
	defer waiting.end()
	n, all := 0, 0
	for _, p := range plans {
		if p.takes() {
			all++
		}
	}
	for i := range plans {
		p := &plans[i]
		if !p.takes() {
			continue
		}
		n++
		waiting.say(fmt.Sprintf("%d of %d: obtaining a token for %s", n, all, p.profile))
		p.done = true
		p.added, p.err = a.importOne(c, *p, im)
		if errors.Is(p.err, token.ErrNoDaemon) || c.Context().Err() != nil {
			return // the others would fare no better
		}
	}
}

// importOne makes one profile.
func (a *app) importOne(c *cobra.Command, p plan, im importing) (added token.Added, err error) {
	d, err := a.daemon()
	if err != nil {
		return added, err
	}
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	return d.Add(ctx, token.Addition{
		Name: p.profile, Provider: p.Provider, Settings: p.Settings, Secrets: p.Secrets, NoCheck: im.noCheck,
	})
}

// carried tells what became of the plans, and what is not needed any more.
func (a *app) carried(c *cobra.Command, plans []plan) string {
	rows := []row{header("PROFILE", "RESULT")}
	var files, variables []string
	checked := true
	for _, p := range plans {
		if !p.takes() {
			continue
		}
		r := row{cells: []cell{{text: printable(p.profile)}, p.result()}}
		if p.err != nil {
			a.profile = p.profile
			r.notes = append([]string{printable(p.err.Error())}, hints(p.err, a.situation(c, p.err))...)
			r.notes = append(r.notes, explained(topicOf(p.err))...)
		} else if p.done {
			checked = checked && p.added.Checked
			r.notes = append(r.notes, "Use it: "+typed(use(p.added.Profile)))
			files = append(files, remaining(p, plans)...)
			for _, v := range p.Variables {
				variables = append(variables, v+" in "+p.From)
			}
		}
		rows = append(rows, r)
	}
	text := a.out.table(rows)
	slices.Sort(files)
	if len(variables) > 0 {
		text += a.noticed("Variables that are not needed any more", plain, variables)
	}
	if told := toldFiles(slices.Compact(files), checked, "tokenctl get"); told != "" {
		text += "\n" + told
	}
	return text
}

// result says in a word or two what became of a plan.
func (p plan) result() cell {
	switch {
	case p.err != nil:
		return cell{"nothing was kept", bad}
	case !p.done:
		return cell{"not tried", warn}
	case p.added.Checked:
		return cell{"ready; a token came in " + took(p.added.Took), good}
	}
	return cell{"made, untested", warn}
}

// remaining are the files of p that hold nothing else that is still needed.
func remaining(p plan, plans []plan) (files []string) {
	for _, file := range p.Files {
		needed := slices.ContainsFunc(plans, func(other plan) bool {
			return (other.err != nil || other.takes() && !other.done || other.Why != "") && (other.From == file || slices.Contains(other.Files, file))
		})
		// A file of variables may hold much else.
		if !needed && len(p.Variables) == 0 {
			files = append(files, file)
		}
	}
	return files
}

// worst is the first error among the plans, as one about all of them: each was
// told already. That nothing at all can be taken is one too.
func worst(plans []plan) error {
	for _, p := range plans {
		if p.err != nil {
			return toldAlready{p.err}
		}
	}
	if slices.ContainsFunc(plans, func(p plan) bool { return p.Why == "" }) {
		return nil
	}
	return toldAlready{token.ErrInvalid}
}

// toldAlready is an error that was told where it happened.
type toldAlready struct{ error }

func (e toldAlready) Unwrap() error { return e.error }

// importResult is the answer to import --json, for each find.
type importResult struct {
	From     string         `json:"from"`
	Form     string         `json:"form"`
	Provider string         `json:"provider,omitempty"`
	Settings map[string]any `json:"settings,omitempty"`
	// Profile is the one to be made, or that was made; Existing the one that
	// there is of it already.
	Profile  string `json:"profile,omitempty"`
	Existing string `json:"existing,omitempty"`
	Note     string `json:"note,omitempty"`
	// Problem says why it cannot be taken.
	Problem string `json:"problem,omitempty"`
	// Done: the profile was made; Checked: a token proved it; Error: why not.
	Done    bool         `json:"done"`
	Checked bool         `json:"checked,omitempty"`
	Error   *token.Error `json:"error,omitempty"`
	// Files and Variables are not needed any more once it is done.
	Files     []string `json:"files,omitempty"`
	Variables []string `json:"variables,omitempty"`
}

func (a *app) importJSON(c *cobra.Command, plans []plan, im importing) error {
	if im.yes {
		a.carryOut(c, plans, im)
	}
	results := []importResult{}
	for _, p := range plans {
		r := importResult{
			From: p.From, Form: p.Form, Provider: p.Provider, Settings: p.Settings, Profile: p.profile, Existing: p.existing,
			Note: p.Note, Problem: p.Why, Done: p.done && p.err == nil, Checked: p.added.Checked, Variables: p.Variables,
		}
		if p.takes() {
			r.Files = remaining(p, plans)
		}
		if p.err != nil && !errors.As(p.err, &r.Error) {
			r.Error = &token.Error{Code: codeOf(p.err), Message: p.err.Error()}
		}
		results = append(results, r)
	}
	if err := a.out.answerJSON(map[string]any{"found": results}); err != nil {
		return err
	}
	return worst(plans)
}
