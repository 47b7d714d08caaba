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
	"tokend/providers/token/format"
)

// A route is a method and a path: fixed, or with a profile's name between
// before and after. http.ServeMux is not used because it answers by itself,
// with redirects and in words of its own.
type route struct {
	method, before, after string
	named                 bool
	query                 bool // it takes parameters
	op                    int  // an index of operations
	serve                 func(*call) error
}

func (h *handler) table() []route {
	fixed := func(method, path, op string, serve func(*call) error) route {
		return route{method: method, before: path, op: operation(op), serve: serve}
	}
	named := func(method, before, after, op string, serve func(*call) error) route {
		return route{method: method, before: before, after: after, named: true, op: operation(op), serve: serve}
	}
	query := func(r route) route { r.query = true; return r }
	return []route{
		query(named("GET", ipc.TokenPath, "", "get", h.getToken)),
		query(fixed("GET", ipc.AnyTokenPath, "get", h.getToken)),
		fixed("POST", ipc.InvalidatePath, "invalidate", h.invalidate),
		named("POST", ipc.ExchangePath, "", "exchange", h.exchange),
		named("POST", ipc.TokenPath, ipc.InvalidateSuffix, "invalidate", h.invalidate),
		fixed("POST", ipc.MSIPath, "azure-msi", h.lendMSI),
		fixed("GET", ipc.ProfilesPath, "list", h.profiles),
		fixed("POST", ipc.ProfilesPath, "add", h.add),
		named("GET", ipc.ProfilePath, "", "show", h.profile),
		named("DELETE", ipc.ProfilePath, "", "remove", h.remove),
		named("POST", ipc.ProfilePath, ipc.RotateSuffix, "rotate", h.rotate),
		fixed("GET", ipc.ProvidersPath, "providers", h.providers),
		fixed("GET", ipc.StatusPath, "status", h.status),
		fixed("POST", ipc.ReloadPath, "reload", h.reload),
		named("POST", ipc.SignPath, "", "sign", h.sign),
		named("POST", ipc.VerifyPath, "", "verify", h.verify),
		named("GET", ipc.AuthorizePath, "", "authorize", h.authorize),
		query(fixed("GET", ipc.EventsPath, "events", h.events)),
		fixed("GET", ipc.MetricsPath, "metrics", h.metrics),
		fixed("GET", ipc.DoctorPath, "doctor", h.doctor),
		fixed("GET", ipc.KeystorePath, "keystore", h.keystore),
		fixed("POST", ipc.UnlockPath, "unlock", h.unlock),
		fixed("POST", ipc.MigratePath, "migrate", h.migrate),
	}
}

// match reports whether the escaped path is the route's, and returns the name in it.
func (t *route) match(path string) (name string, ok bool) {
	if !t.named {
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
	g, err := h.backend.Get(c.Context(), c.name, q)
	if err != nil && q.Trace != nil {
		return &tracedError{err, q.Trace}
	}
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

func (h *handler) exchange(c *call) error {
	registry, err := decodeExchange(c.body)
	if err != nil {
		return err
	}
	refresh, err := h.backend.Exchange(c.Context(), c.name, registry)
	return c.json(http.StatusOK, ipc.Exchanged{RefreshToken: refresh.Reveal()}, err)
}

func (h *handler) invalidate(c *call) error {
	t, err := decodeInvalidation(c.body)
	if err != nil {
		return err
	}
	if c.name == "" && t.IsZero() {
		return invalid("access_token", "either a profile or an access_token must be named")
	}
	return c.done(h.backend.Invalidate(c.Context(), c.name, t))
}

func (h *handler) profiles(c *call) error {
	st, err := h.backend.Status(c.Context())
	return c.json(http.StatusOK, ipc.ProfileList{Profiles: list(st.Profiles)}, err)
}

func (h *handler) status(c *call) error {
	st, err := h.backend.Status(c.Context())
	st.Profiles = list(st.Profiles)
	return c.json(http.StatusOK, st, err)
}

func (h *handler) profile(c *call) error {
	status, err := h.backend.Profile(c.Context(), c.name)
	return c.json(http.StatusOK, status, err)
}

func (h *handler) providers(c *call) error {
	all, err := h.backend.Providers(c.Context())
	return c.json(http.StatusOK, ipc.ProviderList{Providers: list(all)}, err)
}

// list is s, but an empty list where JSON would say null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
