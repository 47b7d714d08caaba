package token

import "time"

// The types below cross the socket as they are: their JSON form is described
// in docs/protocol.md.

// A Field describes one setting or secret of a provider, for `tokenctl add`
// and the documentation.
type Field struct {
	Name string `json:"name"`
	// Doc says in a few words what it is and where it is found.
	Doc string `json:"doc"`
	// Required fields have no default. Secret ones go to the keystore and are
	// never part of a file.
	Required bool   `json:"required,omitempty"`
	Secret   bool   `json:"secret,omitempty"`
	Default  string `json:"default,omitempty"`
	// List and Table fields take several values and name=value pairs.
	List  bool `json:"list,omitempty"`
	Table bool `json:"table,omitempty"`
}

// A Provider describes a kind of profile.
type Provider struct {
	Name   string  `json:"name"`
	Doc    string  `json:"doc"`
	Fields []Field `json:"fields"`
}

// An CreateProfile asks for a new profile, or for a new credential of one.
type CreateProfile struct {
	Name     string `json:"name"`
	Provider string `json:"provider,omitempty"`
	// Settings are the profile's settings by name: strings, numbers, booleans,
	// lists and tables, as they will stand in the profile's TOML file.
	Settings map[string]any `json:"settings,omitempty"`
	// Secrets are the secret fields by name, as the person has them: a
	// secret's text, a PEM, PFX or service-key JSON file's content.
	Secrets map[string]Secret `json:"secrets,omitempty"`
	// CredentialExpires is when the credential itself ends, if that is known
	// from elsewhere (the portal that showed a client secret).
	CredentialExpires time.Time `json:"credential_expires,omitzero"`
	// NoCheck keeps the profile without obtaining a token to prove it.
	NoCheck bool `json:"no_check,omitempty"`
	// Step goes on with a rotation that takes two steps, because the new
	// public key has to be registered with the service in between.
	Step string `json:"step,omitempty"`
}

// The second steps of a rotation: the new credential takes effect, or is
// thrown away and the old one stays.
const (
	StepRegistered = "registered"
	StepAbandon    = "abandon"
)

// A Credential says which of a profile's secrets are the current ones. It
// holds none of them: those are in the keystore, each under its Account.
type Credential struct {
	Profile string
	// ID is the day it was stored and a random part: "20261123-7f3a91c2".
	ID string
	// Fields are the names of its secrets, sorted.
	Fields []string
	Stored time.Time
	// Expires is when the credential itself ends; zero if that is not known.
	Expires time.Time
	// Settings came with the credential and change with it: the client_id of a
	// service key, the certificate of a private key. They complete what the
	// profile's file says.
	Settings map[string]any
}

// Account is the keystore account of one field.
func (c Credential) Account(field string) string {
	return c.Profile + "/" + field + "/" + c.ID
}

// Created says what became of an CreateProfile.
type Created struct {
	Profile ProfileStatus `json:"profile"`
	// Kept lists what is kept where, in words: "private key: OS keyring,
	// service tokend, account clms/private_key/20261123-7f3a91c2".
	Kept []string `json:"kept,omitempty"`
	// Checked tells that a token was obtained, and in how long.
	Checked bool          `json:"checked"`
	Took    time.Duration `json:"took_ns,omitempty"`
}

// A TokenStatus tells of one token of a profile. It never holds the token.
type TokenStatus struct {
	Target
	// State is fresh, due, expired, or none.
	State   string    `json:"state"`
	Issued  time.Time `json:"issued,omitzero"`
	Expiry  time.Time `json:"expires,omitzero"`
	RenewAt time.Time `json:"renew_at,omitzero"`
	// LastUsed is when somebody last asked for it, LastUser who that was, if
	// it is known and not hidden from whoever looks.
	LastUsed time.Time `json:"last_used,omitzero"`
	LastUser *User     `json:"last_user,omitempty"`
	// Obtaining: an attempt to obtain the next one is under way.
	Obtaining bool `json:"obtaining,omitempty"`
	// Error is why the last attempt failed; its RetryAt says when the next is.
	Error *Error `json:"error,omitempty"`
	// Failures counts the attempts that failed since the last success.
	Failures int `json:"failures,omitempty"`

	// The rest is told of one profile at a time. Granted is the scope that the
	// issuer said it granted, ClaimsPreview what the token says of itself, History
	// the last attempts to obtain one, the latest first.
	Granted string         `json:"granted_scope,omitempty"`
	Content *ClaimsPreview `json:"content,omitempty"`
	History []Attempt      `json:"history,omitempty"`
}

