package providertest

import (
	"fmt"
	"io"
	"net/http"
)

// A Fault answers a token request in place of the issuer.
type Fault func(w http.ResponseWriter, r *http.Request)

// Status answers with an HTTP status and an HTML page, as gateways do, and
// with Retry-After unless that is empty.
func Status(code int, retryAfter string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(code)
		fmt.Fprintf(w, "<html><title>%d</title></html>", code)
	}
}

// Answer answers with a status, a Content-Type and a body of choice.
func Answer(code int, contentType, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// Refuse answers with an error of RFC 6749 §5.2.
func Refuse(code int, oauth, description string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, code, oauthError{oauth, description})
	}
}

// Hang answers nothing until release is closed or the client leaves.
func Hang(release <-chan struct{}) Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		// Who has not read the body does not see the client leave.
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-release:
			Status(http.StatusServiceUnavailable, "")(w, r)
		case <-r.Context().Done():
		}
	}
}

// Echo answers with a status and everything that the request held, secrets
// included, in all the places where careless servers put it.
func Echo(code int) Fault {
	return func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		all := r.Header.Get("Authorization") + " " + string(sent)
		w.Header().Set("X-Debug", all)
		writeJSON(w, code, map[string]string{
			"error": "invalid_client", "error_description": all, "error_uri": "https://issuer.invalid/?" + string(sent), "debug": all,
		})
	}
}

// Redirect answers with a redirect.
func Redirect(code int, location string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(code)
	}
}
