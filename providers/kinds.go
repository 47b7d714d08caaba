package providers

import (
	"context"
	"encoding"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"time"

	"tokend/providers/token"
	"tokend/providers/token/erase"
	"tokend/providers/token/input"
)

// Env is what a provider may use.
type Env struct {
	// HTTP makes the requests; NewHTTPClient returns one that suits.
	HTTP *http.Client
	// Secret reads one of the profile's secrets. Providers call it for each token,
	// so that no key stays in memory between two of them.
	Secret func(ctx context.Context, field string) (token.Secret, error)
}

// A Kind is a kind of provider, which a profile's "provider" names.
type Kind struct {
	Name string
	// Doc says in one line what its tokens are for.
	Doc string

	fresh  func() settings
	fields []field
}

// kind returns the kind with the settings struct S.
func kind[S any, P interface {
	*S
	settings
}](name, doc string) Kind {
	return Kind{name, doc, func() settings { return P(new(S)) }, fieldsOf(reflect.TypeFor[S]())}
}

// settings is a kind's settings struct. Its tags describe its fields.
type settings interface {
	// open checks the settings and returns what does the work.
	open(Env) (any, error)
	// prepare turns the secrets that were handed in into those that tokend keeps,
	// and adds the settings that it finds in them. It may change the maps.
	prepare(*token.CreateProfile) error
}

// Kinds are all kinds of provider, in the order of lists.
var Kinds = []Kind{
	kind[clmsSettings]("clms", "Copernicus Land Monitoring Service, by a service key"),
	kind[azureSettings]("azure", "Microsoft Entra ID (Azure AD), by a client secret or a certificate"),
	kind[asposeSettings]("aspose", "Aspose Cloud and GroupDocs Cloud, by a client secret"),
	kind[oauth2Settings]("oauth2", "any issuer, by the OAuth 2.0 client credentials grant (RFC 6749 §4.4)"),
	kind[jwtBearerSettings]("jwt-bearer", "any issuer, by a signed assertion (RFC 7523 §2.1)"),
	kind[datarockSettings]("datarock", "Datarock, every request signed by a registered key"),
	kind[ioxioSettings]("ioxio", "IOXIO dataspaces, API tokens verified for a data source"),
	kind[jwtVerifySettings]("jwt-verify", "any issuer with OpenID or RFC 8414 metadata, its JWTs verified"),
}

