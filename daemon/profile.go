package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// A profile is one file of profiles.d, opened. But for its slots it does not
// change: a reload makes another.
type profile struct {
	name, kind string
	renew      Renew
	idle       time.Duration
	// What the profile does; one of them is set.
	minter   token.Minter
	signer   token.Signer
	verifier token.Verifier
	// inSteps: a new credential takes effect when the person says that it has
	// been registered with the service.
	inSteps bool
	// hosts are what its credentials may be sent to.
	hosts []string
	// present is how its token is shown to them.
	present token.Presentation
	sinks   []Sink
	// allowed may use it, beside those who have every right; nil: nobody.
	allowed *allowance
	// issuer is the host that its tokens come from.
	issuer string
	// fingerprint stands for everything that decides which token it gets.
	fingerprint fingerprint
	// settings are the provider's settings, from the file and the credential.
	settings token.Settings
	// credential is the one in force, zero if none is stored; pending the one
	// that waits to be registered, nil if none does.
	credential, pending *token.Credential
	// slots hold its tokens, one for each target: most profiles have one, none
	// more than maxTargets. They are guarded by Daemon.mu.
	slots []*slot
	// used is when it last signed or verified something, nil if it did not;
	// guarded by Daemon.mu.
	used *use
	// tally is guarded by Daemon.mu, and nil until it is in force.
	tally *tally
	// ends is when the credential itself expires, zero if unknown.
	ends time.Time
}

// common are the keys that every profile's file may have.
type common struct {
	Provider string   `toml:"provider"`
	Renew    Renew    `toml:"renew"`
	Idle     Duration `toml:"idle"`
	Hosts    []string `toml:"hosts"`
	// Present says how the token is shown to the hosts.
	Present token.Presentation `toml:"present"`
	// AllowUsers and AllowGroups may use the profile, beside root and the user
	// that tokend runs as. They are names or numbers.
	AllowUsers  []string `toml:"allow_users"`
	AllowGroups []string `toml:"allow_groups"`
	// Sinks are the files that its token is kept in.
	Sinks []Sink `toml:"sink"`
}

var commonKeys = keysOf(&common{})

func (c common) check() error {
	for _, host := range c.Hosts {
		if err := token.CheckHost(host); err != nil {
			return &token.Error{Code: token.ErrInvalid, Field: "hosts", Message: "hosts: " + err.Error()}
		}
	}
	if err := c.Present.Check(); err != nil {
		return &token.Error{Code: token.ErrInvalid, Field: "present", Message: "present: " + err.Error()}
	}
	if err := checkSinks(c.Sinks); err != nil {
		return err
	}
	return c.Renew.check()
}

// secretReader gives a profile its secrets.
type secretReader func(ctx context.Context, field string) (token.Secret, error)

// open makes a profile of its file's content and the credential that goes with
// it. Errors are ErrInvalid and name file (if the document has one), line and
// key.
func open(kinds Kinds, c Config, name string, doc *document, cred *token.Credential, secret secretReader) (*profile, error) {
	if err := token.CheckName(name); err != nil {
		return nil, err
	}
	own := common{Renew: c.Renew, Idle: c.Idle}
	if err := doc.decode(&own); err != nil {
		return nil, err
	}
	if err := errors.Join(own.check(), checkProvider(kinds, own.Provider)); err != nil {
		return nil, doc.locate(err)
	}
	extra, err := credentialDocument(*cred)
	if err != nil {
		return nil, err
	}
	read := false
	opened, err := kinds.Open(own.Provider, func(into any) error {
		if err := errors.Join(extra.decode(into), doc.decode(into)); err != nil {
			return err
		}
		read = true
		return nil
	}, secret)
	// A key that nobody knows is often the misspelt one that is missed.
	if unknown := doc.close(); read && unknown != nil {
		return nil, unknown
	}
	if errors.Is(err, token.ErrNoCredential) && cred.ID == "" {
		opened, err = waiting{name}, nil // written by hand; tokenctl rotate completes it
	}
	if err != nil {
		return nil, doc.locate(err)
	}
	said, err := doc.settings(*cred)
	if err != nil {
		return nil, err
	}
	settings, err := token.NewSettings(said)
	if err != nil {
		return nil, doc.locate(err)
	}
	p := &profile{
		name: name, kind: own.Provider,
		renew: own.Renew, idle: own.Idle.Duration,
		settings: settings, credential: cred,
		hosts: own.Hosts, present: own.Present, sinks: own.Sinks, ends: cred.Expires,
	}
	if len(own.AllowUsers)+len(own.AllowGroups) > 0 {
		p.allowed = new(newAllowance(own.AllowUsers, own.AllowGroups))
	}
	p.fingerprint = p.identify()
	p.take(opened)
	if p.minter == nil && len(p.sinks) > 0 {
		return nil, doc.locate(&token.Error{Code: token.ErrInvalid, Field: "sink", Message: "sink: " + unable(p, "has no tokens to write").Message})
	}
	return p, nil
}

