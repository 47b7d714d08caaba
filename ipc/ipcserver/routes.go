package ipcserver

import (
	"bytes"
	"cmp"
	"context"
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
	do                    string // for the metrics and the audit log
	rules                 rules
	serve                 func(*call) (any, error)
}

type rules uint8

const (
	takesQuery  rules = 1 << iota
	audits            // it is in the audit log
	manages           // it takes the right to manage profiles
	administers       // it takes the right to administer the profile
)

func (h *handler) table() []route {
	b := h.backend
	return []route{
		{"GET", ipc.TokenPath, "", "get", takesQuery | audits, h.getToken},
		{"GET", ipc.AnyTokenPath, "", "get", takesQuery | audits, h.getToken},
		{"POST", ipc.InvalidatePath, "", "invalidate", audits, h.invalidate},
		{"POST", ipc.ExchangePath, "", "exchange", audits, with(func(in ipc.Exchange) error { return checkURL(in.Registry) }, h.exchange)},
		{"POST", ipc.TokenPath, ipc.InvalidateSuffix, "invalidate", audits, h.invalidate},
		{"POST", ipc.MSIPath, "", "azure-msi", 0, with(nil, h.lendMSI)},
		{"GET", ipc.ProfilesPath, "", "list", 0, h.profiles},
		{"POST", ipc.ProfilesPath, "", "add", audits | manages, with(nil, h.add)},
		{"GET", ipc.ProfilePath, "", "show", 0, func(c *call) (any, error) { return b.Profile(c.Context(), c.name) }},
		{"DELETE", ipc.ProfilePath, "", "remove", audits | manages, func(c *call) (any, error) { return nil, b.Remove(c.Context(), c.name) }},
		{"POST", ipc.ProfilePath, ipc.RotateSuffix, "rotate", audits | administers, submit(b.Rotate)},
		{"GET", ipc.ProfilePath, ipc.TextSuffix, "text", 0, func(c *call) (any, error) { return b.ProfileText(c.Context(), c.name) }},
		{"PUT", ipc.ProfilePath, ipc.TextSuffix, "edit", audits | administers, submit(b.Edit)},
		{"POST", ipc.ProfilePath, ipc.RenameSuffix, "rename", audits | manages, with(nil, h.rename)},
		{"GET", ipc.ProfilePath, ipc.DigestSuffix, "digests", 0, func(c *call) (any, error) { return h.Digests(c.Context(), c.name) }},
		{"GET", ipc.ProvidersPath, "", "providers", 0, h.providers},
		{"GET", ipc.StatusPath, "", "status", 0, func(c *call) (any, error) { return b.Status(c.Context()) }},
		{"POST", ipc.ReloadPath, "", "reload", audits | manages, func(c *call) (any, error) { return nil, b.Reload(c.Context()) }},
		{"POST", ipc.SignPath, "", "sign", audits, with(ipc.CheckRequest, h.sign)},
		{"POST", ipc.VerifyPath, "", "verify", audits, with(ipc.CheckVerification, func(c *call, p token.Presented) (any, error) { return b.Verify(c.Context(), c.name, p) })},
		{"GET", ipc.AuthorizePath, "", "authorize", 0, h.authorize},
		{"GET", ipc.EventsPath, "", "events", takesQuery, h.events},
		{"GET", ipc.AuditPath, "", "audit", 0, h.auditLog},
		{"GET", ipc.MetricsPath, "", "metrics", 0, h.metrics},
		{"GET", ipc.DoctorPath, "", "doctor", 0, func(c *call) (any, error) { return b.Doctor(c.Context()) }},
		{"GET", ipc.KeystorePath, "", "keystore", manages, func(c *call) (any, error) { return b.Keystore(c.Context()) }},
		{"POST", ipc.UnlockPath, "", "unlock", audits | manages, func(c *call) (any, error) { return nil, b.Unlock(c.Context()) }},
		{"POST", ipc.MigratePath, "", "migrate", audits | manages, with(nil, func(c *call, to token.KeystoreChoice) (any, error) { return b.Migrate(c.Context(), to) })},
	}
}

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

