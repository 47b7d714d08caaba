package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

// overview says in a few lines what runs and what to do next, which is what
// tokenctl without arguments is for.
func overview(ctx context.Context, e *ui.Env, c *cli.Call) error {
	st, err := e.Status(ctx)
	var lines []string
	switch {
	case err == nil:
		lines = overviewLines(st, time.Now())
	case errors.Is(err, token.ErrNoDaemon) && !e.Starts:
		lines = append([]string{"tokend is not running: " + ui.Printable(err.Error()) + "."}, e.Situation(ctx, c, err).NoDaemon()...)
	default:
		return err
	}
	text := ""
	for _, line := range append(lines, "All commands: "+ui.Typed("tokenctl --help")) {
		text += ui.Wrap(line, "")
	}
	return e.Out.Answer(text)
}

// overviewLines are the lines about a daemon that answers.
func overviewLines(st token.Status, now time.Time) []string {
	whose := ""
	if ui.IsSystem(st) {
		whose = "The system's "
	}
	lines := []string{fmt.Sprintf("%stokend %s is running, started %s; its keystore is %s.",
		whose, ui.Printable(st.Version), ui.When(st.Started, now), ui.Printable(st.Keystore))}
	if len(st.Profiles) == 0 {
		lines = append(lines, strings.TrimSpace(noProfiles(st)))
		switch {
		case st.MayManage:
			lines = append(lines, "Import what you have in files and in the environment: "+ui.Typed("tokenctl import"))
		case whose != "":
			lines = append(lines, ui.OwnInstead)
		}
		return lines
	}
	next := "Use one: " + ui.Typed(form.UseOf(st.Profiles[0]))
	for _, p := range slices.Backward(st.Profiles) { // the first one counts
		if tokensOf(p)[0].Error != nil || len(p.Warnings) > 0 {
			next = "Needs attention: " + ui.Typed("tokenctl status", ui.Printable(ui.Word(p.Name)))
		}
	}
	return append(lines, next, "See all: "+ui.Typed("tokenctl status")+"; one at length: "+ui.Typed("tokenctl status NAME"))
}

func listCommand(e *ui.Env) *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name:  "list",
		Short: "List the profiles",
		Long: `  tokenctl list
  tokenctl list --json | jq -r '.profiles[].name'

Lists the profiles with the state of their tokens and how long those live. A
profile without tokens shows what it does instead: it signs or verifies.`,
		Flags: jsonFlag(&asJSON),
		Run: func(ctx context.Context, _ *cli.Call) error {
			st, err := e.Status(ctx)
			if err != nil {
				return err
			}
			return answer(e, asJSON, ipc.ProfileList{Profiles: st.Profiles}, listText(e.Out, st, time.Now()))
		},
	}
}

// noProfiles says that there are none, or none for this user.
func noProfiles(st token.Status) string {
	if st.MayManage {
		return "There is no profile yet. Make one: tokenctl add\n"
	}
	return "There is no profile that you may use. Ask the person who manages them.\n"
}

func listText(s ui.Screen, st token.Status, now time.Time) string {
	if len(st.Profiles) == 0 {
		return noProfiles(st)
	}
	var rows []ui.Row
	for _, p := range st.Profiles {
		t := tokensOf(p)[0]
		rows = append(rows, ui.Row{Cells: []ui.Cell{
			{Text: ui.Printable(p.Name)}, {Text: ui.Printable(p.Provider)}, stateOf(t), {Text: ui.WhenOrDash(t.Expiry, now)},
		}})
	}
	return s.List(rows, "PROFILE", "PROVIDER", "STATE", "EXPIRES")
}

// tokensOf are the profile's tokens, that for its own target first, or what stands
// for them: what the profile does instead, if it is of such a kind.
func tokensOf(p token.ProfileStatus) []token.TokenStatus {
	switch {
	case len(p.Tokens) > 0:
		return p.Tokens
	case hasNoTokens(p.Does):
		return []token.TokenStatus{{State: p.Does, LastUsed: p.LastUsed, LastUser: p.LastUser}}
	}
	return []token.TokenStatus{{State: "none"}}
}

func hasNoTokens(does string) bool { return does == "signs" || does == "verifies" }

// usable reports whether tokend serves a token.
func usable(t token.TokenStatus) bool {
	return t.State == token.Fresh.String() || t.State == token.Due.String()
}

