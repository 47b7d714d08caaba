package token

import (
	"context"
	"slices"
	"time"
)

// The types below cross the socket. docs/protocol.md describes their JSON form.

// A Field describes one setting or secret of a provider, for `tokenctl add`
// and the documentation.
type Field struct {
	Name string `json:"name"`
	// Doc says in a few words what it is and where to find it.
	Doc string `json:"doc"`
	// Required fields have no default. Secret ones go to the keystore, never into
	// a file.
	Required bool   `json:"required,omitempty"`
	Secret   bool   `json:"secret,omitempty"`
	Default  string `json:"default,omitempty"`
	// List and Table fields take several values and name=value pairs.
	List  bool `json:"list,omitempty"`
	Table bool `json:"table,omitempty"`
	// Resource fields say what a token is for: each resource of a profile has its own.
	Resource bool `json:"resource,omitempty"`
	// Sends fields decide where the credential is sent.
	Sends bool `json:"-"`
}

// A Provider describes a kind of profile.
type Provider struct {
	Name   string  `json:"name"`
	Doc    string  `json:"doc"`
	Fields []Field `json:"fields"`
}

// Settings are settings by name, as in a profile's TOML file: strings, numbers,
// booleans, lists and tables.
type Settings map[string]any

// Text returns a string setting, "" if there is none of that name.
func (s Settings) Text(name string) string {
	text, _ := s[name].(string)
	return text
}

// A CreateProfile asks for a new profile, or for a new credential or text of one.
type CreateProfile struct {
	Name     string         `json:"name"`
	Provider string         `json:"provider,omitempty"`
	Settings map[string]any `json:"settings,omitempty"`
	// Secrets are the secret fields by name, in the form in which people have
	// them: text, or the content of a PEM, PFX or service key file.
	Secrets map[string]Secret `json:"secrets,omitempty"`
	// CredentialExpires is when the credential expires, if you know it from
	// elsewhere (such as the portal that showed a client secret).
	CredentialExpires time.Time `json:"credential_expires,omitzero"`
	// NoCheck keeps the profile without obtaining a token to test it.
	NoCheck bool `json:"no_check,omitempty"`
	// Step is the second step of a rotation in which the new public key must be
	// registered with the service first.
	Step string `json:"step,omitempty"`
	// Text is for an edit: the text for the profile's file, in place of that of Revision.
	Text     string `json:"text,omitempty"`
	Revision string `json:"revision,omitempty"`
}

// The second steps of a rotation: use the new credential, or drop it and keep
// the old one.
const (
	StepRegistered = "registered"
	StepAbandon    = "abandon"
)

// A Credential says which secrets of a profile are current. The secrets
// themselves are in the keystore, each under its Account.
type Credential struct {
	Profile string
	// ID is the day it was stored, a random number, and a digest of the rest:
	// "20261123-7f3a91c2-" and 32 digits.
	ID string
	// Fields are the names of its secrets, sorted.
	Fields []string
	Stored time.Time
	// Expires is when the credential expires, zero if that is unknown.
	Expires time.Time
	// Settings came with the credential and change with it, such as the client_id
	// of a service key or the certificate of a private key. They complete those of
	// the profile's file.
	Settings map[string]any
}

// Account returns the keystore account of a field.
func (c Credential) Account(field string) string {
	return c.Profile + "/" + field + "/" + c.ID
}

// Created is the answer to a CreateProfile.
type Created struct {
	Profile ProfileStatus `json:"profile"`
	// Kept lists what is kept where, in words: "private key: OS keyring,
	// service tokend, account clms/private_key/20261123-7f3a91c2".
	Kept []string `json:"kept,omitempty"`
	// Found lists what tokend saw at the issuer of a profile that verifies tokens.
	Found []string `json:"found,omitempty"`
	// Checked reports whether a token was obtained, which took Took.
	Checked bool          `json:"checked"`
	Took    time.Duration `json:"took_ns,omitempty"`
	// Changes are what an edit changed.
	Changes []Change `json:"changes,omitempty"`
}

// A ProfileText is the text of a profile's file, to edit.
type ProfileText struct {
	File string `json:"file"`
	Text string `json:"text"`
	// Revision stands for the text.
	Revision string `json:"revision"`
}

