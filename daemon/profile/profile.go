// Package profile reads tokend's configuration: config.toml, and the files of
// profiles.d, which it opens as profiles. It keeps no state.
package profile

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// A Profile is one file of profiles.d, opened. It does not change.
type Profile struct {
	Name string
	Common
	// What the profile does; one of them is set.
	Minter   token.Minter
	Signer   token.Signer
	Verifier token.Verifier
	// Allowed may use it, and Admins administer it, besides those who have every right.
	Allowed, Admins Allowance
	// Issuer is the host that its tokens come from.
	Issuer string
	// Fingerprint is a digest of the provider, its settings and the ID of the
	// current credential. It contains no secret.
	Fingerprint string
	// Settings are the provider's settings, from the file and the credential.
	Settings token.Settings
	// Credential is the current one, zero if none is stored; Pending the one
	// that waits to be registered, nil if none does.
	Credential token.Credential
	Pending    *token.Credential
	// Expires is when the credential itself expires, zero if unknown.
	Expires time.Time
	// Resources are the profile once more for each of its resources, with NAME/RESOURCE
	// as its name. OnlyResources: it has no tokens but theirs.
	Resources     []*Profile
	OnlyResources bool

	secret SecretReader
}

// Second reads the second header from the keystore.
func (p *Profile) Second(ctx context.Context) (token.Header, error) {
	if p.SecondHeader == "" {
		return token.Header{}, invalid("second_header", fmt.Sprintf("profile %q has no second header: its file does not set second_header", p.Name))
	}
	value, err := p.secret(ctx, token.SecondSecret)
	return token.Header{Name: p.SecondHeader, Value: value}, err
}

// Common are the keys that every profile's file may have. doc is the line on a key
// in a new file.
type Common struct {
	Provider     string             `toml:"provider"`
	Renew        string             `toml:"renew" doc:"\"always\", or \"used\" to stop when no one asks"`
	Idle         Duration           `toml:"idle" doc:"how long no one must have asked"`
	Hosts        []string           `toml:"hosts" doc:"where its credentials may be sent"`
	Present      token.Presentation `toml:"present" doc:"how: \"bearer\", \"basic:USER\", \"header:NAME\" or \"acr\""`
	SecondHeader string             `toml:"second_header" doc:"a header that they want besides the token; its value is in the keystore"`
	AllowUsers   []string           `toml:"allow_users" doc:"who may use it, besides root and tokend's own user"`
	AllowGroups  []string           `toml:"allow_groups" doc:"likewise, by group"`
	AdminUsers   []string           `toml:"admin_users" doc:"who may rotate it and edit its scopes, resources and renewal"`
	AdminGroups  []string           `toml:"admin_groups" doc:"likewise, by group"`
	Sinks        []Sink             `toml:"sink"`
	Tables       resourceTables     `toml:"resources" doc:"what else it obtains tokens for"`
}

var commonKeys = keysOf(reflect.TypeFor[Common]())

func (c Common) check() error {
	for _, host := range c.Hosts {
		if _, err := token.ParseHost(host); err != nil {
			return invalid("hosts", "hosts: "+err.Error())
		}
	}
	if err := c.Present.Check(); err != nil {
		return invalid("present", "present: "+err.Error())
	}
	if c.SecondHeader != "" && token.Presentation("header:"+c.SecondHeader).Check() != nil {
		return invalid("second_header", fmt.Sprintf("second_header: %q is not the name of a header of its own", c.SecondHeader))
	}
	for i := range c.Sinks {
		s := &c.Sinks[i]
		err := s.check()
		if s.Second && c.SecondHeader == "" {
			err = errors.New("second_header: the profile has none")
		}
		if slices.ContainsFunc(c.Sinks[:i], func(o Sink) bool { return o.Path == s.Path }) {
			err = fmt.Errorf("path: two sinks write %s", s.Path)
		}
		if err != nil {
			return invalid("sink", "sink: "+err.Error())
		}
	}
	return oneOf("renew", c.Renew, RenewAlways, RenewUsed)
}

