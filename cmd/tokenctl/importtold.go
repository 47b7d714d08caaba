package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tokend/providers/token"
)

// What import says of its plans.

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
