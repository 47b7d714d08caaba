package service

import (
	"context"
	"errors"
	"fmt"

	kardianos "github.com/kardianos/service"
)

// A program is tokend as the service manager of Windows drives it: Start returns
// when it serves.
type program struct {
	serve func(context.Context) error
	ready <-chan struct{} // closed when it serves
	exit  func(error)     // ends the process, which the manager takes for a crash

	stop  context.CancelFunc
	ended chan error
}

// Start returns when tokend serves, or why it does not: the manager takes that
// for no crash, and does not start it again.
func (p *program) Start(kardianos.Service) error {
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.ended = stop, make(chan error, 1)
	served := make(chan error, 1)
	go func() { served <- p.serve(ctx) }()
	select {
	case err := <-served:
		stop()
		return errors.Join(errors.New("it does not serve"), err)
	case <-p.ready:
	}
	go func() {
		err := <-served
		if ctx.Err() == nil {
			p.exit(fmt.Errorf("it ended by itself: %w", err))
		}
		p.ended <- err
	}()
	return nil
}

// Stop returns when tokend has closed what it opened. The manager calls it when
// the machine shuts down, too.
func (p *program) Stop(kardianos.Service) error {
	p.stop()
	return <-p.ended
}

// windowsConfig runs the service as the user who installs it, whose credential
// manager holds the keys and whose pipe it opens.
func (d Definition) windowsConfig(account, password string) *kardianos.Config {
	c := d.config(kardianos.KeyValue{
		"Password":               password,
		"OnFailure":              "restart",
		"OnFailureDelayDuration": "1s",
		"OnFailureResetPeriod":   60,
	})
	c.Arguments = []string{"run", "--config", d.Dirs.Config, "--state", d.Dirs.State, "--socket", d.Socket}
	c.UserName = account
	return c
}
