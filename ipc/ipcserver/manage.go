package ipcserver

import (
	"net/http"

	"tokend/providers/token"
)

func (h *handler) add(c *call) error {
	p, err := decodeProfile(c.body)
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

func (h *handler) rotate(c *call) error {
	p, err := decodeProfile(c.body)
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

func (h *handler) reload(c *call) error { return c.done(h.backend.Reload(c.Context())) }

func (h *handler) doctor(c *call) error { return c.json(h.backend.Doctor(c.Context())) }

func (h *handler) keystore(c *call) error { return c.json(h.backend.Keystore(c.Context())) }

func (h *handler) unlock(c *call) error { return c.done(h.backend.Unlock(c.Context())) }

func (h *handler) migrate(c *call) error {
	to, err := decode[token.KeystoreChoice](c.body, nil)
	if err != nil {
		return err
	}
	return c.json(h.backend.Migrate(c.Context(), to))
}
