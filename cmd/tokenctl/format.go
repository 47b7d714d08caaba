package main

import (
	"fmt"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/cmd/tokenctl/ui"
	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

func formatNamed(name string) (format.Format, error) {
	if f := format.Named(name); f != nil {
		return f, nil
	}
	return nil, noFormat(name, format.Names[:])
}

func noFormat(name string, names []string) error {
	return cli.Usage("there is no format %q; the formats are %s", name, strings.Join(names, ", "))
}

// A signFormat writes a signed request's headers.
type signFormat func(token.Signed) (string, error)

// signFormats are what sign -o takes, the default first.
var signFormats = [...]string{"lines", "json", "curl"}

func signFormatNamed(name string) (signFormat, error) {
	switch name {
	case "lines":
		return signedLines, nil
	case "json":
		return signedJSON, nil
	case "curl":
		return signedCurl, nil
	}
	return nil, noFormat(name, signFormats[:])
}

// signedLines is a line for each header. The client has made sure that each is
// one line of visible ASCII.
func signedLines(s token.Signed) (string, error) {
	var b strings.Builder
	for _, h := range s.Headers {
		b.WriteString(h.Name + ": " + h.Value.Reveal() + "\n")
	}
	return b.String(), nil
}

// signedJSON is the answer of POST /v1/sign/NAME.
func signedJSON(s token.Signed) (string, error) {
	b, err := ipc.EncodeSigned(s)
	return ui.PlainJSON(string(b)) + "\n", err
}

// signedCurl is a file for curl -K. It has curl send the URL as it is, because
// no other one is signed: no globbing, no squashing of dot segments.
func signedCurl(s token.Signed) (string, error) {
	if strings.ContainsFunc(s.URL, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &token.Error{Code: token.ErrInternal, Cause: format.ErrUnfit,
			Message: "the URL holds characters that do not belong in one; only -o json can write it"}
	}
	var b strings.Builder
	b.WriteString("globoff\npath-as-is\nurl = " + format.CurlQuote(s.URL) + "\n")
	for _, h := range s.Headers {
		fmt.Fprintf(&b, "header = %s\n", format.CurlQuote(h.Name+": "+h.Value.Reveal()))
	}
	return b.String(), nil
}
