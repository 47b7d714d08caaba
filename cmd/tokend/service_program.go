package main

import (
	"context"
	"errors"
	"fmt"

	kardianos "github.com/kardianos/service"
)

// A program is tokend as the service manager of Windows drives it, which asks
// for a Start that returns when the service runs.
type program struct {
	serve func(context.Context) error
	ready <-chan struct{} // closed when it serves
	exit  func(error)     // ends the process, which the manager takes for a crash

	stop  context.CancelFunc
	ended chan error
}

// Start returns when tokend serves, or why it does not: that is no crash, and
// the manager does not start it again.
func (p *program) Start(kardianos.Service) error {
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.serve(ctx) }()
	select {
	case err := <-served:
		stop()
		return errors.Join(errors.New("it does not serve"), err)
	case <-p.ready:
	}
	p.stop, p.ended = stop, make(chan error, 1)
	go func() {
		err := <-served
		if ctx.Err() == nil {
			p.exit(fmt.Errorf("it ended by itself: %w", err))
		}
		p.ended <- err
	}()
	return nil
}

// Stop returns when what tokend opened is closed. The manager calls it when
// the machine shuts down too.
func (p *program) Stop(kardianos.Service) error {
	p.stop()
	return <-p.ended
}

// windowsConfig is the service in the words of kardianos/service. It runs as the
// user who installs it, whose credential manager holds the keys and whose pipe
// it opens.
func (d definition) windowsConfig(account, password string) *kardianos.Config {
	return &kardianos.Config{
		Name:        serviceName,
		DisplayName: serviceName,
		Description: "Holds keys and hands out fresh access tokens",
		Executable:  d.program,
		Arguments:   []string{"run", "--config", d.dirs.Config, "--state", d.dirs.State, "--socket", d.socket},
		UserName:    account,
		Option: kardianos.KeyValue{
			"Password":               password,
			"OnFailure":              "restart",
			"OnFailureDelayDuration": "1s",
			"OnFailureResetPeriod":   60,
		},
	}
}