// take sees what the opened provider is able to do.
func (p *profile) take(opened any) {
	p.signer, _ = opened.(token.Signer)
	p.verifier, _ = opened.(token.Verifier)
	if m, ok := opened.(token.Minter); ok {
		p.minter, p.issuer = m, hostOf(m.Endpoint())
	}
	if c, ok := opened.(interface{ CredentialExpires() time.Time }); ok {
		if ends := c.CredentialExpires(); !ends.IsZero() && (p.ends.IsZero() || ends.Before(p.ends)) {
			p.ends = ends
		}
	}
	if r, ok := opened.(interface{ RotatesInSteps() bool }); ok {
		p.inSteps = r.RotatesInSteps()
	}
	if h, ok := opened.(interface{ Hosts() []string }); ok && p.hosts == nil {
		p.hosts = h.Hosts()
	}
}

// topicSecretMissing is the text of docs/errors.md on a credential that is not
// in the keystore.
const topicSecretMissing = "secret-missing"

// waiting stands for what a profile will do once it has a credential.
type waiting struct{ name string }

func (waiting) Endpoint() string { return "" }

func (w waiting) Mint(context.Context, token.Target) (token.Token, error) {
	return token.Token{}, w.refuse()
}

func (w waiting) Sign(context.Context, token.Request) (token.Signed, error) {
	return token.Signed{}, w.refuse()
}

func (w waiting) refuse() error {
	return &token.Error{Code: token.ErrKeystore, Topic: topicSecretMissing, Field: "credential", Message: fmt.Sprintf("no credential is stored for profile %q", w.name)}
}

// inherit lets p go on with the tokens of old and with what that has learnt,
// such as the keys of an issuer that may be out of reach now.
func (p *profile) inherit(old *profile) {
	p.slots, p.used, old.slots = old.slots, old.used, nil
	if heir, ok := p.verifier.(interface{ Inherit(old any) }); ok {
		heir.Inherit(old.verifier)
	}
}

// slotFor is the slot of a target, nil if there is none. Daemon.mu is held.
func (p *profile) slotFor(t token.Target) *slot {
	for _, s := range p.slots {
		if s.target == t {
			return s
		}
	}
	return nil
}

// does names what p does, for status.
func (p *profile) does() string {
	switch {
	case p.minter != nil:
		return "mints"
	case p.signer != nil:
		return "signs"
	}
	return "verifies"
}

func checkProvider(kinds Kinds, name string) error {
	var names []string
	for _, p := range kinds.Providers() {
		if p.Name == name {
			return nil
		}
		names = append(names, p.Name)
	}
	text := fmt.Sprintf("no provider %q", name)
	if name == "" {
		text = `"provider" is missing`
	}
	if near := token.Nearest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	} else {
		text += "; there are " + strings.Join(names, ", ")
	}
	return &token.Error{Code: token.ErrInvalid, Field: "provider", Message: text}
}

// credentialDocument is what the credential says, in the form of a file, so
// that the profile's own file is decoded over it.
func credentialDocument(c token.Credential) (*document, error) {
	if len(c.Settings) == 0 {
		return newDocument("the credential "+c.ID, nil), nil
	}
	data, err := toml.Marshal(c.Settings)
	if err != nil {
		return nil, fmt.Errorf("settings of credential %s: %w", c.ID, err)
	}
	return newDocument("the credential "+c.ID, data), nil
}

// settings are the provider's settings: those of the file over those of the
// credential, without the keys that are tokend's own.
func (d *document) settings(c token.Credential) (map[string]any, error) {
	said := map[string]any{}
	if err := toml.Unmarshal(d.data, &said); err != nil {
		return nil, err
	}
	for _, key := range commonKeys {
		delete(said, key)
	}
	all := maps.Clone(c.Settings)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, said)
	return all, nil
}

// A fingerprint is a digest of the provider, its settings and which credential
// is in force. It holds nothing of the secrets.
type fingerprint [sha256.Size]byte

func (f fingerprint) String() string { return hex.EncodeToString(f[:]) }

func (p *profile) identify() fingerprint {
	text, _ := json.Marshal([]any{p.kind, p.settings, p.credential.ID}) // the settings are sorted by name
	return sha256.Sum256(text)
}

