package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"tokend/ipc"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

func formatNamed(name string) (format.Format, error) {
	if f := format.Named(name); f != nil {
		return f, nil
	}
	return nil, usage("there is no format %q; the formats are %s", name, strings.Join(format.Names[:], ", "))
}

func unfit(text string, args ...any) error {
	return &token.Error{Code: token.ErrInternal, Message: fmt.Sprintf(text, args...), Cause: format.ErrUnfit}
}

// indented is v as JSON for --json.
func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return plainJSON(b.Bytes()), err
}

// plainJSON escapes the characters that JSON allows in strings and a terminal
// obeys: C1 controls, bidirectional overrides.
func plainJSON(b []byte) []byte {
	if !bytes.ContainsFunc(b, unseen) {
		return b
	}
	var out []byte
	for _, r := range string(b) {
		switch {
		case !unseen(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// unseen tells of characters that a terminal may obey in place of showing
// them. Line ends are JSON's own: within strings they are escaped already.
func unseen(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// A signFormat writes a signed request's headers.
type signFormat func(token.Signed) ([]byte, error)

// signFormats are what sign -o takes, the default first.
var signFormats = [...]string{"lines", "json", "curl"}

func signFormatNamed(name string) (signFormat, error) {
	switch name {
	case "lines":
		return formatLines, nil
	case "json":
		return formatSigned, nil
	case "curl":
		return formatSignedCurl, nil
	}
	return nil, usage("there is no format %q; the formats are %s", name, strings.Join(signFormats[:], ", "))
}

// formatLines is a line for each header. The client has made sure that each is
// one line of visible ASCII.
func formatLines(s token.Signed) ([]byte, error) {
	var b bytes.Buffer
	for _, h := range s.Headers {
		b.WriteString(h.Name + ": " + h.Value.Reveal() + "\n")
	}
	return b.Bytes(), nil
}

// formatSigned is the answer of POST /v1/sign/NAME.
func formatSigned(s token.Signed) ([]byte, error) {
	b, err := ipc.EncodeSigned(s)
	return append(plainJSON(b), '\n'), err
}

// formatSignedCurl is a file for curl -K. It has curl send the URL as it is,
// for no other one is signed: no globbing, no squashing of dot segments.
func formatSignedCurl(s token.Signed) ([]byte, error) {
	if strings.ContainsFunc(s.URL, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, unfit("the URL holds characters that do not belong in one; only -o json can write it")
	}
	var b bytes.Buffer
	b.WriteString("globoff\npath-as-is\nurl = " + format.CurlQuote(s.URL) + "\n")
	for _, h := range s.Headers {
		b.WriteString("header = " + format.CurlQuote(h.Name+": "+h.Value.Reveal()) + "\n")
	}
	return b.Bytes(), nil
}