// A Change is a setting that an edit changed. A value is nil if it is not set, or might
// be a secret.
type Change struct {
	Setting string `json:"setting"`
	Old     any    `json:"old,omitempty"`
	New     any    `json:"new,omitempty"`
	// ForAdmins: who administers the profile may change it. Sends: it decides where the
	// credential is sent.
	ForAdmins bool `json:"-"`
	Sends     bool `json:"-"`
}

// A TokenStatus describes one token of a profile, without the token itself.
type TokenStatus struct {
	// Resource is which of the profile's resources it is for, empty for the profile
	// itself.
	Resource string `json:"resource,omitempty"`
	Target
	// State is fresh, due, expired, or none.
	State   string    `json:"state"`
	Issued  time.Time `json:"issued,omitzero"`
	Expiry  time.Time `json:"expires,omitzero"`
	RenewAt time.Time `json:"renew_at,omitzero"`
	// LastUsed is when a caller last asked for it, LastUser who that was, if it is
	// known and this caller may see it.
	LastUsed time.Time `json:"last_used,omitzero"`
	LastUser *User     `json:"last_user,omitempty"`
	// Obtaining: tokend is obtaining the next one.
	Obtaining bool `json:"obtaining,omitempty"`
	// Error is why the last attempt failed; its RetryAt is when the next one is.
	Error *Error `json:"error,omitempty"`
	// Failures counts the failed attempts since the last success.
	Failures int `json:"failures,omitempty"`

	// The rest is set only when one profile is asked for: the scope that the issuer
	// granted, what the token says of itself, and the last attempts to obtain one,
	// the latest first.
	Granted string         `json:"granted_scope,omitempty"`
	Content *ClaimsPreview `json:"content,omitempty"`
	History []Attempt      `json:"history,omitempty"`
}

// A User is a caller, as the kernel identified it when it connected.
type User struct {
	UID int `json:"uid"`
	// Name is the user's name, if this machine knows it.
	Name string `json:"user,omitempty"`
	// PID is 0 if it is unknown.
	PID int `json:"pid,omitempty"`
	// Program is what the process calls itself, which nothing verifies.
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
	// Claims are those that an API looks at (ShownClaims), as they stand.
	Claims map[string]any `json:"claims,omitempty"`
}

// ShownClaims are the claims of ClaimsPreview.Claims.
var ShownClaims = []string{"aud", "iss", "appid", "azp", "roles", "scp", "scope", "tid", "ver", "sub", "exp"}

// An Attempt is one attempt to obtain a token.
type Attempt struct {
	// At is when it ended.
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took_ns"`
	// Code is why it failed, empty if it did not.
	Code Code `json:"code,omitempty"`
}

// A ProfileStatus describes one profile.
type ProfileStatus struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
	// Does is what the profile does: "mints" tokens, "signs" requests or "verifies"
	// tokens.
	Does string `json:"does"`
	// File is the profile's file.
	File string `json:"file"`
	// Endpoint is where its tokens come from.
	Endpoint string `json:"endpoint,omitempty"`
	// Settings are the file's settings, none of them secret.
	Settings Settings `json:"settings,omitempty"`
	Renew    string   `json:"renew,omitempty"`
	// Tokens are its tokens, the profile's own target first, then those of its
	// resources.
	Tokens    []TokenStatus    `json:"tokens,omitempty"`
	Resources []ResourceStatus `json:"resources,omitempty"`
	// CredentialExpires is when the credential expires, if that is known.
	CredentialExpires time.Time `json:"credential_expires,omitzero"`
	// CredentialStored is when the credential was stored. CredentialSHA256 are digests of
	// its secrets, by field, which only "tokenctl show --json" asks for.
	CredentialStored time.Time         `json:"credential_stored,omitzero"`
	CredentialSHA256 map[string]string `json:"credential_sha256,omitempty"`
	// CredentialState is CredentialExpiring or CredentialExpired if that is near, else
	// empty.
	CredentialState string `json:"credential_state,omitempty"`
	// Pending is the credential that waits for its registration, if any.
	Pending *PendingCredential `json:"pending,omitempty"`
	// Hosts are where requests with this profile's credentials may go (Covers).
	Hosts []string `json:"hosts,omitempty"`
	// Present says how to present its token to them.
	Present Presentation `json:"present,omitempty"`
	// SecondHeader is the header that they want besides the token, if any.
	SecondHeader string `json:"second_header,omitempty"`
	// AdminUsers and AdminGroups may rotate and edit it, beside those who may manage all.
	AdminUsers  []string `json:"admin_users,omitempty"`
	AdminGroups []string `json:"admin_groups,omitempty"`
	// Sinks are the files that tokend writes its token to.
	Sinks []string `json:"sinks,omitempty"`
	// LastUsed is when a caller last had a request signed or a token verified,
	// LastUser who, as for a token.
	LastUsed time.Time `json:"last_used,omitzero"`
	LastUser *User     `json:"last_user,omitempty"`
	// Warnings are problems that stop nothing yet.
	Warnings []string `json:"warnings,omitempty"`
	// Attempts counts the outcomes of attempts since tokend started, by code; "" is a
	// success. Metrics show them.
	Attempts map[Code]uint64 `json:"-"`
}

