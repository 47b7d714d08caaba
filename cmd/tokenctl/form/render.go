package form

import (
	"fmt"
	"strings"
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
	var b strings.Builder
	fmt.Fprintf(&b, "The profile %s %s: %s", ui.Printable(p.Name), how, ui.Printable(p.Provider))
	if p.Endpoint != "" {
		b.WriteString(", " + ui.Printable(p.Endpoint))
	}
	b.WriteString("\n" + renderSaved(created))
	for _, found := range created.Found {
		b.WriteString("Found " + ui.Printable(found) + "\n")
	}
	switch key := PublicKey(p.Settings); {
	case !tokenless:
		b.WriteString(renderCheck(created, now))
	case key != "":
		b.WriteString(renderPublicKey(ui.Printable(ui.Word(p.Name)), key, "unless it is there already"))
	}
	if ends := p.CredentialExpires; !ends.IsZero() {
		fmt.Fprintf(&b, "The credential itself expires on %s, %s.\n", ui.Day(ends), ui.When(ends, now))
	}
	for _, warning := range p.Warnings {
		b.WriteString(ui.Wrap("Warning: "+ui.Printable(warning), ""))
	}
	b.WriteString(renderFiles(files, created.Checked, UseOf(p)))
	fmt.Fprintf(&b, "Use it: %s\n", UseOf(p))
	return b.String()
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

// renderSaved lists where the settings and secrets are stored.
func renderSaved(created token.Created) string {
	if len(created.Kept) == 0 {
		return ""
	}
	text := "Saved:\n"
	for _, saved := range created.Kept {
		text += "  " + ui.Printable(saved) + "\n"
	}
	return text
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
	if len(files) == 0 {
		return ""
	}
	text := "Now you can delete:\n"
	if !checked {
		text = "Once \"" + use + "\" has worked, you can delete:\n"
	}
	for _, file := range files {
		text += "  " + ui.Printable(file) + "\n"
	}
	return text
}
