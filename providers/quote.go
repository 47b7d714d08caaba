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
	hidden   = "[redacted]"
	// shingle is how many characters of a secret in a row count as a part of it.
	shingle = 12
)

// A quoter makes text from an issuer safe to show: short, on one line, and
// without the secrets that were sent to it.
type quoter struct {
	// parts are the spellings of the secrets in pieces of shingle characters, short
	// ones whole; lengths are how long parts are.
	parts   map[string]bool
	lengths map[int]bool
}

func newQuoter(secrets []token.Secret) quoter {
	q := quoter{map[string]bool{}, map[int]bool{}}
	for _, s := range secrets {
		for _, spelling := range spellings(s.Reveal()) {
			spelling = token.Printable(spelling, len(spelling))
			n := min(shingle, len(spelling))
			q.lengths[n] = true
			for i := range len(spelling) - n + 1 {
				q.parts[spelling[i:i+n]] = true
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
	var b strings.Builder
	for i := 0; i < len(text); {
		if n := q.secretIn(text[i:]); n > 0 {
			b.WriteString(hidden)
			i += n
			continue
		}
		b.WriteByte(text[i])
		i++
	}
	return b.String()
}

// secretIn returns how many bytes of a secret text begins with.
func (q quoter) secretIn(text string) (end int) {
	for at := 0; at <= end; at++ {
		for n := range q.lengths {
			if at+n <= len(text) && q.parts[text[at:at+n]] {
				end = max(end, at+n)
			}
		}
	}
	return end
}