func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	return u.Host
}

// A profileFile is a file of profiles.d as it was read, or why it could not be.
type profileFile struct {
	path string
	text []byte
	err  error
}

// name is that of the profile.
func (f profileFile) name() string {
	return strings.TrimSuffix(filepath.Base(f.path), ".toml")
}

// openFile opens the profile of a file.
func (d *Daemon) openFile(kinds Kinds, c Config, f profileFile) (*profile, error) {
	if f.err != nil {
		return nil, unreadable(f.err)
	}
	name := strings.Clone(f.name()) // the path need not stay
	return d.openKept(kinds, c, name, newDocument(f.path, f.text))
}

// openKept opens a profile with the credential that is kept.
func (d *Daemon) openKept(kinds Kinds, c Config, name string, doc *document) (*profile, error) {
	cred, pending, err := d.deps.Credentials.Kept(name)
	if err != nil {
		return nil, err
	}
	p, err := open(kinds, c, name, doc, &cred, d.secretsOf(name, &cred))
	if err != nil {
		return nil, err
	}
	if pending.ID != "" {
		p.pending = new(pending)
	}
	return p, nil
}

// secretsOf reads the secrets of the named profile's credential.
func (d *Daemon) secretsOf(name string, cred *token.Credential) secretReader {
	return func(ctx context.Context, field string) (token.Secret, error) {
		begun := time.Now()
		s, err := d.deps.Credentials.Secret(ctx, *cred, field)
		token.TraceOf(ctx).Add("keystore", "%s read for %s: %s, took %v", field, cred.ID, outcome(err), time.Since(begun).Round(time.Microsecond))
		if errors.Is(err, token.ErrNotFound) {
			return s, &token.Error{Code: token.ErrKeystore, Topic: topicSecretMissing, Field: field, Message: fmt.Sprintf(
				"no %s is stored for profile %q", field, name)}
		}
		return s, err
	}
}

// profileFiles reads the files of profiles.d, in no order.
func (d Dirs) profileFiles() ([]profileFile, error) {
	dir, err := os.Open(d.ProfilesDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	var files []profileFile
	for _, name := range names {
		if filepath.Ext(name) == ".toml" && !strings.HasPrefix(name, ".") {
			files = append(files, profileFile{path: filepath.Join(d.ProfilesDir(), name)})
		}
	}
	const readers = 16 // after a boot they wait for the disk
	inParallel(len(files), readers, func(i int) {
		files[i].text, files[i].err = readRegular(files[i].path)
	})
	return files, err
}

// readRegular reads a file, and does not wait for a FIFO.
func readRegular(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	return os.ReadFile(path)
}

// inParallel calls do with each number below n, with so many workers.
func inParallel(n, workers int, do func(i int)) {
	var all sync.WaitGroup
	next := atomic.Int64{}
	for range min(n, workers) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// render writes a new profile's file: what the person said, in the provider's
// own order, with a line on each setting. Tables come last, as TOML wants it.
func render(p token.Provider, settings map[string]any) ([]byte, error) {
	docs := map[string]string{
		"renew":        `"always", or "used" to stop when nobody asks`,
		"idle":         `how long nobody must have asked`,
		"hosts":        `what its credentials may be sent to`,
		"present":      `how: "bearer", "basic:USER", "header:NAME" or "acr"`,
		"allow_users":  `who may use it, beside root and tokend's own user`,
		"allow_groups": `likewise, by group`,
	}
	order := []string{"renew", "idle", "hosts", "present", "allow_users", "allow_groups"}
	for _, f := range p.Fields {
		docs[f.Name] = f.Doc
		order = append(order, f.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if docs[name] == "" {
			order = append(order, name) // open will say what is wrong with it
		}
	}
	var lines, tables bytes.Buffer
	fmt.Fprintf(&lines, "# Made by tokenctl add; yours to edit, tokend does not write it again.\n"+
		"# Secrets are in the keystore.\nprovider = %q\n", p.Name)
	for _, name := range order {
		value, said := settings[name]
		if !said {
			continue
		}
		line, err := toml.Marshal(map[string]any{name: value})
		if err != nil {
			return nil, &token.Error{Code: token.ErrInvalid, Field: name, Message: name + " cannot be written as TOML"}
		}
		out := &lines
		if bytes.HasPrefix(line, []byte("[")) {
			out = &tables
		}
		out.WriteByte('\n')
		if doc := docs[name]; doc != "" {
			fmt.Fprintf(out, "# %s\n", doc)
		}
		out.Write(line)
	}
	return append(lines.Bytes(), tables.Bytes()...), nil
}
