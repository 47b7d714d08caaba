package ipcserver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tokend/ipc"
	"tokend/providers/token"
)

const (
	jsonType = "application/json"
	textType = "text/plain; charset=utf-8"
)

// wantsText reports whether the caller asks for text/plain first.
func (c *call) wantsText() bool {
	return strings.HasPrefix(strings.ToLower(c.Header.Get("Accept")), "text/plain")
}

// done answers a request that has no result to show.
func (c *call) done(err error) error { return c.json(struct{}{}, err) }

// json answers with v, unless err is set.
func (c *call) json(v any, err error) error { return c.answer(http.StatusOK, v, err) }

func (c *call) answer(status int, v any, err error) error {
	if err != nil {
		return err
	}
	body, err := ipc.PlainJSON(v)
	if err != nil {
		return err
	}
	c.send(status, jsonType, body)
	return nil
}

// send answers with body. If it cannot leave, the caller is gone.
func (c *call) send(status int, kind string, body []byte) {
	c.begin(kind)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body)
}

// begin says what kind of answer begins.
func (c *call) begin(kind string) {
	c.begun = true
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.Header().Set("Content-Type", kind)
}

// sendPart sends a part of an answer, and reports whether it has left.
func (c *call) sendPart(part []byte) bool {
	_, err := c.w.Write(part)
	return err == nil && http.NewResponseController(c.w).Flush() == nil
}

// statuses are those of the answers to errors; any other has 500.
var statuses = map[token.Code]int{
	token.ErrInvalid: 400, token.ErrDenied: 403, token.ErrNotFound: 404, token.ErrExists: 409, token.ErrInternal: 500,
	token.ErrRejected: 502, token.ErrUnavailable: 503, token.ErrLocked: 503, token.ErrKeystore: 503,
}

func (h *handler) refuse(c *call, err error) {
	e, known := wireError(err)
	switch {
	case known:
	case c.Context().Err() != nil:
		// Either the caller is gone and hears nothing, or we are about to be.
		e = &token.Error{Code: token.ErrUnavailable, Message: "tokend is stopping"}
	default:
		h.log.Error("request failed", "error", err.Error())
	}
	status := cmp.Or(statuses[e.Code], http.StatusInternalServerError)
	switch {
	case e.Field == methodField:
		status = http.StatusMethodNotAllowed
	case status == http.StatusForbidden && strings.HasPrefix(c.URL.EscapedPath(), ipc.AuthorizePath):
		// To a proxy that waits for a verdict this status would be one.
		status = http.StatusInternalServerError
	}
	if wait := time.Until(e.RetryAt); status == http.StatusServiceUnavailable && wait > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
	}
	if c.wantsText() {
		c.send(status, textType, fmt.Appendf(nil, "%s: %s\n", string(e.Code), e.Message))
		return
	}
	refusal := ipc.Refusal{Error: e}
	if c.trace != nil {
		refusal.Trace = c.trace.Steps()
	}
	body, _ := json.Marshal(refusal) // texts and times of four digits' years have a JSON form
	c.send(status, jsonType, body)
}

// wireError is what the caller learns of err. known is false if err has no
// code: such an error was not written for callers.
func wireError(err error) (e *token.Error, known bool) {
	var full *token.Error
	var code token.Code
	switch {
	case errors.As(err, &full):
		e = new(*full)
	case errors.As(err, &code):
		e = &token.Error{Code: code}
	default:
		return &token.Error{Code: token.ErrInternal, Message: token.ErrInternal.Error()}, false
	}
	e.Message = strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ") // of joined errors
	if e.RetryAt = e.RetryAt.UTC(); e.RetryAt.Year() > 9999 {                  // which JSON cannot have
		e.RetryAt = time.Time{}
	}
	return e, true
}
