package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

// What import says of its plans.

// planned tells what is to be done.
func (a *app) planned(plans []plan) (text string) {
	rows := []ui.Row{ui.Header("PROFILE", "PROVIDER", "FROM")}
	for _, p := range plans {
		if !p.takes() {
			continue
		}
		r := ui.Row{Cells: []ui.Cell{{Text: ui.Printable(p.profile)}, {Text: ui.Printable(p.Provider)}, {Text: ui.Printable(p.From)}}}
		r.Notes = append(r.Notes, ui.Printable(p.Form))
		for _, note := range append([]string{p.Note}, exposed(p.Files)...) {
			if note != "" {
				r.Notes = append(r.Notes, ui.Printable(note))
			}
		}
		rows = append(rows, r)
	}
	if len(rows) > 1 {
		text = a.Out.Table(rows)
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
	return strings.TrimPrefix(text+a.Out.Section("There already", ui.Good, already)+a.Out.Section("Cannot be taken", ui.Warn, left), "\n")
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

// carried tells what became of the plans, and what is not needed any more.
func (a *app) carried(c *cli.Call, plans []plan) string {
	rows := []ui.Row{ui.Header("PROFILE", "RESULT")}
	var files, variables []string
	checked := true
	for _, p := range plans {
		if !p.takes() {
			continue
		}
		r := ui.Row{Cells: []ui.Cell{{Text: ui.Printable(p.profile)}, p.result()}}
		if p.err != nil {
			a.Profile = p.profile
			r.Notes = append([]string{ui.Printable(p.err.Error())}, ui.Hints(p.err, a.Situation(a.ctx, c, p.err))...)
		} else if p.done {
			checked = checked && p.added.Checked
			r.Notes = append(r.Notes, "Use it: "+ui.Typed(useCommand(p.added.Profile)))
			files = append(files, remaining(p, plans)...)
			for _, v := range p.Variables {
				variables = append(variables, v+" in "+p.From)
			}
		}
		rows = append(rows, r)
	}
	text := a.Out.Table(rows)
	slices.Sort(files)
	if len(variables) > 0 {
		text += a.Out.Section("Variables that are not needed any more", ui.Plain, variables)
	}
	if told := toldFiles(slices.Compact(files), checked, "tokenctl get"); told != "" {
		text += "\n" + told
	}
	return text
}

// result says in a word or two what became of a plan.
func (p plan) result() ui.Cell {
	switch {
	case p.err != nil:
		return ui.Cell{Text: "nothing was kept", As: ui.Bad}
	case !p.done:
		return ui.Cell{Text: "not tried", As: ui.Warn}
	case p.added.Checked:
		return ui.Cell{Text: "ready; a token came in " + ui.Took(p.added.Took), As: ui.Good}
	}
	return ui.Cell{Text: "made, untested", As: ui.Warn}
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

func (a *app) importJSON(c *cli.Call, plans []plan, im importing) error {
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
			r.Error = &token.Error{Code: ui.CodeOf(p.err), Message: p.err.Error()}
		}
		results = append(results, r)
	}
	if err := a.Out.AnswerJSON(map[string]any{"found": results}); err != nil {
		return err
	}
	return worst(plans)
}
