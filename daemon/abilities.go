package daemon

import (
	"context"

	"tokend/providers/token"
)

// Sign signs one request with the profile's key. Errors are *token.Error.
func (d *Daemon) Sign(ctx context.Context, name string, r token.Request) (token.Signed, error) {
	p, err := d.profile(ctx, name)
	if err != nil {
		return token.Signed{}, err
	}
	if p.signer == nil {
		return token.Signed{}, unable(p, "signs no requests")
	}
	d.noteUse(ctx, p)
	signed, err := p.signer.Sign(ctx, r)
	if err != nil {
		return token.Signed{}, asError(err)
	}
	d.mu.Lock()
	skew := d.clock.text(d.wall())
	d.mu.Unlock()
	switch {
	case signed.Warning == "":
		signed.Warning = skew
	case skew != "":
		signed.Warning += "; " + skew
	}
	return signed, nil
}

// Verify judges a token that was presented to the profile's data source, by
// itself or, if remote, by asking the issuer's own service. Errors are
// *token.Error and mean that no verdict could be reached.
func (d *Daemon) Verify(ctx context.Context, name string, raw token.Secret, remote bool) (token.Verdict, error) {
	p, err := d.profile(ctx, name)
	if err != nil {
		return token.Verdict{}, err
	}
	if p.verifier == nil {
		return token.Verdict{}, unable(p, "verifies no tokens")
	}
	d.noteUse(ctx, p)
	verdict, err := p.verifier.Verify(ctx, raw, remote)
	if err != nil {
		return token.Verdict{}, asError(err)
	}
	return verdict, nil
}

// noteUse remembers who uses a profile that has no tokens.
func (d *Daemon) noteUse(ctx context.Context, p *profile) {
	u := d.useBy(ctx, d.wall())
	d.mu.Lock()
	defer d.mu.Unlock()
	p.used = &u
}

// profile finds a profile that the caller may use.
func (d *Daemon) profile(ctx context.Context, name string) (*profile, error) {
	w := d.who(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.use(w, name)
}
