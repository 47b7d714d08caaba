package providers

import (
	"encoding/base64"
	"html"
	"net/url"
	"strings"

	"tokend/providers/token"
)

const (
	// maxQuote is how many characters of an issuer's own words are shown, maxScan
	// how many are searched for secrets.
	maxQuote = 200
	maxScan  = 4096
	// shingle is how many characters of a secret in a row count as a part of it.
	shingle = 12
)

// A quoter makes text from an issuer safe to show: short, on one line, and
// without the secrets that were sent to it.
type quoter struct {
	whole    []string        // spellings too short for shingles
	shingles map[string]bool // all runs of that length in the others
}

func newQuoter(secrets []token.Secret) quoter {
	q := quoter{shingles: map[string]bool{}}
	for _, s := range secrets {
		for _, spelling := range spellings(s.Reveal()) {
			spelling = token.Printable(spelling, len(spelling))
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

// quote returns a short form of text that is safe to show.
func (q quoter) quote(text string) string { return token.Printable(q.redact(text), maxQuote) }

// redact is quote for what may be long.
func (q quoter) redact(text string) string {
	text = token.Printable(text[:min(len(text), maxScan)], maxScan)
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
