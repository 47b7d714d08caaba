package form

import (
	"time"

	"tokend/cmd/tokenctl/ui"
	"tokend/providers/token"
)

// renderProfile describes a profile that has a credential now: where that is
// stored, that you can delete its files, and how to use it.
func renderProfile(created token.Created, files []string, now time.Time) string {
	p := created.Profile
	tokenless := p.Does == "signs" || p.Does == "verifies"
	how := "is ready"
	if !created.Checked && !tokenless {
		how = "is saved, untested"
	}
	text := "The profile " + ui.Printable(p.Name) + " " + how + ": " + ui.Printable(p.Provider)
	if p.Endpoint != "" {
		text += ", " + ui.Printable(p.Endpoint)
	}
	text += "\n" + listed("Saved", created.Kept)
	for _, found := range created.Found {
		text += "Found " + ui.Printable(found) + "\n"
	}
	switch key := PublicKey(p.Settings); {
	case !tokenless:
		text += renderCheck(created, now)
	case key != "":
		text += renderPublicKey(ui.Printable(ui.Word(p.Name)), key, "unless it is there already")
	}
	if ends := p.CredentialExpires; !ends.IsZero() {
		text += "The credential itself expires on " + ui.Day(ends) + ", " + ui.When(ends, now) + ".\n"
	}
	for _, warning := range p.Warnings {
		text += ui.Wrap("Warning: "+ui.Printable(warning), "")
	}
	return text + renderFiles(files, created.Checked, UseOf(p)) + "Use it: " + UseOf(p) + "\n"
}

// UseOf is the command that uses a profile.
func UseOf(p token.ProfileStatus) string {
	name := ui.Printable(ui.Word(p.Name))
	switch p.Does {
	case "signs":
		return "tokenctl sign " + name + " URL"
	case "verifies":
		return "tokenctl verify " + name
	}
	return "tokenctl get " + name
}

// listed is lines below a heading, empty if there are none.
func listed(heading string, lines []string) (text string) {
	for _, line := range lines {
		text += "\n  " + ui.Printable(line)
	}
	if text == "" {
		return ""
	}
	return heading + ":" + text + "\n"
}

// renderPublicKey asks to register a key, which public-key prints again.
func renderPublicKey(name, key, how string) string {
	return "Register this public key with the service, " + how + "\n(\"tokenctl public-key " + name + "\" prints it again):\n" + key
}

func renderCheck(created token.Created, now time.Time) string {
	if !created.Checked {
		return "No token was obtained, so nothing proves yet that it works.\n"
	}
	text := "A token was obtained in " + ui.Took(created.Took) + ", so it works"
	if tokens := created.Profile.Tokens; len(tokens) > 0 && tokens[0].Expiry.After(now) {
		text += "; it expires " + ui.When(tokens[0].Expiry, now)
	}
	return text + ".\n"
}

// renderFiles lists the files that you can delete, once use has worked if no
// token was obtained.
func renderFiles(files []string, checked bool, use string) string {
	if checked {
		return listed("Now you can delete", files)
	}
	return listed("Once \""+use+"\" has worked, you can delete", files)
}