func (h *handler) getToken(c *call) (any, error) {
	q, resource, err := decodeQuery(c.URL.RawQuery)
	switch {
	case err != nil:
		return nil, err
	case c.name == "" && q.URL == "":
		return nil, invalid("url", "name a profile or a url")
	case c.name == "" && resource != "":
		return nil, invalid("resource", "a resource is one of a profile's; name the profile too")
	}
	c.name = token.WithResource(c.name, resource)
	c.trace, q.Warn = q.Trace, c.Header.Get(ipc.WarnHeader) == "true"
	c.event.Profile, c.event.Target, c.event.Origin = c.name, q.Target, token.Origin(q.URL)
	g, err := h.backend.Get(c.Context(), c.name, q)
	if err != nil {
		return nil, err
	}
	c.event.Profile = g.Profile
	switch {
	case g.Secret.IsZero():
		return nil, errors.New("the backend returned a token without text")
	case c.wantsText():
		return text(g.Secret.Reveal()), nil
	}
	body := format.AppendJSON(nil, g, time.Now())
	if q.Trace != nil {
		steps, _ := json.Marshal(q.Trace.Steps()) // text and times of these years have a JSON form
		body = slices.Concat(bytes.TrimSuffix(body, []byte("}")), []byte(`,"trace":`), steps, []byte("}"))
	}
	return json.RawMessage(body), nil
}

func (h *handler) exchange(c *call, in ipc.Exchange) (any, error) {
	c.event.Origin = token.Origin(in.Registry)
	refresh, err := h.backend.Exchange(c.Context(), c.name, in.Registry)
	return ipc.Exchanged{RefreshToken: refresh.Reveal()}, err
}

// invalidate drops the token that the body names. No body, or one without a token,
// means the current token; an empty token is a variable that was not set.
func (h *handler) invalidate(c *call) (any, error) {
	var in struct {
		AccessToken *token.Secret `json:"access_token"`
		Resource    *string       `json:"resource"`
	}
	if len(c.body) > 0 {
		if err := decodeStrict(c.body, &in); err != nil {
			return nil, err
		}
	}
	var t token.Secret
	switch {
	case in.AccessToken != nil && in.AccessToken.IsZero():
		return nil, invalid("access_token", "access_token is empty")
	case in.AccessToken != nil:
		t = *in.AccessToken
	case c.name == "":
		return nil, invalid("access_token", "name a profile or an access_token")
	}
	if in.Resource != nil {
		if err := cmp.Or(token.CheckName(*in.Resource), token.CheckName(c.name)); err != nil {
			return nil, err
		}
		c.name += "/" + *in.Resource
		c.event.Profile = c.name
	}
	return nil, h.backend.Invalidate(c.Context(), c.name, t)
}

func (h *handler) sign(c *call, request token.Request) (any, error) {
	c.event.Origin = token.Origin(request.URL)
	signed, err := h.backend.Sign(c.Context(), c.name, request)
	if err != nil {
		return nil, err
	}
	answer, err := ipc.EncodeSigned(signed)
	return json.RawMessage(answer), err
}

func (h *handler) profiles(c *call) (any, error) {
	st, err := h.backend.Status(c.Context())
	return ipc.ProfileList{Profiles: st.Profiles}, err
}

func (h *handler) providers(c *call) (any, error) {
	all, err := h.backend.Providers(c.Context())
	return ipc.ProviderList{Providers: all}, err
}

func (h *handler) add(c *call, in ipc.ProfileBody) (any, error) {
	p, err := profileOf(in)
	if err == nil {
		err = token.CheckName(p.Name)
	}
	if err == nil && p.Step+p.Text != "" {
		err = invalid("step", "a new profile is made in one step, of settings")
	}
	if err != nil {
		return nil, err
	}
	c.event.Profile = p.Name
	created, err := h.backend.Add(c.Context(), p)
	if err == nil {
		c.status = http.StatusCreated
	}
	return created, err
}

// submit is a route of a profile that takes what add takes.
func submit(send func(context.Context, token.CreateProfile) (token.Created, error)) func(*call) (any, error) {
	return with(nil, func(c *call, in ipc.ProfileBody) (any, error) {
		p, err := profileOf(in)
		if err == nil && p.Name != "" && p.Name != c.name {
			err = invalid("name", "the body's name is not the path's")
		}
		if err != nil {
			return nil, err
		}
		p.Name = c.name
		created, err := send(c.Context(), p)
		var changed []string
		for _, change := range created.Changes {
			changed = append(changed, change.Setting)
		}
		c.event.Settings = strings.Join(changed, ", ")
		return created, err
	})
}

// rename is in the audit log under both names.
func (h *handler) rename(c *call, to ipc.Renaming) (any, error) {
	err := h.backend.Rename(c.Context(), c.name, to.Name)
	if err == nil {
		h.audit(c.Context(), c.event, nil)
		c.event.Profile = to.Name
	}
	return nil, err
}