// AllHosts returns the hosts of the profile and of its resources.
func (p ProfileStatus) AllHosts() []string {
	hosts := slices.Clone(p.Hosts)
	for _, r := range p.Resources {
		hosts = append(hosts, r.Hosts...)
	}
	return hosts
}

// A ResourceStatus describes what else a profile obtains tokens for.
type ResourceStatus struct {
	Name string `json:"name"`
	// Settings say what its tokens are for, in place of the profile's settings of these
	// names. The others are as in ProfileStatus.
	Settings     Settings        `json:"settings"`
	Hosts        []string        `json:"hosts,omitempty"`
	Present      Presentation    `json:"present,omitempty"`
	SecondHeader string          `json:"second_header,omitempty"`
	Attempts     map[Code]uint64 `json:"-"`
}

// A PendingCredential is the new one of a rotation in two steps.
type PendingCredential struct {
	ID     string    `json:"id"`
	Stored time.Time `json:"stored"`
	// Settings came with it: its public_key.
	Settings Settings `json:"settings,omitempty"`
}

// A Status describes the daemon.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Config  string    `json:"config"`
	State   string    `json:"state"`
	// MayManage: the caller may manage profiles, and sees all of them.
	MayManage bool `json:"may_manage"`
	// Keystore is the keystore and its state: "os: ok", "os: locked".
	Keystore string `json:"keystore"`
	// Cache is the state of the token cache: "ok" (it has all tokens), "writing",
	// or what is wrong with it.
	Cache string `json:"cache"`
	// Sandbox says how tokend is confined to its own files: "landlock: ok", or why
	// it is not. It is empty where the system has no such feature.
	Sandbox string `json:"sandbox,omitempty"`
	// Warnings are what is wrong around tokend: the audit log, its directories, the
	// sandbox. Those of a profile are with it.
	Warnings []string `json:"warnings,omitempty"`
	// ConfigErrors are the files that could not be loaded. What they contained
	// before stays active.
	ConfigErrors []string `json:"config_errors,omitempty"`
	// Orphans are the names under which there are secrets, but no profile: its file
	// was deleted or renamed.
	Orphans  []string        `json:"orphans,omitempty"`
	Profiles []ProfileStatus `json:"profiles"`
}

// A KeystoreChoice names a keystore: "os" is the OS keyring, "sealed" means
// sealed files, whose key is in a file or in a systemd credential.
type KeystoreChoice struct {
	Keystore   string `json:"keystore" toml:"keystore"`
	KeyFile    string `json:"key_file,omitempty" toml:"key_file,omitempty"`
	Credential string `json:"credential,omitempty" toml:"credential,omitempty"`
	// GroupRead allows a key file that its group can read.
	GroupRead bool `json:"key_file_group_read,omitempty" toml:"key_file_group_read,omitempty"`
}

// A KeystoreStatus describes the active keystore.
type KeystoreStatus struct {
	KeystoreChoice
	// State is "ok", "locked", or what is wrong.
	State string `json:"state"`
	// KeyID identifies the key of sealed files.
	KeyID string `json:"key_id,omitempty"`
	// Since is when it became active.
	Since time.Time `json:"since"`
	// Leftovers counts old copies that a migration could not delete yet.
	Leftovers int `json:"leftovers,omitempty"`
	// Moving describes the current migration, nil if there is none.
	Moving *KeystoreMove `json:"moving,omitempty"`
}

// A KeystoreMove is the progress of a migration.
type KeystoreMove struct {
	// Doing is "copying" or "deleting".
	Doing string `json:"doing"`
	Done  int    `json:"done"`
	Total int    `json:"total"`
}

