package service

import (
	"context"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/synctest"

	"tokend/daemon/profile"
	"tokend/packaging/checktest"
)

// The service of Windows restarts after a crash, and gets all its paths.
func TestWindowsService(t *testing.T) {
	d := Definition{Program: `C:\Program Files\tokend\tokend.exe`, Socket: `\\.\pipe\tokend-S-1-5-21-1`,
		Dirs: profile.Dirs{Config: `C:\Users\a b\tokend`, State: `C:\Users\a b\tokend\state`}}
	c := d.windowsConfig(`HOST\a`, "canary")
	if c.Name != "tokend" || c.Executable != d.Program || c.UserName != `HOST\a` || c.Option["Password"] != "canary" {
		t.Errorf("%+v", c)
	}
	if want := []string{"run", "--config", d.Dirs.Config, "--state", d.Dirs.State, "--socket", d.Socket}; !reflect.DeepEqual(c.Arguments, want) {
		t.Errorf("arguments %q", c.Arguments)
	}
	if c.Option["OnFailure"] != "restart" || c.Option["OnFailureDelayDuration"] != "1s" {
		t.Errorf("on failure: %v", c.Option)
	}
	for name, value := range c.EnvVars {
		t.Errorf("an environment: %s=%s", name, value)
	}
}

// A program is started when it serves, says why if it does not, ends when the
// manager stops it, and counts as crashed when it ends by itself.
func TestProgramOfTheWindowsService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready := make(chan struct{})
		exits := make(chan error, 1)
		closed := false
		p := program{ready: ready, exit: func(err error) { exits <- err }, serve: func(ctx context.Context) error {
			close(ready)
			<-ctx.Done()
			closed = true
			return nil
		}}
		check(t, p.Start(nil))
		if err := p.Stop(nil); err != nil || !closed {
			t.Errorf("stop: %v, closed %t", err, closed)
		}

		p = program{ready: make(chan struct{}), serve: func(context.Context) error { return errors.ErrUnsupported }}
		if err := p.Start(nil); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("what does not serve: %v", err)
		}

		ready = make(chan struct{})
		fail := make(chan error)
		p = program{ready: ready, exit: func(err error) { exits <- err }, serve: func(context.Context) error {
			close(ready)
			return <-fail
		}}
		check(t, p.Start(nil))
		fail <- io.ErrUnexpectedEOF
		synctest.Wait()
		select {
		case err := <-exits:
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
		default:
			t.Error("a crash goes unnoticed")
		}
	})
}

var check = checktest.NoError