// stateOf is a word for a token: its state while it can be used, else why
// there is none.
func stateOf(t token.TokenStatus) ui.Cell {
	state := ui.Cell{Text: ui.Printable(t.State), As: ui.Faint}
	switch {
	case hasNoTokens(t.State), usable(t) && t.Error == nil:
		state.As = ui.Good
	case usable(t):
		state.As = ui.Warn
	case t.Error != nil:
		why := map[token.Code]string{token.ErrRejected: "refused", token.ErrLocked: "locked"}[t.Error.Code]
		state = ui.Cell{Text: cmp.Or(why, "failing"), As: ui.Bad}
	case t.Obtaining:
		state = ui.Cell{Text: "obtaining", As: ui.Warn}
	}
	return state
}

const statusHelp = `  tokenctl status
  tokenctl status clms
  tokenctl status --watch
  tokenctl status --json | jq '.profiles[] | {name, tokens}'

Shows the state of tokend and its profiles: how much of each token's life is
left, when tokend renews it, who used it last, and what is going wrong. With a
name it shows one profile at length: its settings, what its token contains, and
the results of the last attempts to obtain one. The exit status is 0 whatever
the state is; 7 if tokend is not running, 3 if there is no such profile.

States:
  fresh      good, and not yet due to be renewed
  due        good, and tokend is obtaining the next one
  obtaining  there is none yet, and tokend is obtaining one
  none       there is none; tokend obtains one when you ask for it
  expired    as none, and the last one has expired
  failing    there is none, and the last attempt failed; tokend tries again
  refused    there is none, because the issuer refuses: it needs you
  locked     there is none, because the keyring is locked
  signs, verifies   what a profile without tokens does`

func statusCommand(e *ui.Env) *cli.Command {
	var asJSON, watched bool
	return &cli.Command{
		Name:  "status",
		Args:  "[NAME]",
		Short: "Show the state of tokend and its profiles",
		Long:  statusHelp,
		Flags: func(f *cli.Flags) {
			f.BoolVar(&asJSON, "json", false, "print JSON (docs/protocol.md: GET /v1/status, /v1/profiles/NAME)")
			f.BoolVar(&watched, "watch, w", false, "show it live until Ctrl-C; for terminals")
		},
		Check: func(ctx context.Context, c *cli.Call) error {
			if len(c.Args) == 0 {
				return nil
			}
			return e.OneProfile(ctx, c)
		},
		Complete: e.CompleteProfile,
		Run: func(ctx context.Context, _ *cli.Call) error {
			switch {
			case asJSON && watched:
				return cli.Usage("--json and --watch cannot be combined")
			case watched:
				return watch(ctx, e)
			}
			return answerState(ctx, e, asJSON)
		},
	}
}

// answerState answers with the state of the profile that was named, or of all.
func answerState(ctx context.Context, e *ui.Env, asJSON bool) error {
	state, text, err := currentState(ctx, e)
	if err != nil {
		return err
	}
	return answer(e, asJSON, state, text)
}

// currentState is what answerState answers, as a value and in words.
func currentState(ctx context.Context, e *ui.Env) (state any, text string, err error) {
	if e.Profile != "" {
		p, err := e.ProfileStatus(ctx, e.Profile)
		return p, profileText(e.Out, p, time.Now()), err
	}
	st, err := e.Status(ctx)
	return st, daemonText(e.Out, st, time.Now()), err
}

// daemonText shows tokend and all profiles.
func daemonText(s ui.Screen, st token.Status, now time.Time) string {
	rows := []ui.Row{
		ui.Pair("tokend", fmt.Sprintf("%s, process %d, started %s", st.Version, st.PID, ui.When(st.Started, now)), ui.Plain),
		ui.Pair("keystore", st.Keystore, health(st.Keystore)),
		ui.Pair("cache", st.Cache, health(st.Cache)),
	}
	if st.Sandbox != "" {
		rows = append(rows, ui.Pair("sandbox", st.Sandbox, health(st.Sandbox)))
	}
	text := s.Table(append(rows, pairs("config", st.Config, "state", st.State)...)) + "\n"
	if len(st.Profiles) == 0 {
		text += noProfiles(st)
	} else {
		text += profileTable(s, st.Profiles, now)
	}
	return text + warningsText(s, st)
}

// health is the style of a text such as "ok" or "os: locked".
func health(text string) ui.Style {
	if text == "ok" || text == "writing" || strings.HasSuffix(text, ": ok") {
		return ui.Good
	}
	return ui.Bad
}