// A User is who asked, as the kernel told when it connected.
type User struct {
	UID int `json:"uid"`
	// Name is the user's name, if this machine knows it.
	Name string `json:"user,omitempty"`
	// PID is 0 where it cannot be told.
	PID int `json:"pid,omitempty"`
	// Program is what the process called itself, an unverified label.
	Program string `json:"program_unverified,omitempty"`
}

// A ClaimsPreview is what a token says of itself, read without verifying it.
type ClaimsPreview struct {
	// Format is "jwt", "jwe" (encrypted) or "opaque"; the rest is a JWT's.
	Format   string   `json:"format"`
	Issuer   string   `json:"issuer,omitempty"`
	Subject  string   `json:"subject,omitempty"`
	Audience []string `json:"audience,omitempty"`
	Client   string   `json:"client_id,omitempty"`
	// Scopes are its scopes and roles.
	Scopes []string `json:"scopes,omitempty"`
}

// An Attempt is one attempt to obtain a token.
type Attempt struct {
	// At is when it ended.
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took_ns"`
	// Code is why it failed, empty if it did not.
	Code Code `json:"code,omitempty"`
}

// A ProfileStatus tells of one profile.
type ProfileStatus struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
	// Does is what the profile can do: "mints" tokens, "signs" requests or
	// "verifies" tokens.
	Does string `json:"does"`
	// File is the profile's file.
	File string `json:"file"`
	// Endpoint is where its tokens come from.
	Endpoint string `json:"endpoint,omitempty"`
	// Settings are the file's settings, none of them secret.
	Settings Settings `json:"settings,omitzero"`
	Renew    string   `json:"renew,omitempty"`
	// Tokens are its tokens, the profile's own target first.
	Tokens []TokenStatus `json:"tokens,omitempty"`
	// CredentialExpires is the end of the credential itself, where known.
	CredentialExpires time.Time `json:"credential_expires,omitzero"`
	// Pending is the credential that waits to be registered, nil if none does.
	Pending *PendingCredential `json:"pending,omitempty"`
	// Hosts are what requests with this profile's credentials may go to: URLs
	// of scheme, host, port and path prefix (Covers).
	Hosts []string `json:"hosts,omitempty"`
	// Present says how its token is shown to them.
	Present Presentation `json:"present,omitempty"`
	// Sinks are the files that its token is kept in.
	Sinks []string `json:"sinks,omitempty"`
	// LastUsed is when somebody last had a request signed or a token verified,
	// LastUser who, as for a token.
	LastUsed time.Time `json:"last_used,omitzero"`
	LastUser *User     `json:"last_user,omitempty"`
	// Warnings are things to look at that stop nothing yet.
	Warnings []string `json:"warnings,omitempty"`
}

// A PendingCredential is the new one of a rotation that takes two steps.
type PendingCredential struct {
	ID     string    `json:"id"`
	Stored time.Time `json:"stored"`
	// Settings came with it: its public_key.
	Settings Settings `json:"settings,omitzero"`
}

// A Status tells how the daemon is.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Config  string    `json:"config"`
	State   string    `json:"state"`
	// MayManage: whoever asks may manage profiles, and sees all of them.
	MayManage bool `json:"may_manage"`
	// Keystore names the keystore and how it is: "os: ok", "os: locked".
	Keystore string `json:"keystore"`
	// Cache is how the token cache is: "ok" (all tokens are in it), "writing",
	// or what is wrong with it.
	Cache string `json:"cache"`
	// Sandbox is how tokend is confined to its own files: "landlock: ok", or
	// why it is not. Empty where the system knows no such thing.
	Sandbox string `json:"sandbox,omitempty"`
	// ConfigErrors are the files that could not be loaded; what was in force
	// before stays in force.
	ConfigErrors []string        `json:"config_errors,omitempty"`
	Profiles     []ProfileStatus `json:"profiles"`
}
