package providers

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"tokend/providers/token"
)

func TestQuotesHoldNoSecretInAnySpelling(t *testing.T) {
	long := "Zx8Q~p+q/r%s&t=u v<w>öß-0123456789"
	q := newQuoter([]token.Secret{secret(long), secret("short"), secret("")})
	for name, text := range map[string]string{
		"plain":          "secret " + long + " is wrong",
		"form":           "client_secret=" + url.QueryEscape(long),
		"lower case hex": strings.ToLower(url.QueryEscape(long)),
		"path":           url.PathEscape(long),
		"base64":         base64.StdEncoding.EncodeToString([]byte(long)),
		"base64url":      base64.RawURLEncoding.EncodeToString([]byte(long)),
		"HTML":           "Zx8Q~p+q/r%s&amp;t=u v&lt;w&gt;öß-0123456789",
		"wrapped":        long[:18] + "\n" + long[18:],
		"control chars":  long[:18] + "\x1b\u202e" + long[18:],
		"first half":     "secret begins with " + long[:18],
		"twice":          long + " " + long,
		"short":          "is short",
	} {
		got := q.quote(text)
		if !strings.Contains(got, "[redacted]") {
			t.Errorf("%s: %q", name, got)
		}
		for i := range len(long) - 8 {
			if part := long[i : i+8]; strings.Contains(got, part) {
				t.Errorf("%s: %q holds %q", name, got, part)
			}
		}
	}
}

func TestQuotesAreShortAndPrintable(t *testing.T) {
	q := newQuoter(nil)
	for text, want := range map[string]string{
		"Signature verification failed":       "Signature verification failed",
		"a\r\nb\tc\x00d\x1b[31me":             "a b cd[31me",
		"right\u202eto\u2066left\u200b\ufeff": "righttoleft",
		"line\u2028para\u2029end":             "line para end",
		"\xff\xfe":                            "??",
		"Grüße, 世界":                           "Grüße, 世界",
		"":                                    "",
	} {
		if got := q.quote(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := q.quote(strings.Repeat("ü", 10000)); utf8.RuneCountInString(got) != maxQuote || !strings.HasSuffix(got, "…") {
		t.Errorf("%d characters: %q", utf8.RuneCountInString(got), got)
	}
}
