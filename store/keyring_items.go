package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zalando/go-keyring"

	"tokend/providers/token"
)

// This is how the OS keyring holds a secret:
//
// Plain text is kept as it is, so that people see what it is in the keyring's own
// tool. Everything else is "tokend:base64:" and the bytes in base64, because some
// keyrings take only text.
//
// A secret that is longer than one item is cut into parts, "account (part 1a)",
// "account (part 2a)", …; the account itself then holds an index,
// "tokend:parts:a:2:<SHA-256 of the whole>". There are two slots for parts, a and
// b. A new value goes to the slot that the index does not name; then the index is
// replaced, which is one step in every keyring. So the account names a whole value
// whenever this is interrupted. Parts are written in ascending and deleted in
// descending order: they are 1…n without a gap at any time, and Delete finds all
// that a Set left behind.
const (
	mark       = "tokend:"
	markBase64 = mark + "base64:"
	markParts  = mark + "parts:"
)

// maxParts bounds what an index can make us read.
const maxParts = 2 * maxSecret / 1024

// items is the keyring during one call. It writes nothing more once ctx, the call's
// context, has ended.
type items struct {
	*Keyring
	ctx context.Context
}

func (i items) get(account string) (string, error) { return i.ring.get(i.ctx, account) }

func (i items) set(account, text string) error {
	if err := i.ctx.Err(); err != nil {
		return err
	}
	return i.ring.set(i.ctx, account, text)
}

func (i items) delete(account string) error {
	if err := i.ring.remove(i.ctx, account); !errors.Is(err, keyring.ErrNotFound) {
		return err
	}
	return nil
}

// value reads the secret of account, whole.
func (i items) value(account string) (token.Secret, error) {
	text, err := i.get(account)
	if err != nil {
		return token.Secret{}, err
	}
	if len(text) > 2*maxSecret {
		return token.Secret{}, fail(token.ErrKeystore, "secret-damaged", nil, "%s: the OS keyring returned %d bytes, which is not a secret of tokend", account, len(text))
	}
	if idx, ok := parseIndex(text); ok {
		text, err = i.join(account, idx)
	}
	value, damage := decodeText(text)
	if err == nil && damage != nil {
		err = fail(token.ErrKeystore, "secret-damaged", damage, "%s: %v", account, damage)
	}
	if err != nil {
		return token.Secret{}, err
	}
	return token.NewSecret(value), nil
}

// replace makes s the secret of account.
func (i items) replace(account string, s token.Secret) error {
	text := encodeText(s.Reveal())
	if i.limit == 0 || len(text) <= i.limit {
		return i.set(account, text)
	}
	old, err := i.get(account)
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return err
	}
	text = inBase64(s.Reveal()) // a cut through a letter would leave parts that are not text
	idx := index{slot: "a", sum: sum(text)}
	if oldIdx, _ := parseIndex(old); oldIdx.slot == "a" {
		idx.slot = "b"
	}
	for part := range slices.Chunk([]byte(text), i.limit) {
		idx.parts++
		if err := i.set(partName(account, idx.slot, idx.parts), string(part)); err != nil {
			return err
		}
	}
	return i.set(account, idx.String())
}

// remove deletes account and its parts. The account goes first: without it no
// call reads the parts.
func (i items) remove(account string) error {
	if err := i.delete(account); err != nil {
		return err
	}
	return errors.Join(i.removeParts(account, "a", 1), i.removeParts(account, "b", 1))
}

// removeParts deletes a slot's parts from the nth on, the last one first.
func (i items) removeParts(account, slot string, n int) error {
	part := partName(account, slot, n)
	switch _, err := i.get(part); {
	case errors.Is(err, keyring.ErrNotFound), n > maxParts:
		return nil
	case err != nil:
		return err
	}
	if err := i.removeParts(account, slot, n+1); err != nil {
		return err
	}
	return i.delete(part)
}

// join reads the parts that idx names.
func (i items) join(account string, idx index) (string, error) {
	var whole strings.Builder
	for n := 1; n <= idx.parts; n++ {
		part, err := i.get(partName(account, idx.slot, n)) // one that is missing changes the sum
		if err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return "", err
		}
		whole.WriteString(part)
	}
	if sum(whole.String()) != idx.sum {
		return "", fail(token.ErrKeystore, "secret-damaged", nil, "%s: its %d parts in the OS keyring are not all there, or do not belong together", account, idx.parts)
	}
	return whole.String(), nil
}

// An index stands for a value that lies in parts.
type index struct {
	slot  string
	parts int
	sum   string
}

func (x index) String() string { return fmt.Sprintf("%s%s:%d:%s", markParts, x.slot, x.parts, x.sum) }

var indexForm = regexp.MustCompile("^" + markParts + "([ab]):([1-9][0-9]{0,5}):([0-9a-f]{64})$")

// parseIndex reads an index. It returns false if text is not one.
func parseIndex(text string) (index, bool) {
	m := indexForm.FindStringSubmatch(text)
	if m == nil {
		return index{}, false
	}
	parts, _ := strconv.Atoi(m[2])
	return index{m[1], parts, m[3]}, parts <= maxParts
}

func partName(account, slot string, n int) string {
	return fmt.Sprintf("%s (part %d%s)", account, n, slot)
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// encodeText turns a value of any bytes into text.
func encodeText(value string) string {
	if isText(value) && !strings.HasPrefix(value, mark) {
		return value
	}
	return inBase64(value)
}

func inBase64(value string) string {
	return markBase64 + base64.StdEncoding.EncodeToString([]byte(value))
}

// decodeText undoes encodeText.
func decodeText(text string) (string, error) {
	if !strings.HasPrefix(text, mark) {
		return text, nil
	}
	b64, ok := strings.CutPrefix(text, markBase64)
	value, err := base64.StdEncoding.DecodeString(b64)
	if !ok || err != nil {
		return "", errors.New("the OS keyring holds a damaged secret, or a form that this version of tokend does not know")
	}
	return string(value), nil
}

// isText reports whether every keyring keeps s as it is. KeePassXC replaces what is
// in braces.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '{' || unicode.IsControl(r) && r != '\n' && r != '\t'
	})
}