// Kinds are the providers that profiles can have. What one opens implements
// token.Minter, token.Signer or token.Verifier.
type Kinds interface {
	Providers() []token.Provider
	// Open makes a profile of the kind. It needs neither secrets nor the
	// network. The result may also have CredentialExpires (when its credential
	// ends), RotatesInSteps (a new one has to be registered first) and Hosts
	// (where its credentials may be sent).
	Open(kind string, decode func(into any) error, secret SecretReader) (any, error)
	// Prepare turns what a person submitted into what is kept.
	Prepare(a *token.CreateProfile) error
	// Exchange hands an access token to an Azure Container Registry, a URL,
	// and returns the refresh token that its clients log in with. tenant may be
	// empty.
	Exchange(ctx context.Context, registry, tenant string, t token.Secret) (token.Secret, error)
}

// A SecretReader reads a secret of a profile.
type SecretReader = func(ctx context.Context, field string) (token.Secret, error)

// Credentials keep each profile's secrets.
type Credentials interface {
	// Kept returns the current credential and the pending one, each the zero
	// Credential if there is none.
	Kept(profile string) (current, pending token.Credential, err error)
	// Secret reads one field of a credential, or of the current one if that
	// has replaced it.
	Secret(ctx context.Context, c token.Credential, field string) (token.Secret, error)
}

// An Opener makes profiles of files.
type Opener struct {
	Kinds       Kinds
	Config      Config
	Credentials Credentials
}

// OpenStored reads a profile's file, and opens it with the credential that is
// stored. If that must not be used, the profile has none, and says why.
func (o Opener) OpenStored(d Dirs, name string) (*Profile, error) {
	f, err := d.Read(name)
	if err != nil {
		return nil, err
	}
	cred, pending, err := o.Credentials.Kept(name)
	if err != nil {
		return o.Open(f, cred, func(context.Context, string) (token.Secret, error) { return token.Secret{}, err })
	}
	p, err := o.OpenWith(f, cred)
	if err == nil && pending.ID != "" {
		p.Pending = &pending
	}
	return p, err
}

// OpenWith opens a profile with another credential that is stored.
func (o Opener) OpenWith(f File, cred token.Credential) (*Profile, error) {
	name := f.Name // the file's text need not stay
	return o.Open(f, cred, func(ctx context.Context, field string) (token.Secret, error) {
		begun := time.Now()
		s, err := o.Credentials.Secret(ctx, cred, field)
		token.TraceOf(ctx).Add("keystore", "asked for the %s of %s, took %v", field, cred.ID, time.Since(begun).Round(time.Microsecond))
		if errors.Is(err, token.ErrNotFound) {
			return s, &token.Error{Code: token.ErrKeystore, Topic: "secret-missing", Field: field, Message: fmt.Sprintf(
				"no %s is stored for profile %q", field, name)}
		}
		return s, err
	})
}

// Open makes a profile of its file and the credential that goes with it. Errors
// are ErrInvalid and name file, line and key.
func (o Opener) Open(f File, cred token.Credential, secret SecretReader) (*Profile, error) {
	if err := token.CheckName(f.Name); err != nil {
		return nil, err
	}
	doc := f.document()
	own := Common{Renew: o.Config.Renew, Idle: o.Config.Idle}
	if err := doc.decode(&own); err != nil {
		return nil, err
	}
	kind, err := FindProvider(o.Kinds, own.Provider)
	if err = errors.Join(own.check(), err); err != nil {
		return nil, doc.locate(err)
	}
	settings, err := f.Settings(cred)
	if err != nil {
		return nil, err
	}
	p := &Profile{
		Name: f.Name, Common: own, Allowed: NewAllowance(own.AllowUsers, own.AllowGroups), Admins: NewAllowance(own.AdminUsers, own.AdminGroups),
		Settings: settings, Credential: cred, Expires: cred.Expires, secret: secret,
	}
	if err = o.openResources(p, kind, doc); err == nil && !p.OnlyResources {
		err = o.open(p, doc)
	}
	if err != nil {
		return nil, doc.locate(err)
	}
	for key, set := range map[string]bool{"sink": len(p.Sinks) > 0, "second_header": p.SecondHeader != ""} {
		if set && p.Minter == nil {
			return nil, doc.locate(invalid(key, key+": "+p.Unable("has no tokens").Message))
		}
	}
	return p, nil
}

