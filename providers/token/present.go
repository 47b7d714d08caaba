package token

import (
	"fmt"
	"strings"
)

// A Presentation says how a profile's token is shown to its hosts. It is text,
// as it stands in the profile's file:
//
//	""             the way that the asking tool prefers
//	bearer         Authorization: Bearer TOKEN (RFC 6750 §2.1)
//	basic:USER     Authorization: Basic, with the token as password (RFC 7617)
//	header:NAME    NAME: TOKEN
//	acr            exchanged at the Azure Container Registry that it is for
type Presentation string

// Bearer and ACR are the presentations without a parameter.
const (
	Bearer Presentation = "bearer"
	ACR    Presentation = "acr"
)

// User is the user name of a Basic presentation.
func (p Presentation) User() (name string, ok bool) {
	return strings.CutPrefix(string(p), "basic:")
}

// Header is the name of a header that holds nothing but the token.
func (p Presentation) Header() (name string, ok bool) {
	return strings.CutPrefix(string(p), "header:")
}

// Check tells what is wrong with p.
func (p Presentation) Check() error {
	if p == "" || p == Bearer || p == ACR {
		return nil
	}
	if user, ok := p.User(); ok {
		if user == "" || strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r > '~' || r == ':' }) {
			return fmt.Errorf("%q is no user name of Basic authentication (RFC 7617 §2)", user)
		}
		return nil
	}
	if name, ok := p.Header(); ok {
		if name == "" || strings.ContainsFunc(name, notHeaderName) || strings.EqualFold(name, "Authorization") {
			return fmt.Errorf("%q is no name of a header of its own", name)
		}
		return nil
	}
	return fmt.Errorf(`%q is none of "bearer", "basic:USER", "header:NAME" and "acr"`, string(p))
}

// notHeaderName tells of what is no tchar (RFC 9110 §5.6.2).
func notHeaderName(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
