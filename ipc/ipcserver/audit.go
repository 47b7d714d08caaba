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
	// rotate, remove, rename (of the old name and of the new), reload, unlock or migrate (of the keystore).
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

// note reports e, which ended with err, and returns err.
func (a *audited) note(ctx context.Context, e Event, err error) error {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		e.Caller, e.Program = c.peer, c.program()
	}
	if err != nil {
		wire, _ := wireError(err)
		e.Code = wire.Code
	}
	a.report(e)
	return err
}

func (a *audited) Admit(ctx context.Context, do, name string, manage bool) error {
	err := a.Backend.Admit(ctx, do, name, manage)
	if err != nil {
		return a.note(ctx, Event{Do: do, Profile: name}, err)
	}
	return nil
}

func (a *audited) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	g, err := a.Backend.Get(ctx, name, q)
	if err == nil {
		name = g.Profile
	}
	return g, a.note(ctx, Event{Do: "get", Profile: name, Target: q.Target, Origin: token.Origin(q.URL)}, err)
}

func (a *audited) Exchange(ctx context.Context, name, registry string) (token.Secret, error) {
	s, err := a.Backend.Exchange(ctx, name, registry)
	return s, a.note(ctx, Event{Do: "exchange", Profile: name, Origin: token.Origin(registry)}, err)
}

func (a *audited) Sign(ctx context.Context, name string, r token.Request) (token.Signed, error) {
	s, err := a.Backend.Sign(ctx, name, r)
	return s, a.note(ctx, Event{Do: "sign", Profile: name, Origin: token.Origin(r.URL)}, err)
}

func (a *audited) Verify(ctx context.Context, name string, p token.Presented) (token.Verdict, error) {
	v, err := a.Backend.Verify(ctx, name, p)
	return v, a.note(ctx, Event{Do: "verify", Profile: name}, err)
}

func (a *audited) Invalidate(ctx context.Context, name string, t token.Secret) error {
	return a.note(ctx, Event{Do: "invalidate", Profile: name}, a.Backend.Invalidate(ctx, name, t))
}

func (a *audited) Add(ctx context.Context, p token.CreateProfile) (token.Created, error) {
	added, err := a.Backend.Add(ctx, p)
	return added, a.note(ctx, Event{Do: "add", Profile: p.Name}, err)
}

func (a *audited) Rotate(ctx context.Context, p token.CreateProfile) (token.Created, error) {
	added, err := a.Backend.Rotate(ctx, p)
	return added, a.note(ctx, Event{Do: "rotate", Profile: p.Name}, err)
}

func (a *audited) Remove(ctx context.Context, name string) error {
	return a.note(ctx, Event{Do: "remove", Profile: name}, a.Backend.Remove(ctx, name))
}

func (a *audited) Rename(ctx context.Context, name, to string) error {
	err := a.note(ctx, Event{Do: "rename", Profile: name}, a.Backend.Rename(ctx, name, to))
	if err == nil {
		_ = a.note(ctx, Event{Do: "rename", Profile: to}, nil)
	}
	return err
}

func (a *audited) Reload(ctx context.Context) error {
	return a.note(ctx, Event{Do: "reload"}, a.Backend.Reload(ctx))
}

func (a *audited) Unlock(ctx context.Context) error {
	return a.note(ctx, Event{Do: "unlock"}, a.Backend.Unlock(ctx))
}

func (a *audited) Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	done, err := a.Backend.Migrate(ctx, to)
	return done, a.note(ctx, Event{Do: "migrate"}, err)
}
