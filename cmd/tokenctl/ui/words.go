package ui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tokend/cmd/tokenctl/cli"
	"tokend/providers/token/format"
)

// Typed is something to type, which Wrap does not break.
func Typed(parts ...string) string {
	line := strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
	return strings.ReplaceAll(line, " ", cli.NoBreak)
}

// Plainly is a hint with ordinary spaces.
func Plainly(hint string) string { return strings.ReplaceAll(hint, cli.NoBreak, " ") }

// Word is a profile's name as it is typed in a shell.
func Word(name string) string {
	if name == "" {
		return "NAME"
	}
	if strings.ContainsFunc(name, func(r rune) bool {
		return r >= utf8.RuneSelf || !strings.ContainsRune("._-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return format.ShellQuote(name)
	}
	return name
}

// Duration is a length of time to the nearest of the unit that people would
// use.
func Duration(d time.Duration) string {
	seconds, minutes, hours := d/time.Second, nearest(d, time.Minute), nearest(d, time.Hour)
	switch {
	case seconds < 120 && seconds != 60:
		return strconv.Itoa(int(seconds)) + " s"
	case minutes < 120 && minutes != 60:
		return strconv.Itoa(int(minutes)) + " min"
	case hours < 48:
		return strconv.Itoa(int(hours)) + " h"
	}
	return strconv.Itoa(int(nearest(d, 24*time.Hour))) + " days"
}

func nearest(d, unit time.Duration) time.Duration { return (d + unit/2) / unit }

// When is a moment as seen from now: "in 42 min".
func When(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d >= time.Second:
		return "in " + Duration(d)
	case d <= -time.Second:
		return Duration(-d) + " ago"
	}
	return "now"
}

// WhenOrDash is When, or a dash for no time at all.
func WhenOrDash(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return When(t, now)
}

// Took is how long something lasted.
func Took(d time.Duration) string {
	if d < time.Second {
		return strconv.Itoa(int(d/time.Millisecond)) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// Day is a date.
func Day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Printable makes text fit for a terminal: one line, and nothing in it that a
// terminal obeys (control characters, escape sequences) or that makes it show
// another order than there is (bidirectional overrides).
func Printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// Wrap breaks printable text between words, and indents each line.
func Wrap(text, indent string) string { return cli.Wrap(text, indent) }

// Cut shortens text to n characters.
func Cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-3]) + "..."
}