// open has the provider open p with its settings.
func (o Opener) open(p *Profile, doc *document) error {
	text, err := toml.Marshal(p.Settings)
	if err != nil {
		return fmt.Errorf("settings of profile %s: %w", p.Name, err)
	}
	settings, read := &document{text: text, known: slices.Clone(doc.known)}, false
	opened, err := o.Kinds.Open(p.Provider, func(into any) error {
		err := settings.decode(into)
		read = err == nil
		return err
	}, p.secret)
	// An unknown key is often the misspelt one that is missing.
	if unknown := settings.close(); read && unknown != nil {
		return unknown
	}
	if errors.Is(err, token.ErrNoCredential) && p.Credential.ID == "" {
		opened, err = incomplete{p.secret}, nil // written by hand; tokenctl rotate completes it
	}
	if err != nil {
		return err
	}
	// The settings are sorted by name. The ID's digest is left out: it stands for
	// them, and older records have none.
	id := p.Credential.ID
	digest, err := json.Marshal([]any{p.Provider, p.Settings, id[:min(len(id), len("20261123-7f3a91c2"))]})
	p.Fingerprint = fmt.Sprintf("%x", sha256.Sum256(digest))
	p.take(opened)
	return err
}

// take finds out what the opened provider can do.
func (p *Profile) take(opened any) {
	p.Signer, _ = opened.(token.Signer)
	p.Verifier, _ = opened.(token.Verifier)
	if m, ok := opened.(token.Minter); ok {
		p.Minter = m
		if u, err := url.Parse(m.Endpoint()); err == nil {
			p.Issuer = u.Host
		}
	}
	if c, ok := opened.(interface{ CredentialExpires() time.Time }); ok {
		if expires := c.CredentialExpires(); !expires.IsZero() && (p.Expires.IsZero() || expires.Before(p.Expires)) {
			p.Expires = expires
		}
	}
	if h, ok := opened.(interface{ Hosts() []string }); ok && p.Hosts == nil {
		p.Hosts = h.Hosts()
	}
}

// Does says what p does, for status.
func (p *Profile) Does() string {
	switch {
	case p.Minter != nil:
		return "mints"
	case p.Signer != nil:
		return "signs"
	}
	return "verifies"
}

// Unable returns the error for asking p for what its kind does not do.
func (p *Profile) Unable(what string) *token.Error {
	return &token.Error{Code: token.ErrInvalid, Message: fmt.Sprintf(
		"profile %q %s: a profile of %s %s", p.Name, what, p.Provider, map[string]string{
			"mints": "obtains tokens", "signs": "signs requests (tokenctl sign)", "verifies": "verifies tokens (tokenctl verify)"}[p.Does()])}
}

// Lead returns how long before its expiry p's token must have a successor
// because of the sinks, 0 without any.
func (p *Profile) Lead() (lead time.Duration) {
	for _, s := range p.Sinks {
		lead = max(lead, s.MinTTL.Duration+sinkAhead)
	}
	return lead
}

// incomplete stands for what a profile will do once it has a credential.
type incomplete struct{ secret SecretReader }

func (incomplete) Endpoint() string { return "" }

func (i incomplete) Mint(ctx context.Context, _ token.Target) (token.Token, error) {
	_, err := i.secret(ctx, "credential")
	return token.Token{}, err
}

func (i incomplete) Sign(ctx context.Context, _ token.Request) (token.Signed, error) {
	_, err := i.secret(ctx, "credential")
	return token.Signed{}, err
}

// FindProvider returns the provider of that name.
func FindProvider(kinds Kinds, name string) (token.Provider, error) {
	var names []string
	for _, p := range kinds.Providers() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	text := fmt.Sprintf("no provider %q", name)
	if name == "" {
		text = `"provider" is missing`
	}
	return token.Provider{}, invalid("provider", text+"; "+suggest(name, "there are", names))
}

// Settings returns the provider's settings: those of the file over those of the
// credential, without the keys that are tokend's own.
func (f File) Settings(c token.Credential) (map[string]any, error) {
	own := map[string]any{}
	if err := toml.Unmarshal(f.Text, &own); err != nil {
		return nil, f.document().locate(err)
	}
	maps.DeleteFunc(own, func(key string, _ any) bool { return slices.Contains(commonKeys, key) })
	keys := slices.Collect(maps.Keys(own))
	for key, value := range c.Settings {
		if !isKey(keys, key) {
			own[key] = value
		}
	}
	return own, nil
}

func invalid(field, message string) *token.Error {
	return &token.Error{Code: token.ErrInvalid, Field: field, Message: message}
}
