package providers

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"tokend/providers/token"
	"tokend/providers/token/erase"
)

// Env is what a provider may use of the world.
type Env struct {
	// HTTP makes the requests; NewHTTPClient gives a fitting one.
	HTTP *http.Client
	// Secret reads one of the profile's secrets. It is called for each token,
	// so that no key stays in memory between two of them.
	Secret func(ctx context.Context, field string) (token.Secret, error)
}

// A Kind is one kind of provider: what a profile's "provider" names.
type Kind struct {
	Name string
	// Doc says in a line what its tokens are for.
	Doc string

	fresh func() settings
}

// settings is one kind's settings struct. Its tags say everything about its
// fields; see fieldsOf.
type settings interface {
	// open checks the settings and makes of them what does the work.
	open(Env) (any, error)
	// prepare turns the secrets that a person handed in into those that are
	// kept, and adds the settings that it finds in them. The maps are its own
	// to change.
	prepare(*token.CreateProfile) error
}

// Kinds are all kinds of provider, in the order in which they are listed.
var Kinds = []Kind{
	{"clms", "Copernicus Land Monitoring Service, by a service key", func() settings { return &clmsSettings{} }},
	{"azure", "Microsoft Entra ID (Azure AD), by a client secret or a certificate", func() settings { return &azureSettings{} }},
	{"aspose", "Aspose Cloud and GroupDocs Cloud, by a client secret", func() settings { return &asposeSettings{} }},
	{"oauth2", "any issuer, by the OAuth 2.0 client credentials grant (RFC 6749 §4.4)", func() settings { return &oauth2Settings{} }},
	{"jwt-bearer", "any issuer, by a signed assertion (RFC 7523 §2.1)", func() settings { return &jwtBearerSettings{} }},
	{"datarock", "Datarock, every request signed by a registered key", func() settings { return &datarockSettings{} }},
	{"ioxio", "IOXIO dataspaces, API tokens verified for a data source", func() settings { return &ioxioSettings{} }},
	{"jwt-verify", "any issuer with OpenID or RFC 8414 metadata, its JWTs verified", func() settings { return &jwtVerifySettings{} }},
}

// Lookup finds a kind by its name.
func Lookup(name string) (Kind, bool) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return Kinds[i], true
}

// Fields lists the settings and the secret inputs, in the order in which they
// stand in a file and are asked for. Some secret ones are only inputs of
// Prepare (a service key, a PFX file) and are never kept.
func (k Kind) Fields() []token.Field { return fieldsOf(k.fresh()) }

// Open makes a profile of this kind from its settings, which decode fills in
// from the profile's file. It needs no secret and no network. The result
// implements token.Minter, token.Signer or token.Verifier, and where it has
// something to say of itself:
//
//   - CredentialExpires() time.Time: when the credential ends, as far as the
//     settings tell (zero: they do not);
//   - RotatesInSteps() bool: whether a new credential works only after its
//     public key was registered, and the old one until then;
//   - Hosts() []string: what its credentials are for (token.Covers), where the
//     profile does not say.
//
// Errors are ErrInvalid and name the field, or are decode's own.
func (k Kind) Open(decode func(into any) error, env Env) (any, error) {
	s := k.fresh()
	setDefaults(s)
	if err := decode(s); err != nil {
		return nil, err
	}
	if err := checkNeeded(s); err != nil {
		return nil, err
	}
	return s.open(env)
}

// Prepare turns what a person handed in (a.Secrets, as read from files) into
// what is kept: afterwards a.Secrets are the secrets that Open's result will
// ask for, and a.Settings has also what was found beside them, such as a
// service key's client_id. Binary files (PFX, DER) may be base64-encoded.
// Errors are ErrInvalid and name the field; a is unchanged then.
func (k Kind) Prepare(a *token.CreateProfile) error {
	s := k.fresh()
	setDefaults(s)
	if err := k.sort(a); err != nil {
		return err
	}
	draft := *a
	draft.Settings, draft.Secrets = map[string]any{}, map[string]token.Secret{}
	maps.Copy(draft.Settings, a.Settings)
	for name, secret := range a.Secrets {
		if !secret.IsZero() {
			draft.Secrets[name] = secret
		}
	}
	var err error
	erase.Do(func() { err = s.prepare(&draft) })
	if err != nil {
		return err
	}
	*a = draft
	return nil
}

// sort refuses a secret among the settings, which would end in a file, and a
// secret that the kind does not have.
func (k Kind) sort(a *token.CreateProfile) error {
	var secrets []string
	for _, f := range fieldsIn(k.fresh()) {
		if !f.secret {
			continue
		}
		secrets = append(secrets, f.name)
		if _, said := a.Settings[f.name]; said && f.Type == reflect.TypeFor[secretField]() {
			return invalid(f.name, "%s is a secret and cannot be a setting", f.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Secrets)) {
		if slices.Contains(secrets, name) {
			continue
		}
		text := fmt.Sprintf("%s has no secret %q", k.Name, name)
		if near := token.Nearest(name, secrets); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		return invalid(name, "%s", text)
	}
	return nil
}

// invalid makes an ErrInvalid about one field.
func invalid(field, format string, args ...any) error {
	return &token.Error{Code: token.ErrInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}
