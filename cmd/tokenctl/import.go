package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/discover"
	"tokend/cmd/tokenctl/ui"
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

// A plan is what is to become of one find.
type plan struct {
	discover.Find
	// profile is the name that it gets, existing that of the profile that is
	// made of it already.
	profile, existing string
	// added is what became of it, err why nothing did; done: it was tried.
	added token.Created
	err   error
	done  bool
}

// takes tells whether something is to be made of it.
func (p plan) takes() bool { return p.Why == "" && p.existing == "" }

func (a *app) importAll(c *cli.Call, im importing) error {
	finds, err := a.discoverAll(im)
	if err != nil {
		return err
	}
	st, err := a.Status(a.ctx)
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
	if err := a.Out.Answer(a.planned(plans)); err != nil {
		return err
	}
	if !slices.ContainsFunc(plans, plan.takes) {
		return worst(plans)
	}
	switch t, ok := a.Terminal(); {
	case im.yes:
	case !ok:
		return a.Out.Answer("\nNothing is done yet. To do it: the same command with --yes\n")
	default:
		yes, err := t.Confirm("\nMake these profiles?")
		if err != nil || !yes {
			a.Err.Print("Nothing is done.\n")
			return err
		}
	}
	a.carryOut(c, plans, im)
	if err := a.Out.Answer("\n" + a.carried(c, plans)); err != nil {
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
	return &token.Error{Code: token.ErrInvalid, Cause: cli.ErrUsage, Message: "no key or secret of a known form is " + where}
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
		plans[i].existing = cmp.Or(madeOf(f, profiles), sameAs(f, plans[:i]))
		if plans[i].existing == "" {
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
		if p.Provider == f.Provider && f.Client != "" && (p.Settings.Text("client_id") == f.Client || p.Settings.Text("issuer") == f.Client) {
			return p.Name
		}
	}
	return ""
}

// sameAs is the profile that is to be made of the same credential, found
// before, "" if there is none.
func sameAs(f discover.Find, before []plan) string {
	for _, p := range before {
		if p.takes() && p.Provider == f.Provider && p.Client == f.Client && reflect.DeepEqual(p.Settings, f.Settings) && reflect.DeepEqual(p.Secrets, f.Secrets) {
			return p.profile
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

// carryOut makes the profiles, one after the other.
func (a *app) carryOut(c *cli.Call, plans []plan, im importing) {
	waiting := a.Progress("Making profiles")
	defer waiting.End()
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
		waiting.Say(fmt.Sprintf("%d of %d: obtaining a token for %s", n, all, p.profile))
		p.done = true
		p.added, p.err = a.importOne(c, *p, im)
		if errors.Is(p.err, token.ErrNoDaemon) || a.ctx.Err() != nil {
			return // the others would fare no better
		}
	}
}

// importOne makes one profile.
func (a *app) importOne(c *cli.Call, p plan, im importing) (added token.Created, err error) {
	d, err := a.Client()
	if err != nil {
		return added, err
	}
	ctx, cancel := context.WithTimeout(a.ctx, ui.Patience)
	defer cancel()
	return d.Add(ctx, token.CreateProfile{
		Name: p.profile, Provider: p.Provider, Settings: p.Settings, Secrets: p.Secrets, NoCheck: im.noCheck,
	})
}

// worst is the first error among the plans, as one about all of them: each was
// told already. That nothing at all can be taken is one too.
func worst(plans []plan) error {
	for _, p := range plans {
		if p.err != nil {
			return &ui.Exit{Status: ui.ExitStatus(p.err)}
		}
	}
	if slices.ContainsFunc(plans, func(p plan) bool { return p.Why == "" }) {
		return nil
	}
	return &ui.Exit{Status: ui.ExitUsage}
}
