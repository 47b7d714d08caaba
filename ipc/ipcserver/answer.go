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
	jsonType  = "application/json"
	linesType = "application/x-ndjson"
	textType  = "text/plain; charset=utf-8"
)

// wantsText reports whether the caller asks for text/plain first.
func (c *call) wantsText() bool {
	return strings.HasPrefix(strings.ToLower(c.Header.Get("Accept")), "text/plain")
}

// text is an answer that is not JSON.
type text string

// encode returns the body of an answer. A RawMessage is JSON already; nil is for a
// request that has no result to show.
func encode(answer any) (kind string, body []byte, err error) {
	switch v := answer.(type) {
	case nil:
		return jsonType, []byte("{}"), nil
	case text:
		return textType, []byte(v), nil
	case json.RawMessage:
		return jsonType, v, nil
	}
	body, err = ipc.PlainJSON(answer)
	return jsonType, body, err
}

// send answers with body. If it cannot leave, the caller is gone.
func (c *call) send(status int, kind string, body []byte) {
	c.begin(kind)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body)
}

// begin says what kind of answer begins, which has to leave in time.
func (c *call) begin(kind string) {
	c.begun = true
	c.extend()
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.Header().Set("Content-Type", kind)
}

// extend gives the next part of an answer its time to leave.
func (c *call) extend() {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(c.h.times.write))
}

// sendPart sends a part of an answer, and reports whether it has left.
func (c *call) sendPart(part []byte) bool {
	c.extend()
	_, err := c.w.Write(part)
	return err == nil && http.NewResponseController(c.w).Flush() == nil
}

// statuses are those of the answers to errors; any other has 500.
var statuses = map[token.Code]int{
	token.ErrInvalid: 400, token.ErrDenied: 403, token.ErrNotFound: 404, token.ErrExists: 409, token.ErrInternal: 500,
	token.ErrRejected: 502, token.ErrUnavailable: 503, token.ErrLocked: 503, token.ErrKeystore: 503,
}

// wire is what the caller learns of err, nil if there is none.
func (h *handler) wire(c *call, err error) *token.Error {
	if err == nil {
		return nil
	}
	e, known := wireError(err)
	if !known && c.Context().Err() != nil {
		// Either the caller is gone and hears nothing, or we are about to be.
		return &token.Error{Code: token.ErrUnavailable, Message: "tokend is stopping"}
	}
	if !known {
		h.log.Error("request failed", "error", err.Error())
	}
	return e
}

func (c *call) refuse(e *token.Error) {
	status := cmp.Or(c.status, statuses[e.Code], http.StatusInternalServerError)
	if status == http.StatusForbidden && strings.HasPrefix(c.URL.EscapedPath(), ipc.AuthorizePath) {
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
	if full, ok := errors.AsType[*token.Error](err); ok {
		e = new(*full)
	} else if code, ok := errors.AsType[token.Code](err); ok {
		e = &token.Error{Code: code}
	} else {
		return &token.Error{Code: token.ErrInternal, Message: token.ErrInternal.Error()}, false
	}
	e.Message = strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ") // of joined errors
	if e.RetryAt = e.RetryAt.UTC(); e.RetryAt.Year() > 9999 {                  // which JSON cannot have
		e.RetryAt = time.Time{}
	}
	return e, true
}