// profileTable has a line for each token, and what goes wrong below it.
func profileTable(s ui.Screen, profiles []token.ProfileStatus, now time.Time) string {
	var rows []ui.Row
	for _, p := range profiles {
		for i, t := range tokensOf(p) {
			name := ui.Printable(p.Name)
			if i > 0 {
				name = ""
			}
			rows = append(rows, ui.Row{
				Cells: []ui.Cell{{Text: name}, stateOf(t), lifeLeft(t, now), {Text: nextTry(t, now)}, {Text: lastUse(t.LastUsed, t.LastUser, ", ", now)}},
				Notes: tokenNotes(t, now),
			})
		}
	}
	return s.List(rows, "PROFILE", "STATE", "LEFT", "NEXT", "LAST USED")
}

// barLength is how many characters draw a token's whole life.
const barLength = 8

// lifeLeft is what is left of a token's life, drawn and in words.
func lifeLeft(t token.TokenStatus, now time.Time) ui.Cell {
	if !usable(t) {
		return ui.Cell{Text: "-"}
	}
	life, left := t.Expiry.Sub(t.Issued), max(0, t.Expiry.Sub(now))
	full := 0
	if life > 0 {
		full = min(barLength, int((left*barLength+life-1)/life)) // the last bit shows until it is gone
	}
	return ui.Cell{Text: strings.Repeat("#", full) + strings.Repeat("-", barLength-full) + " " + ui.Duration(left), As: stateOf(t).As}
}

// nextTry says when tokend obtains the next token, if that is planned.
func nextTry(t token.TokenStatus, now time.Time) string {
	next := t.RenewAt
	if t.Error != nil && (!usable(t) || t.Error.RetryAt.After(next)) {
		next = t.Error.RetryAt
	}
	switch {
	case next.IsZero() && !t.Obtaining:
		return "-"
	case t.Obtaining || next.Before(now):
		return "now"
	}
	return ui.When(next, now)
}

// lastUse says when something was last used, and after sep by whom.
func lastUse(at time.Time, by *token.User, sep string, now time.Time) string {
	text := ui.WhenOrDash(at, now)
	if name := userText(by); name != "" {
		text += sep + name
	}
	return text
}

// userText names a program, and its user if that is another than this one.
func userText(u *token.User) string {
	if u == nil {
		return ""
	}
	text := ui.Printable(u.Program)
	if text == "" && u.PID != 0 {
		text = fmt.Sprintf("process %d", u.PID)
	}
	if u.UID != os.Getuid() {
		text += " of " + cmp.Or(ui.Printable(u.Name), fmt.Sprintf("uid %d", u.UID))
	}
	return strings.TrimPrefix(text, " of ")
}

func tokenNotes(t token.TokenStatus, now time.Time) (notes []string) {
	if t.Scope != "" {
		notes = append(notes, "scope "+ui.Printable(t.Scope))
	}
	if t.Audience != "" {
		notes = append(notes, "audience "+ui.Printable(t.Audience))
	}
	if t.Error != nil {
		notes = append(notes, failureText(t, now))
	}
	return notes
}

// failureText says why the last attempt failed, when tokend tries again, and
// how long the cached token lasts.
func failureText(t token.TokenStatus, now time.Time) string {
	text := ui.Printable(t.Error.Error())
	if t.Failures > 1 {
		text += fmt.Sprintf(" (%d times in a row)", t.Failures)
	}
	if next := nextTry(t, now); next != "-" {
		text += "; trying again " + next
	}
	if usable(t) {
		text += "; the cached token is good for " + ui.Duration(t.Expiry.Sub(now))
	}
	return text
}

func warningsText(s ui.Screen, st token.Status) string {
	lines := slices.Clone(st.Warnings)
	for _, p := range st.Profiles {
		for _, warning := range p.Warnings {
			lines = append(lines, p.Name+": "+warning)
		}
	}
	var orphans []string
	for _, name := range st.Orphans {
		orphans = append(orphans, name+": delete them with tokenctl remove "+ui.Word(name)+", or, if you renamed the file, move them with tokenctl rename "+ui.Word(name)+" NEW")
	}
	return s.Section("Warnings", ui.Warn, lines) +
		s.Section("Secrets without a profile, whose file was deleted or renamed", ui.Warn, orphans) +
		s.Section("Files that could not be loaded (what was loaded before stays)", ui.Bad, st.ConfigErrors)
}

