package token

import (
	"strings"
	"unicode"
)

// Printable makes one line of a stranger's text that is safe to show: without
// control characters and bidirectional overrides, no two spaces in a row, and
// at most limit characters.
func Printable(text string, limit int) string {
	const widest = 16 // bytes that a character shown may take, with what is left out around it
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
	}, text[:min(len(text), widest*limit)])
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) <= limit {
		return string(runes)
	}
	return string(runes[:limit-1]) + "…"
}
