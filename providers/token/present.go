package token

import (
	"fmt"
	"strings"
)

// A Presentation says how to present a profile's token to its hosts. It is text,
// as in the profile's file:
//
//	""             the way that the calling tool prefers
//	bearer         Authorization: Bearer TOKEN (RFC 6750 §2.1)
//	basic:USER     Authorization: Basic, with the token as password (RFC 7617)
//	header:NAME    NAME: TOKEN
//	acr            exchanged at its Azure Container Registry
type Presentation string

// Bearer and ACR are the presentations without a parameter.
const (
	Bearer Presentation = "bearer"
	ACR    Presentation = "acr"
)

// User returns the user name of a Basic presentation.
func (p Presentation) User() (name string, ok bool) {
	return strings.CutPrefix(string(p), "basic:")
}

// Header returns the name of a header whose value is the token alone.
func (p Presentation) Header() (name string, ok bool) {
	return strings.CutPrefix(string(p), "header:")
}

// Check returns an error that says what is wrong with p.
func (p Presentation) Check() error {
	const tchar = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~" // RFC 9110 §5.6.2
	user, basic := p.User()
	name, header := p.Header()
	switch {
	case basic && (user == "" || strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r > '~' || r == ':' })):
		return fmt.Errorf("%q is not a user name for Basic authentication (RFC 7617 §2)", user)
	case header && (name == "" || strings.Trim(name, tchar) != "" || strings.EqualFold(name, "Authorization")):
		return fmt.Errorf("%q is not the name of a header of its own", name)
	case basic, header, p == "", p == Bearer, p == ACR:
		return nil
	}
	return fmt.Errorf(`%q is not one of "bearer", "basic:USER", "header:NAME" and "acr"`, string(p))
}
