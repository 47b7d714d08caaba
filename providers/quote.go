package providers

import (
	"encoding/base64"
	"html"
	"net/url"
	"slices"
	"strings"

	"tokend/providers/token"
)

const (
	// maxQuote is how many characters of an issuer's own words are shown, maxScan
	// how many are searched for secrets.
	maxQuote = 200
	maxScan  = 4096
	hidden   = "[redacted]"
	// shingle is how many characters of a secret in a row count as a part of it.
	shingle = 12
)

// A quoter makes text from an issuer safe to show: short, on one line, and
// without the secrets that were sent to it. It is the spellings of the secrets in
// overlapping pieces.
type quoter []string

func newQuoter(secrets []token.Secret) (q quoter) {
	for _, s := range secrets {
		for _, spelling := range spellings(s.Reveal()) {
			spelling = token.Printable(spelling, len(spelling))
			n := min(shingle, len(spelling))
			for i := range len(spelling) - n + 1 {
				q = append(q, spelling[i:i+n])
			}
		}
	}
	return q
}

// spellings are the forms in which a server may send a secret back: as it is,
// as it was encoded in the form or header, or as its own encoder writes it.
func spellings(s string) []string {
	query := url.QueryEscape(s)
	return []string{
		s, query, url.PathEscape(s), strings.ToLower(query), html.EscapeString(s),
		base64.RawStdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
	}
}

// quote returns a short form of text that is safe to show.
func (q quoter) quote(text string) string { return token.Printable(q.redact(text), maxQuote) }

// redact is quote for what may be long. Text with a part of a secret in it is
// not shown at all.
func (q quoter) redact(text string) string {
	text = token.Printable(text[:min(len(text), maxScan)], maxScan)
	if slices.ContainsFunc(q, func(part string) bool { return part != "" && strings.Contains(text, part) }) {
		return hidden
	}
	return text
}
