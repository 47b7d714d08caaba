package ipcserver

import (
	"context"

	"tokend/ipc"
	"tokend/providers/token"
)

// An Event is one grant or refusal, for the audit log. It holds no secret.
type Event struct {
	Caller ipc.Peer
	// Program is what the caller's process called itself, an unverified label.
	Program string
	// Do is the operation: connect (by a caller who is not let in), get, exchange, sign, verify, invalidate, add,
	// rotate, remove, reload, unlock or migrate (of the keystore).
	Do string
	// Profile is the profile's name, empty if none was named or found.
	Profile string
	Target  token.Target
	// Origin is scheme, host and port of what the token or signature is for,
	// as far as the caller said.
	Origin string
	// Code is why it was refused or failed, empty if it was granted.
	Code token.Code
}

// audited reports what a Backend grants and refuses.
type audited struct {
	Backend
	report func(Event)
}

func (a *audited) note(ctx context.Context, e Event, err error) {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		e.Caller, e.Program = c.peer, c.program()
	}
	if err != nil {
		wire, _ := wireError(err)
		e.Code = wire.Code
	}
	a.report(e)
}

func (a *audited) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	g, err := a.Backend.Get(ctx, name, q)
	if err == nil {
		name = g.Profile
	}
	a.note(ctx, Event{Do: "get", Profile: name, Target: q.Target, Origin: token.Origin(q.URL)}, err)
	return g, err
}

func (a *audited) Exchange(ctx context.Context, name, registry string) (token.Secret, error) {
	s, err := a.Backend.Exchange(ctx, name, registry)
	a.note(ctx, Event{Do: "exchange", Profile: name, Origin: token.Origin(registry)}, err)
	return s, err
}

func (a *audited) Sign(ctx context.Context, name string, r token.Request) (token.Signed, error) {
	s, err := a.Backend.Sign(ctx, name, r)
	a.note(ctx, Event{Do: "sign", Profile: name, Origin: token.Origin(r.URL)}, err)
	return s, err
}

func (a *audited) Verify(ctx context.Context, name string, raw token.Secret, remote bool) (token.Verdict, error) {
	v, err := a.Backend.Verify(ctx, name, raw, remote)
	a.note(ctx, Event{Do: "verify", Profile: name}, err)
	return v, err
}

func (a *audited) Invalidate(ctx context.Context, name string, t token.Secret) error {
	err := a.Backend.Invalidate(ctx, name, t)
	a.note(ctx, Event{Do: "invalidate", Profile: name}, err)
	return err
}

func (a *audited) Add(ctx context.Context, t token.CreateProfile) (token.Created, error) {
	added, err := a.Backend.Add(ctx, t)
	a.note(ctx, Event{Do: "add", Profile: t.Name}, err)
	return added, err
}

func (a *audited) Rotate(ctx context.Context, t token.CreateProfile) (token.Created, error) {
	added, err := a.Backend.Rotate(ctx, t)
	a.note(ctx, Event{Do: "rotate", Profile: t.Name}, err)
	return added, err
}

func (a *audited) Remove(ctx context.Context, name string) error {
	err := a.Backend.Remove(ctx, name)
	a.note(ctx, Event{Do: "remove", Profile: name}, err)
	return err
}

func (a *audited) Reload(ctx context.Context) error {
	err := a.Backend.Reload(ctx)
	a.note(ctx, Event{Do: "reload"}, err)
	return err
}

func (a *audited) Unlock(ctx context.Context) error {
	err := a.Backend.Unlock(ctx)
	a.note(ctx, Event{Do: "unlock"}, err)
	return err
}

func (a *audited) Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	done, err := a.Backend.Migrate(ctx, to)
	a.note(ctx, Event{Do: "migrate"}, err)
	return done, err
}
