package ipcserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// A route is a method and a path; if before ends in a slash, a profile's name
// follows, and after. http.ServeMux is not used because it answers by itself,
// with redirects and in words of its own.
type route struct {
	method, before, after string
	op                    string // for the metrics
	query                 bool   // it takes parameters
	serve                 func(*call) error
}

func (h *handler) table() []route {
	return []route{
		{"GET", ipc.TokenPath, "", "get", true, h.getToken},
		{"GET", ipc.AnyTokenPath, "", "get", true, h.getToken},
		{"POST", ipc.InvalidatePath, "", "invalidate", false, h.invalidate},
		{"POST", ipc.ExchangePath, "", "exchange", false, with(checkExchange, h.exchange)},
		{"POST", ipc.TokenPath, ipc.InvalidateSuffix, "invalidate", false, h.invalidate},
		{"POST", ipc.MSIPath, "", "azure-msi", false, with(nil, h.lendMSI)},
		{"GET", ipc.ProfilesPath, "", "list", false, h.profiles},
		{"POST", ipc.ProfilesPath, "", "add", false, with(nil, h.add)},
		{"GET", ipc.ProfilePath, "", "show", false, h.profile},
		{"DELETE", ipc.ProfilePath, "", "remove", false, h.remove},
		{"POST", ipc.ProfilePath, ipc.RotateSuffix, "rotate", false, with(nil, h.rotate)},
		{"POST", ipc.ProfilePath, ipc.RenameSuffix, "rename", false, with(nil, h.rename)},
		{"GET", ipc.ProvidersPath, "", "providers", false, h.providers},
		{"GET", ipc.StatusPath, "", "status", false, h.status},
		{"POST", ipc.ReloadPath, "", "reload", false, h.reload},
		{"POST", ipc.SignPath, "", "sign", false, with(ipc.CheckRequest, h.sign)},
		{"POST", ipc.VerifyPath, "", "verify", false, with(ipc.CheckVerification, h.verify)},
		{"GET", ipc.AuthorizePath, "", "authorize", false, h.authorize},
		{"GET", ipc.EventsPath, "", "events", true, h.events},
		{"GET", ipc.MetricsPath, "", "metrics", false, h.metrics},
		{"GET", ipc.DoctorPath, "", "doctor", false, h.doctor},
		{"GET", ipc.KeystorePath, "", "keystore", false, h.keystore},
		{"POST", ipc.UnlockPath, "", "unlock", false, h.unlock},
		{"POST", ipc.MigratePath, "", "migrate", false, with(nil, h.migrate)},
	}
}

// managing are the operations that take the right to manage profiles.
var managing = []string{"add", "remove", "rotate", "rename", "reload", "keystore", "unlock", "migrate"}

func (t *route) named() bool { return strings.HasSuffix(t.before, "/") }

// match reports whether the escaped path is the route's, and returns the name in it.
func (t *route) match(path string) (name string, ok bool) {
	if !t.named() {
		return "", path == t.before
	}
	rest, ok := strings.CutPrefix(path, t.before)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(rest, t.after)
	return name, ok && name != "" && !strings.Contains(name, "/")
}

func (h *handler) getToken(c *call) error {
	q, err := decodeQuery(c.URL.RawQuery)
	if err != nil {
		return err
	}
	if c.name == "" && q.URL == "" {
		return invalid("url", "either a profile or a url must be named")
	}
	c.trace = q.Trace
	g, err := h.backend.Get(c.Context(), c.name, q)
	if err != nil {
		return err
	}
	if g.Secret.IsZero() {
		return errors.New("the backend returned a token without text")
	}
	if c.wantsText() {
		c.send(http.StatusOK, textType, []byte(g.Secret.Reveal()))
		return nil
	}
	body := format.AppendJSON(nil, g, time.Now())
	if q.Trace != nil {
		steps, err := json.Marshal(list(q.Trace.Steps()))
		if err != nil {
			return err
		}
		body = slices.Concat(bytes.TrimSuffix(body, []byte("}")), []byte(`,"trace":`), steps, []byte("}"))
	}
	c.send(http.StatusOK, jsonType, body)
	return nil
}

