package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tokend/cmd/tokenctl/child"
	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/form"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
)

const editHelp = `  tokenctl edit azure
  tokenctl edit azure --file new.toml   opens no editor; - is stdin

Opens the profile's file in your editor ($VISUAL, $EDITOR). When you leave it,
tokend checks the text, writes the file, uses it at once, and shows what has
changed. If something is wrong, the editor opens again and says what; leave it
unchanged to give up. What you typed is never lost.

If you change where the secret is sent, tokenctl asks for the secret again.

Root and tokend's own user may change everything. The profile's admin_users and
admin_groups, and those of config.toml, may change scopes, resources, renew and
idle.`

func editCommand(e *ui.Env) *cli.Command {
	s, file := form.New(e), ""
	return e.ForProfile(&cli.Command{
		Name:  "edit",
		Short: "Change a profile's settings",
		Long:  editHelp,
		Flags: func(f *cli.Flags) {
			f.StringVar(&file, "file", "", "`FILE` with the whole new text; open no editor")
			s.SecretFlags(f)
		},
		Run: func(ctx context.Context, _ *cli.Call) error {
			old, err := ui.Ask(ctx, e, func(d *ipc.Client, ctx context.Context) (token.ProfileText, error) {
				return d.ProfileText(ctx, e.Profile)
			})
			if err != nil {
				return err
			}
			if file == "" {
				return editText(ctx, e, s, old)
			}
			text, err := form.Input{Label: "--file"}.Read(e, file)
			if err != nil {
				return err
			}
			return s.SubmitText(ctx, old, string(text))
		},
	})
}

// editText has the person edit a text until tokend takes it or the person gives up. What
// tokend did not take stays in a file.
func editText(ctx context.Context, e *ui.Env, s *form.Submission, old token.ProfileText) error {
	file, err := child.DraftFile(e.Profile + ".toml")
	if err != nil {
		return err
	}
	text, head, failed := old.Text, "", error(nil)
	for {
		typed, err := child.Edit(e, file, head+text)
		for strings.HasPrefix(typed, complaints) {
			_, typed, _ = strings.Cut(typed, "\n")
		}
		if err == nil && failed != nil && typed == text {
			err = failed // the person has given up
		} else if err == nil {
			err = s.SubmitText(ctx, old, typed)
			// Whether another text may help.
			code := ui.CodeOf(err)
			if code == token.ErrDenied || code == token.ErrRejected || code == token.ErrInvalid && !errors.Is(err, cli.ErrUsage) {
				text, head, failed = typed, complaint(err, old.File), err
				continue
			}
		}
		if err == nil || typed == old.Text {
			_ = os.RemoveAll(filepath.Dir(file))
			return err
		}
		next := "To use it as it is: " + ui.Typed("tokenctl edit", ui.Word(e.Profile), "--file", file)
		if about, ok := errors.AsType[*token.Error](err); ok && about.Field == "revision" {
			next = "Edit the profile again, and take from it what is still right."
		}
		e.Note("Your text is in " + file + ". " + next)
		return errors.Join(err, os.WriteFile(file, []byte(typed), 0o600))
	}
}

// complaints begin the lines that say what is wrong with a text.
const complaints = "# tokenctl: "

// complaint says what is wrong with a file's text, to stand above it as comments.
func complaint(err error, file string) string {
	text := ui.Printable(err.Error())
	if at, rest, ok := strings.Cut(strings.TrimPrefix(text, file+":"), ": "); ok {
		if line, err := strconv.Atoi(at); err == nil {
			text = fmt.Sprintf("line %d: %s", line+2, rest) // below these two
		}
	}
	return complaints + text + "\n" + complaints + "Correct it, or leave the text as it is to give up.\n"
}
