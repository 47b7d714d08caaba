package providers

import (
	"encoding/base64"
	"html"
	"net/url"
	"strings"
	"unicode"

	"tokend/providers/token"
)

const (
	// maxQuote is how many characters of an issuer's own words are shown.
	maxQuote = 200
	// maxScan is how many are looked at, enough to find where secrets stand.
	maxScan = 4096
	// shingle is how many characters in a row must be those of a secret to
	// count as a part of it.
	shingle = 12
)

// A quoter makes text from an issuer fit for messages: without the secrets
// that were sent to it, control characters and bidirectional overrides, and
// not long.
type quoter struct {
	whole    []string        // spellings too short for shingles
	shingles map[string]bool // all runs of that length in the others
}

func newQuoter(secrets []token.Secret) quoter {
	q := quoter{shingles: map[string]bool{}}
	for _, s := range secrets {
		for _, spelling := range spellings(s.Reveal()) {
			spelling = printable(spelling)
			if len(spelling) < shingle {
				q.whole = append(q.whole, spelling)
			}
			for i := range len(spelling) - shingle + 1 {
				q.shingles[spelling[i:i+shingle]] = true
			}
		}
	}
	return q
}

// spellings are the forms in which a server may send a secret back: as it is,
// as it was encoded in the form or header, or as its own encoder writes it.
func spellings(s string) []string {
	if s == "" {
		return nil
	}
	query := url.QueryEscape(s)
	return []string{
		s, query, url.PathEscape(s), strings.ToLower(query), html.EscapeString(s),
		base64.RawStdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
	}
}

// quote gives the fit form of text.
func (q quoter) quote(text string) string { return cut(q.redact(text), maxQuote) }

// redact is quote for what may be long.
func (q quoter) redact(text string) string {
	text = printable(text[:min(len(text), maxScan)])
	hide := make([]bool, len(text))
	for i := range len(text) - shingle + 1 {
		if q.shingles[text[i:i+shingle]] {
			mark(hide, i, shingle)
		}
	}
	for _, s := range q.whole {
		for i := range len(text) {
			if s != "" && strings.HasPrefix(text[i:], s) {
				mark(hide, i, len(s))
			}
		}
	}
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !hide[i]:
			b.WriteByte(text[i])
		case i == 0 || !hide[i-1]:
			b.WriteString("[redacted]")
		}
	}
	return b.String()
}

func mark(hide []bool, at, n int) {
	for i := range n {
		hide[at+i] = true
	}
}

// printable leaves only what prints, spaces for what separates lines or words,
// and no two in a row.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar:
			return '?'
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	runes := []rune(strings.ToValidUTF8(text, ""))
	if len(runes) <= n {
		return string(runes)
	}
	return string(runes[:n-1]) + "…"
}