func showCommand(e *ui.Env) *cli.Command {
	var asJSON, held bool
	return e.ForProfile(&cli.Command{
		Name:  "show",
		Short: "Show a profile's settings, and where they are",
		Long: `  tokenctl show clms
  tokenctl show api --token         what the API sees: aud, roles, scp, tid, ver

Shows a profile, as "tokenctl status NAME" does: its file, its settings, where
its tokens come from, when its credential expires, what its tokens contain, and
the last attempts to obtain one. It never shows a secret.`,
		Flags: func(f *cli.Flags) {
			jsonFlag(&asJSON)(f)
			f.BoolVar(&held, "token", false, "show only the claims of the tokens that tokend holds, never a token")
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			if !held {
				return answerState(ctx, e, asJSON)
			}
			p, err := e.ProfileStatus(ctx, e.Profile)
			if err != nil {
				return err
			}
			p.Tokens = slices.DeleteFunc(p.Tokens, func(t token.TokenStatus) bool { return t.Content == nil })
			return answer(e, asJSON, p.Tokens, heldText(e.Out, p, time.Now()))
		},
	})
}

// heldText shows what the tokens of a profile say to an API.
func heldText(s ui.Screen, p token.ProfileStatus, now time.Time) (text string) {
	for _, t := range p.Tokens {
		rows := pairs("for scope", t.Scope, "for audience", t.Audience)
		if t.Content.Claims == nil { // not a JWT
			rows = append(rows, claimRows(t.Content)...)
		}
		for _, name := range token.ShownClaims {
			if value, ok := t.Content.Claims[name]; ok {
				text := settingText(value)
				if name == "exp" {
					text += ", " + ui.When(t.Expiry, now)
				}
				rows = append(rows, ui.Pair(name, text, ui.Plain))
			}
		}
		text += s.Table(rows)
	}
	return cmp.Or(text, ui.Wrap("tokend holds no token of "+ui.Printable(p.Name)+"; \"tokenctl get "+ui.Printable(ui.Word(p.Name))+"\" obtains one.", ""))
}

// profileText shows one profile: what it is made of, its tokens, and what tokend
// warns of.
func profileText(s ui.Screen, p token.ProfileStatus, now time.Time) string {
	expires := "no known expiry"
	switch {
	case p.Does == "verifies":
		expires = "none needed"
	case !p.CredentialExpires.IsZero():
		expires = fmt.Sprintf("expires on %s, %s", ui.Day(p.CredentialExpires), ui.When(p.CredentialExpires, now))
	}
	rows := pairs("profile", p.Name, "provider", p.Provider, "file", p.File, "credential", expires, "endpoint", p.Endpoint, "renewal", p.Renew)
	if c := p.Pending; c != nil {
		rows = append(rows, ui.Pair("new key", "made "+ui.When(c.Stored, now)+", waits to be registered", ui.Warn))
	}
	for _, host := range p.Hosts {
		rows = append(rows, ui.Pair("for", host, ui.Plain))
	}
	rows = append(rows, pairs("shown as", string(p.Present), "second header", p.SecondHeader)...)
	for _, path := range p.Sinks {
		rows = append(rows, ui.Pair("written to", path, ui.Plain))
	}
	text := s.Table(rows)
	if len(p.Settings) > 0 {
		text += "\n" + settingsTable(s, p)
	}
	for _, t := range tokensOf(p) {
		text += "\n" + tokenText(s, p, t, now)
	}
	return text + warningsText(s, token.Status{Profiles: []token.ProfileStatus{p}})
}

// pairs are rows of names and values; one without a value is left out.
func pairs(texts ...string) (rows []ui.Row) {
	for pair := range slices.Chunk(texts, 2) {
		if pair[1] != "" {
			rows = append(rows, ui.Pair(pair[0], pair[1], ui.Plain))
		}
	}
	return rows
}

// tokenText shows one token: its state, what it contains, its history, and what
// to do if the last attempt failed.
func tokenText(s ui.Screen, p token.ProfileStatus, t token.TokenStatus, now time.Time) string {
	state, obtained := stateOf(t), ""
	rows := []ui.Row{ui.Pair("state", state.Text, state.As)}
	if usable(t) {
		rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: "left", As: ui.Faint}, lifeLeft(t, now)}})
	}
	if !t.Issued.IsZero() {
		obtained = ui.When(t.Issued, now) + ", for " + ui.Duration(t.Expiry.Sub(t.Issued))
	}
	rows = append(rows, pairs("obtained", obtained, "next", nextTry(t, now), "last used", useText(t.LastUsed, t.LastUser, now),
		"for scope", t.Scope, "for audience", t.Audience, "granted", t.Granted)...)
	text := s.Table(append(rows, claimRows(t.Content)...))
	if t.Error != nil {
		text += "\n" + s.Paint(ui.Bad, "The last attempt failed") + "\n" + ui.Wrap(failureText(t, now), "  ")
		hints := ui.SeeTopic(t.Error.Topic)
		if t.Error.Code != token.ErrUnavailable { // which passes by itself
			hints = ui.Hints(t.Error, ui.Situation{Command: "get", Profile: ui.Printable(p.Name), Now: now})
		}
		for _, line := range hints {
			text += ui.Wrap(line, "  ")
		}
	}
	return text + historyText(s, t.History, now)
}

