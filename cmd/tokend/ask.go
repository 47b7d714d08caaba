package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/launch"
	"tokend/cmd/tokenctl/ui"
	"tokend/cmd/tokend/service"
	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

// What setup and uninstall ask a person.

func env() *ui.Env { return &ui.Env{In: os.Stdin, Err: ui.NewScreen(os.Stderr)} }

// confirm asks for permission, unless the command line has given it.
func confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	terminal, ok := env().Terminal()
	if !ok {
		return cli.Usage("there is no terminal to ask at: use --yes to do all this")
	}
	if sure, err := terminal.Confirm(question); err != nil || !sure {
		return errors.New("nothing was changed")
	}
	return nil
}

// nextLine is what follows the start of a tokend that is set up.
const nextLine = "Next: tokenctl add, or: tokenctl status"

// askKeystore takes the keyring or, if there is none and a person can answer, offers
// sealed files.
func (r *setupRequest) askKeystore(ctx context.Context, dirs profile.Dirs) error {
	r.choice.Keystore = store.KeystoreOS
	terminal, ok := env().Terminal()
	if !ok || !errors.Is(store.NewKeyring(store.KeyringService).State(ctx), token.ErrKeystore) {
		return nil
	}
	terminal.Explain(fmt.Sprintf("There is no OS keyring here. tokend can seal your secrets in files in %s instead. Their key goes into a file elsewhere: someone who gets a copy or a backup of the sealed files alone cannot open them.", dirs.State))
	file, err := terminal.Ask("File for the key", filepath.Join(dirs.Config, keyFileName))
	if err != nil {
		return errors.New("nothing was set up")
	}
	r.choice.Keystore = store.KeystoreSealed
	return absolute(&r.choice.KeyFile)(ui.ExpandHome(file))
}

// setUpAtTerminal asks what it has to know, sets up, and offers what is missing then.
func (p *program) setUpAtTerminal(ctx context.Context, terminal ui.Terminal) error {
	if err := p.askSystem(terminal); err != nil {
		return err
	}
	return p.setUpAnd(ctx, func(r *serviceRequest, ctx context.Context) error {
		err := r.offerStart(ctx, terminal)
		if err == nil && !r.at.system {
			noteMissingPath(ctx)
		}
		return err
	})
}

// askSystem asks root, where the package brought the service of the machine, whether
// that is meant.
func (p *program) askSystem(terminal ui.Terminal) error {
	_, err := service.New(service.Definition{System: true})
	if err != nil || p.at != (places{}) || !mayPassCredential() {
		return nil
	}
	yes, err := terminal.Offer("You are root. Set up the service of this machine, for all its users?")
	if err != nil {
		return errors.New("nothing was set up")
	}
	if p.at.system = yes; yes {
		p.args = append(p.args, "--system")
	}
	return nil
}

// offerStart starts what was set up, now and from now on, unless it runs so already
// or the person does not want that.
func (r *serviceRequest) offerStart(ctx context.Context, terminal ui.Terminal) error {
	d, err := r.definition()
	if err != nil {
		return err
	}
	var st service.State
	m, none := service.New(d)
	if none == nil {
		st, none = m.State(ctx)
	} else {
		none = errors.New("that takes systemd or launchd")
	}
	pid := cmp.Or(st.PID, otherProcess(ctx, d.Socket, st))
	switch {
	case st.Running && st.Enabled:
		fmt.Fprintf(r.out, "tokend runs, process %d, and starts %s.\n%s\n", pid, r.when(), nextLine)
		return nil
	case none != nil && pid != 0:
		fmt.Fprintf(r.out, "tokend runs, process %d.\n%s\n", pid, nextLine)
		return nil
	case none != nil && r.at.system:
		fmt.Fprintln(r.out, "Next:", r.line("run"))
		return nil
	}
	question, later := "Start tokend now and "+r.when()+"?", r.at.startLine()
	if none != nil {
		terminal.Explain(fmt.Sprintf("tokend cannot start by itself here: %v.", none))
		question, later = "Start tokend now?", "tokenctl --start"
	}
	switch yes, err := terminal.Offer(question); {
	case err != nil:
		return fmt.Errorf("it is set up, and not started: %s", later)
	case !yes:
		fmt.Fprintln(r.out, "Next:", later)
		return nil
	case none == nil:
		return r.install(ctx)
	}
	return r.launch(ctx, d)
}

// launch starts tokend without a service manager, until someone stops it.
func (r *serviceRequest) launch(ctx context.Context, d service.Definition) error {
	if err := launch.Run(ctx, env(), d.Program, d.Dirs.State, d.Socket, "--config", d.Dirs.Config, "--state", d.Dirs.State); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "tokend runs until the machine shuts down, or: %s. Its log is %s. To start it again: tokenctl --start\n%s\n",
		r.line("stop"), launch.LogFile(d.Dirs.State), nextLine)
	return nil
}

// noteMissingPath says how new terminals find the programs, if they do not.
func noteMissingPath(ctx context.Context) {
	shell := os.Getenv("SHELL")
	program, err := os.Executable()
	if shell == "" || err != nil || runtime.GOOS == "windows" { // where Git's bash sets it
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, "-lic", "command -v tokenctl")
	cmd.Env = []string{"HOME=" + os.Getenv("HOME"), "USER=" + os.Getenv("USER"), "TERM=dumb", "PATH=/usr/local/bin:/usr/bin:/bin"}
	launch.Detach(cmd) // it must not take the terminal
	if cmd.Run() == nil {
		return
	}
	file := map[string]string{"bash": "~/.bashrc", "zsh": "~/.zshrc"}[filepath.Base(shell)]
	line := fmt.Sprintf(`echo 'export PATH="$PATH:%s"' >> %s`, filepath.Dir(program), cmp.Or(file, "~/.profile"))
	if filepath.Base(shell) == "fish" {
		line = "fish_add_path " + filepath.Dir(program)
	}
	env().Note("A new terminal does not find tokend and tokenctl. Type this once:")
	env().Err.Print(ui.Wrap(ui.Typed(line), "  "))
}
