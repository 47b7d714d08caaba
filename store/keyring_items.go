package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
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
// replaced, which is one step in every keyring; then the old slot is emptied. So
// the account names a whole value whenever this is interrupted. Parts are written
// in ascending and deleted in descending order: they are 1…n without a gap at any
// time, and the next Set or Delete finds what an interrupted one left behind.
const (
	mark       = "tokend:"
	markBase64 = mark + "base64:"
	markParts  = mark + "parts:"
)

// maxParts bounds what an index can make us read.
const maxParts = 2 * maxSecret / 1024

// items is the keyring during one call. It makes no further step once ctx, the
// call's context, has ended.
type items struct {
	*Keyring
	ctx context.Context
}

func (i items) get(account string) (string, error) {
	if err := i.ctx.Err(); err != nil {
		return "", err
	}
	return keyring.Get(i.service, account)
}

func (i items) set(account, text string) error {
	if err := i.ctx.Err(); err != nil {
		return err
	}
	return keyring.Set(i.service, account, text)
}

func (i items) delete(account string) error {
	if err := i.ctx.Err(); err != nil {
		return err
	}
	return keyring.Delete(i.service, account)
}

// value reads the secret of account, whole.
func (i items) value(account string) (token.Secret, error) {
	text, err := i.get(account)
	if err != nil {
		return token.Secret{}, err
	}
	if len(text) > 2*maxSecret {
		return token.Secret{}, fail(token.ErrKeystore, "secret-damaged", nil, "%s: the OS keyring gave %d bytes, which is not a secret of tokend", account, len(text))
	}
	if idx, ok := parseIndex(text); ok {
		if text, err = i.join(account, idx); err != nil {
			return token.Secret{}, err
		}
	}
	value, err := decodeText(text)
	if err != nil {
		return token.Secret{}, fail(token.ErrKeystore, "secret-damaged", err, "%s: %v", account, err)
	}
	return token.NewSecret(value), nil
}

// replace makes s the secret of account.
func (i items) replace(account string, s token.Secret) error {
	old, err := i.get(account)
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return err
	}
	text, idx := encodeText(s.Reveal()), index{}
	if i.limit > 0 && len(text) > i.limit {
		text = inBase64(s.Reveal()) // a cut through a letter would leave parts that are not text
		oldIdx, _ := parseIndex(old)
		if idx, err = i.setParts(account, otherSlot(oldIdx.slot), text); err != nil {
			return err
		}
		text = idx.String()
	}
	if err := i.set(account, text); err != nil {
		return err
	}
	// The new value counts now. The next Set finds old parts that stay behind.
	for _, slot := range []string{"a", "b"} {
		first := 1
		if slot == idx.slot {
			first += idx.parts
		}
		_ = i.removeParts(account, slot, first)
	}
	return nil
}

// setParts writes text to a slot.
func (i items) setParts(account, slot, text string) (index, error) {
	idx := index{slot: slot, sum: sum(text)}
	for rest := text; rest != ""; {
		n := min(i.limit, len(rest))
		idx.parts++
		if err := i.set(partName(account, slot, idx.parts), rest[:n]); err != nil {
			return idx, err
		}
		rest = rest[n:]
	}
	return idx, nil
}

// remove deletes account and its parts. The account goes first: without it no
// call reads the parts.
func (i items) remove(account string) error {
	if err := i.delete(account); err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return err
	}
	return errors.Join(i.removeParts(account, "a", 1), i.removeParts(account, "b", 1))
}

// removeParts deletes a slot's parts from number first on, the last one first.
func (i items) removeParts(account, slot string, first int) error {
	last := first - 1
	for last < maxParts {
		_, err := i.get(partName(account, slot, last+1))
		if errors.Is(err, keyring.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		last++
	}
	for ; last >= first; last-- {
		if err := i.delete(partName(account, slot, last)); err != nil && !errors.Is(err, keyring.ErrNotFound) {
			return err
		}
	}
	return nil
}

// join reads the parts that idx names.
func (i items) join(account string, idx index) (string, error) {
	var whole strings.Builder
	for n := 1; n <= idx.parts; n++ {
		part, err := i.get(partName(account, idx.slot, n))
		if errors.Is(err, keyring.ErrNotFound) {
			return "", fail(token.ErrKeystore, "secret-damaged", nil, "%s: part %d of %d is missing in the OS keyring", account, n, idx.parts)
		}
		if err != nil {
			return "", err
		}
		whole.WriteString(part)
	}
	if sum(whole.String()) != idx.sum {
		return "", fail(token.ErrKeystore, "secret-damaged", nil, "%s: its %d parts in the OS keyring do not belong together", account, idx.parts)
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

// parseIndex reads an index. It returns false if text is not one.
func parseIndex(text string) (index, bool) {
	rest, ok := strings.CutPrefix(text, markParts)
	if !ok {
		return index{}, false
	}
	var x index
	if _, err := fmt.Sscanf(strings.ReplaceAll(rest, ":", " "), "%s %d %s", &x.slot, &x.parts, &x.sum); err != nil {
		return index{}, false
	}
	ok = (x.slot == "a" || x.slot == "b") && x.parts > 0 && x.parts <= maxParts && x.String() == text
	return x, ok
}

func partName(account, slot string, n int) string {
	return fmt.Sprintf("%s (part %d%s)", account, n, slot)
}

func otherSlot(slot string) string {
	if slot == "a" {
		return "b"
	}
	return "a"
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
	if !ok {
		return "", errors.New("the OS keyring holds a form of secret that this version of tokend does not know")
	}
	value, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		return "", errors.New("the OS keyring holds a damaged secret")
	}
	return string(value), nil
}

// isText reports whether every keyring keeps s as it is.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t'
	})
}