// claimRows show what a token contains.
func claimRows(c *token.ClaimsPreview) []ui.Row {
	if c == nil {
		return nil
	}
	format := map[string]string{
		"jwt":    "a JWT; tokend has not verified what it says",
		"jwe":    "an encrypted JWT (JWE); only its recipient can read it",
		"opaque": "opaque; only its issuer knows what it stands for",
	}[c.Format]
	return pairs("token", cmp.Or(format, c.Format), "issuer", c.Issuer, "subject", c.Subject, "audience", strings.Join(c.Audience, " "),
		"client", c.Client, "scopes", strings.Join(c.Scopes, " "))
}

// useText says when something was last used and by whom, at length.
func useText(at time.Time, by *token.User, now time.Time) string {
	text := lastUse(at, by, " by ", now)
	if by != nil && by.PID != 0 && by.Program != "" {
		text += fmt.Sprintf(" (process %d)", by.PID)
	}
	return text
}

// historyText is a table of the last attempts to obtain a token.
func historyText(s ui.Screen, history []token.Attempt, now time.Time) string {
	if len(history) == 0 {
		return ""
	}
	var rows []ui.Row
	for _, at := range history {
		result := ui.Cell{Text: "a token", As: ui.Good}
		if at.Code != "" {
			result = ui.Cell{Text: ui.Printable(cmp.Or(at.Code.Error(), string(at.Code))), As: ui.Bad}
		}
		rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: ui.When(at.At, now)}, {Text: ui.Took(at.Took)}, result}})
	}
	return "\n" + s.List(rows, "ATTEMPT", "TOOK", "RESULT")
}

func settingsTable(s ui.Screen, p token.ProfileStatus) string {
	var rows []ui.Row
	for _, name := range slices.Sorted(maps.Keys(p.Settings)) {
		text := settingText(p.Settings[name])
		if name == "public_key" {
			text = "printed by: tokenctl public-key " + ui.Word(p.Name)
		}
		rows = append(rows, ui.Row{Cells: []ui.Cell{{Text: ui.Printable(name)}, {Text: ui.Printable(text)}}})
	}
	return s.List(rows, "SETTING", "VALUE")
}

// settingText is a setting's value on one line: text as it is, the rest as JSON.
func settingText(v any) string {
	s, ok := v.(string)
	if !ok {
		b, _ := json.Marshal(v) // it came as JSON
		return string(b)
	}
	s = strings.TrimSpace(s)
	if n := strings.Count(s, "\n") + 1; n > 1 {
		return fmt.Sprintf("(%d lines)", n)
	}
	return s
}

// watchPeriod is how often the screen is written again.
const watchPeriod = time.Second

// Escape sequences (ECMA-48, xterm's control sequences): the alternate screen,
// without cursor and without breaking lines that are too long.
const (
	enterWatch = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveWatch = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	frameStart = "\x1b[H"
	lineEnd    = "\x1b[K\r\n"
	frameEnd   = "\x1b[J"
)

// watch shows the current state live until it is interrupted, and leaves the terminal as
// it was. While tokend is not running it waits for it.
func watch(ctx context.Context, e *ui.Env) error {
	if !e.Out.ObeysEscapes() {
		return cli.Usage("--watch needs a terminal; programs use --json")
	}
	_, text, err := currentState(ctx, e)
	if err != nil {
		return err
	}
	ended, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	e.Watching = true
	e.Out.Print(enterWatch)
	defer e.Out.Print(leaveWatch)
	again := time.NewTicker(watchPeriod)
	defer again.Stop()
	for {
		e.Out.Print(frame(e.Out, text))
		select {
		case <-ended.Done():
			return nil
		case <-again.C:
		}
		if _, text, err = currentState(ctx, e); err != nil {
			if errors.Is(err, token.ErrNotFound) { // which will not pass
				return err
			}
			text = e.Out.Paint(ui.Bad, "Waiting for tokend.") + "\n" + ui.Wrap(ui.Printable(err.Error()), "")
		}
	}
}

// frame is text as one full screen.
func frame(s ui.Screen, text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if _, rows := s.Size(); len(lines) > rows-1 {
		lines = append(lines[:max(0, rows-2)], "... the window is too low for the rest")
	}
	return frameStart + strings.Join(lines, lineEnd) + lineEnd +
		s.Paint(ui.Faint, "Ctrl-C ends.") + "\x1b[K" + frameEnd
}