// Migrated is the result of a migration.
type Migrated struct {
	Keystore KeystoreStatus `json:"keystore"`
	// Moved counts the secrets that moved.
	Moved int `json:"moved"`
	// NewKey reports whether the migration made the key file.
	NewKey bool `json:"new_key,omitempty"`
}

// An AuditEntry is a line of the audit log. It contains no secret.
type AuditEntry struct {
	Time time.Time `json:"time"`
	// Outcome is "grant" or "refuse", or says how many lines are not in the log: Lines
	// that could not be written, or LeftOut refusals of one user.
	Outcome string `json:"msg"`
	Lines   int    `json:"lines,omitempty"`
	LeftOut int    `json:"left_out,omitempty"`
	// Do is what the User asked for: connect (without being let in), get, exchange, sign,
	// verify, invalidate, add, rotate, edit, remove, rename (of the old name and of the
	// new), reload, unlock or migrate (of the keystore).
	Do string `json:"do,omitempty"`
	User
	Profile string `json:"profile,omitempty"`
	Target
	// Origin is scheme, host and port of what the token or signature was for, as far as
	// the caller said.
	Origin string `json:"origin,omitempty"`
	// Settings are those that an edit changed.
	Settings string `json:"settings,omitempty"`
	// Code is why it was refused.
	Code Code `json:"code,omitempty"`
}

// A Check is the result of one check of the doctor.
type Check struct {
	// Name says what was checked: "keystore", "issuer login.example.com".
	Name string `json:"name"`
	// Result is CheckOK, CheckWarn or CheckFail.
	Result string `json:"result"`
	// Text states the finding, in one line.
	Text string `json:"text"`
	// Advice says what to do, if there is anything to do.
	Advice string `json:"advice,omitempty"`
}

// The results of a Check: good, worth a look, broken.
const (
	CheckOK   = "ok"
	CheckWarn = "warn"
	CheckFail = "fail"
)

// A Report is the result of tokend's doctor.
type Report struct {
	Version string `json:"version"`
	// Proxy is the proxy for requests to issuers, without user and password; empty
	// for none.
	Proxy  string  `json:"proxy,omitempty"`
	Checks []Check `json:"checks"`
}

// An EventKind says what happened.
type EventKind string

// The kinds of events. docs/observability.md describes them.
const (
	// About a profile's tokens.
	EventObtained    EventKind = "obtained"
	EventFailed      EventKind = "failed"
	EventRefused     EventKind = "refused"
	EventExpiring    EventKind = "expiring"
	EventInvalidated EventKind = "invalidated"
	// About a profile.
	EventAdded      EventKind = "added"
	EventRotated    EventKind = "rotated"
	EventRemoved    EventKind = "removed"
	EventCredential EventKind = "credential"
	// About the daemon.
	EventReloaded EventKind = "reloaded"
	EventLocked   EventKind = "locked"
	EventUnlocked EventKind = "unlocked"
	EventCache    EventKind = "cache"
	EventStopping EventKind = "stopping"
	// About the events themselves: some are missing here.
	EventLost EventKind = "lost"
)

// An Event is something that happened. Its JSON form is a line of GET
// /v1/events. It contains no secret.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    EventKind `json:"event"`
	Profile string    `json:"profile,omitempty"`
	// Resource is as in TokenStatus.
	Resource string `json:"resource,omitempty"`
	Target
	// Expires and RenewAt are those of the cached token.
	Expires time.Time `json:"expires,omitzero"`
	RenewAt time.Time `json:"renew_at,omitzero"`
	// Took is how long the attempt lasted.
	Took time.Duration `json:"took_ns,omitempty"`
	// Error is why an attempt failed, Failures how many failed in a row.
	Error    *Error `json:"error,omitempty"`
	Failures int    `json:"failures,omitempty"`
	// State is the state of the cache: "ok", or what is wrong with it; or that of a
	// credential, which ends at CredentialExpires.
	State             string    `json:"state,omitempty"`
	CredentialExpires time.Time `json:"credential_expires,omitzero"`
	// BadFiles is how many files could not be reloaded.
	BadFiles int `json:"bad_files,omitempty"`
	// Lost is how many events were lost, 0 if that is unknown.
	Lost int `json:"lost,omitempty"`
}

// Events delivers events as they happen.
type Events interface {
	// Next waits for the next event, until ctx ends. Only one goroutine may call
	// it at a time.
	Next(ctx context.Context) (Event, error)
	// Close ends the delivery.
	Close()
}
