package ipcserver

import (
	"net/http"

	"tokend/ipc"
)

func (h *handler) doctor(w http.ResponseWriter, r *http.Request, _ string) error {
	found, err := h.backend.Doctor(r.Context())
	return sendJSON(w, http.StatusOK, found, err)
}

func (h *handler) keystore(w http.ResponseWriter, r *http.Request, _ string) error {
	status, err := h.backend.Keystore(r.Context())
	return sendJSON(w, http.StatusOK, status, err)
}

func (h *handler) unlock(w http.ResponseWriter, r *http.Request, _ string) error {
	return done(w, h.backend.Unlock(r.Context()))
}

func (h *handler) migrate(w http.ResponseWriter, r *http.Request, _ string) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	to, err := ipc.DecodeKeystoreChoice(body)
	if err != nil {
		return err
	}
	moved, err := h.backend.Migrate(r.Context(), to)
	return sendJSON(w, http.StatusOK, moved, err)
}