func Lookup(name string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// Fields lists the settings and secrets, in the order of files and questions.
// Some secrets are only inputs of Prepare (a service key, a PFX file) and never
// kept.
func (k Kind) Fields() (fields []token.Field) {
	for _, f := range k.fields {
		fields = append(fields, f.Field)
	}
	return fields
}

// Open opens a profile of this kind with the settings that decode reads from the
// profile's file. It needs no secret and no network. The result implements
// token.Minter, token.Signer or token.Verifier, and may have these methods:
//
//   - CredentialExpires() time.Time: when the credential expires, zero if the
//     settings do not say;
//   - RotatesInSteps() bool: whether a new credential works only after its
//     public key was registered, and the old one until then;
//   - Hosts() []string: what its credentials are for (token.Covers), if the
//     profile does not say;
//   - Look(ctx) ([]string, error): looks at what the issuer of a profile that
//     verifies tokens publishes, and says what it found;
//   - Inherit(old any): takes over what another result for the same profile
//     has learned.
//
// Errors are ErrInvalid and name the field, or are decode's own.
func (k Kind) Open(decode func(into any) error, env Env) (any, error) {
	s := k.defaults()
	if err := decode(s); err != nil {
		return nil, err
	}
	if err := k.checkNeeded(s); err != nil {
		return nil, err
	}
	return s.open(env)
}

// Prepare turns the files that were handed in (a.Secrets) into what tokend keeps:
// a.Secrets are then the secrets that Open's result will ask for, and a.Settings
// has also what was found beside them, such as a service key's client_id. Binary
// files (PFX, DER) may be base64-encoded. Errors are ErrInvalid and name the
// field; they leave a unchanged.
func (k Kind) Prepare(a *token.CreateProfile) error {
	if err := k.checkSecrets(a); err != nil {
		return err
	}
	draft := *a
	draft.Settings, draft.Secrets = map[string]any{}, map[string]token.Secret{}
	maps.Copy(draft.Settings, a.Settings)
	for name, secret := range a.Secrets {
		if !secret.IsZero() {
			draft.Secrets[name] = token.NewSecret(input.Text(secret.Reveal()))
		}
	}
	return erase.Do(func() error {
		err := decryptKeys(draft.Secrets)
		if err == nil {
			err = k.defaults().prepare(&draft)
		}
		if err == nil {
			*a = draft
		}
		return err
	})
}

// checkSecrets refuses a secret among the settings, which would end in a file,
// and a secret that the kind does not have.
func (k Kind) checkSecrets(a *token.CreateProfile) error {
	known := map[string]bool{}
	for _, f := range k.fields {
		known[f.Name] = f.Secret
		if _, ok := a.Settings[f.Name]; ok && f.typ == reflect.TypeFor[secretField]() {
			return invalid(f.Name, "%s is a secret and cannot be a setting", f.Name)
		}
	}
	for name := range a.Secrets {
		if !known[name] {
			return invalid(name, "%s has no secret %q", k.Name, name)
		}
	}
	return nil
}

// invalid returns an ErrInvalid about one field.
func invalid(field, format string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// The tags of a settings struct are the only place that describes its fields:
//
//	toml:"name"     its name in a profile's file, in `tokenctl add`, in errors
//	doc:"…"         what it is and where to find it, in a few words
//	need:"yes"      it has no default
//	need:"field"    it is needed, and comes with that secret field
//	default:"…"     its value where the file has none
//	secret:"yes"    it is handed in like a secret, and kept as a setting
//	per:"resource"  each resource of a profile has its own
//	sends:"yes"     it decides where the credential is sent
//
// The fields of embedded structs count as their own.

// A field is a field of a settings struct, as its tags describe it.
type field struct {
	token.Field
	need  string
	index []int
	typ   reflect.Type
}

// fieldsOf lists the fields of a settings struct, those of embedded structs in place.
func fieldsOf(t reflect.Type) (fields []field) {
	for _, in := range reflect.VisibleFields(t) {
		if in.Anonymous {
			continue
		}
		tag := in.Tag
		fields = append(fields, field{need: tag.Get("need"), index: in.Index, typ: in.Type, Field: token.Field{
			Name:     tag.Get("toml"),
			Doc:      tag.Get("doc"),
			Required: tag.Get("need") == "yes",
			Secret:   in.Type == reflect.TypeFor[secretField]() || tag.Get("secret") == "yes",
			Default:  tag.Get("default"),
			List:     in.Type.Kind() == reflect.Slice,
			Table:    in.Type.Kind() == reflect.Map,
			Resource: tag.Get("per") == "resource",
			Sends:    tag.Get("sends") == "yes",
		}})
	}
	return fields
}

func (f field) in(s settings) reflect.Value { return reflect.ValueOf(s).Elem().FieldByIndex(f.index) }

// defaults returns settings with the values of their default tags.
func (k Kind) defaults() settings {
	s := k.fresh()
	for _, f := range k.fields {
		if f.Default == "" {
			continue
		}
		switch into := f.in(s).Addr().Interface().(type) {
		case *string:
			*into = f.Default
		case *any:
			*into = f.Default
		default: // which panics for a bug here, which every test finds
			if err := into.(encoding.TextUnmarshaler).UnmarshalText([]byte(f.Default)); err != nil {
				panic(fmt.Sprintf("default of %s: %v", f.Name, err))
			}
		}
	}
	return s
}

// checkNeeded returns an error about the first needed setting without a value.
func (k Kind) checkNeeded(s settings) error {
	for _, f := range k.fields {
		if f.need == "" || f.typ == reflect.TypeFor[secretField]() || !f.in(s).IsZero() {
			continue
		}
		err := &token.Error{Code: token.ErrInvalid, Field: f.Name, Message: f.Name + " is missing"}
		if !f.Required {
			err.Cause = token.ErrNoCredential
			err.Message += "; it comes with the " + f.need
		}
		return err
	}
	return nil
}

// A secretField is the place of a secret in a settings struct: it has a name and
// a description, and never a value.
type secretField struct{}

// UnmarshalText refuses a secret in a file.
func (*secretField) UnmarshalText([]byte) error {
	return fmt.Errorf("it is a secret and must not be in a file")
}

// A duration is written as Go writes them: "90s", "5m", "1h".
type duration time.Duration

// UnmarshalText parses a duration of a second or more.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(strings.TrimSpace(string(b)))
	if err != nil || v < time.Second {
		return fmt.Errorf(`%q is not a duration such as "90s", "5m" or "1h"`, b)
	}
	*d = duration(v)
	return nil
}
