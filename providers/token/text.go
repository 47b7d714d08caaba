package token

import (
	"fmt"
	"strings"
	"unicode"
)

// CheckName returns an ErrInvalid if name cannot be a profile's name. The names
// it allows are safe in a file name, a URL, a keyring account and a shell.
func CheckName(name string) error {
	const longest = 64
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if name != "" && len(name) <= longest && strings.Trim(name, letters+"._-") == "" && strings.Contains(letters, name[:1]) {
		return nil
	}
	return &Error{Code: ErrInvalid, Field: "name", Message: fmt.Sprintf(
		"%.*q is not a valid profile name: use up to %d letters, digits, '.', '_' and '-', and begin with a letter or digit", 2*longest, name, longest)}
}

// WithResource returns how grants, logs and rights name a resource of a profile:
// NAME/RESOURCE, or NAME without one.
func WithResource(profile, resource string) string {
	if resource == "" {
		return profile
	}
	return profile + "/" + resource
}

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

// Nearest returns the candidate that word most likely means, the one that is the
// fewest typing errors away, "" if all are more than a third of its letters
// away.
func Nearest(word string, candidates []string) string {
	best, distance := "", 1+max(1, len(word)/3)
	for _, c := range candidates {
		if d := typos(strings.ToLower(word), strings.ToLower(c)); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// typos counts the letters to add, drop, change or swap with their neighbours to
// turn a into b (the optimal string alignment distance).
func typos(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, row[j]+1, last[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