func checkExchange(in ipc.Exchange) error { return checkURL(in.Registry) }

func (h *handler) exchange(c *call, in ipc.Exchange) error {
	refresh, err := h.backend.Exchange(c.Context(), c.name, in.Registry)
	return c.json(ipc.Exchanged{RefreshToken: refresh.Reveal()}, err)
}

// invalidate drops the token that the body names. No body, or one without a token,
// means the current token; an empty token is a variable that was not set.
func (h *handler) invalidate(c *call) error {
	var in struct {
		AccessToken *token.Secret `json:"access_token"`
	}
	if len(c.body) > 0 {
		if err := decodeStrict(c.body, &in); err != nil {
			return err
		}
	}
	var t token.Secret
	switch {
	case in.AccessToken != nil && in.AccessToken.IsZero():
		return invalid("access_token", "access_token is empty")
	case in.AccessToken != nil:
		t = *in.AccessToken
	case c.name == "":
		return invalid("access_token", "either a profile or an access_token must be named")
	}
	return c.done(h.backend.Invalidate(c.Context(), c.name, t))
}

func (h *handler) sign(c *call, request token.Request) error {
	signed, err := h.backend.Sign(c.Context(), c.name, request)
	if err != nil {
		return err
	}
	answer, err := ipc.EncodeSigned(signed)
	if err != nil {
		return err
	}
	c.send(http.StatusOK, jsonType, answer)
	return nil
}

func (h *handler) verify(c *call, in ipc.Verification) error {
	return c.json(h.backend.Verify(c.Context(), c.name, token.Presented{Token: token.NewSecret(in.Token), Consent: token.NewSecret(in.Consent), Remote: in.Remote}))
}

func (h *handler) profiles(c *call) error {
	st, err := h.backend.Status(c.Context())
	return c.json(ipc.ProfileList{Profiles: list(st.Profiles)}, err)
}

func (h *handler) status(c *call) error {
	st, err := h.backend.Status(c.Context())
	st.Profiles = list(st.Profiles)
	return c.json(st, err)
}

func (h *handler) profile(c *call) error { return c.json(h.backend.Profile(c.Context(), c.name)) }

func (h *handler) providers(c *call) error {
	all, err := h.backend.Providers(c.Context())
	return c.json(ipc.ProviderList{Providers: list(all)}, err)
}

// list is s, but an empty list where JSON would say null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (h *handler) add(c *call, in ipc.ProfileBody) error {
	p, err := profileOf(in)
	if err != nil {
		return err
	}
	if err := token.CheckName(p.Name); err != nil {
		return err
	}
	if p.Step != "" {
		return invalid("step", "a new profile is made in one step")
	}
	created, err := h.backend.Add(c.Context(), p)
	return c.answer(http.StatusCreated, created, err)
}

func (h *handler) rotate(c *call, in ipc.ProfileBody) error {
	p, err := profileOf(in)
	if err != nil {
		return err
	}
	if p.Name != "" && p.Name != c.name {
		return invalid("name", "the body's name is not the path's")
	}
	p.Name = c.name
	return c.json(h.backend.Rotate(c.Context(), p))
}

func (h *handler) remove(c *call) error { return c.done(h.backend.Remove(c.Context(), c.name)) }

func (h *handler) rename(c *call, to ipc.Renaming) error {
	return c.done(h.backend.Rename(c.Context(), c.name, to.Name))
}

func (h *handler) reload(c *call) error { return c.done(h.backend.Reload(c.Context())) }

func (h *handler) doctor(c *call) error { return c.json(h.backend.Doctor(c.Context())) }

func (h *handler) keystore(c *call) error { return c.json(h.backend.Keystore(c.Context())) }

func (h *handler) unlock(c *call) error { return c.done(h.backend.Unlock(c.Context())) }

func (h *handler) migrate(c *call, to token.KeystoreChoice) error {
	return c.json(h.backend.Migrate(c.Context(), to))
}
