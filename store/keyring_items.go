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

// How a secret lies in the OS keyring:
//
// Plain text lies there as it is, so that a person who opens the keyring's own
// tool sees what it is. Everything else is "tokend:base64:" and the bytes in
// base64, for some keyrings take text alone.
//
// What is longer than one item can hold is cut into parts, which lie beside it
// as "account (part 1a)", "account (part 2a)", …; the account itself then
// holds an index, "tokend:parts:a:2:<SHA-256 of the whole>". There are two
// slots for parts, a and b. A new value goes to the slot that the index does
// not name, then the index is replaced, which is one step in every keyring,
// then the old slot is emptied. So whatever interrupts this, the account names
// a whole value. A slot's parts are written in ascending and deleted in
// descending order: they are 1…n without a gap at any time, and the next Set
// or Delete finds what an interrupted one left behind.
const (
	mark       = "tokend:"
	markBase64 = mark + "base64:"
	markParts  = mark + "parts:"
)

// maxParts bounds what an index can make us read.
const maxParts = 2 * maxSecret / 1024

// items is the keyring during one call. ctx is that call's: once its caller is
// gone no further step is made.
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
		return token.Secret{}, about("secret-damaged", fail(token.ErrKeystore, nil, "%s: the OS keyring gave %d bytes, which is no secret of tokend", account, len(text)))
	}
	if idx, ok := parseIndex(text); ok {
		if text, err = i.join(account, idx); err != nil {
			return token.Secret{}, err
		}
	}
	value, err := decodeText(text)
	if err != nil {
		return token.Secret{}, about("secret-damaged", fail(token.ErrKeystore, err, "%s: %v", account, err))
	}
	return token.NewSecret(value), nil
}

// replace makes s the secret of account.
func (i items) replace(account string, s token.Secret) error {
	old, err := i.get(account)
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return err
	}
	text := encodeText(s.Reveal())
	if i.limit == 0 || len(text) <= i.limit {
		if err := i.set(account, text); err != nil {
			return err
		}
		// The new value is in force: a part of the old one that stays behind
		// is found next time, and no reason to say that Set failed.
		_ = i.removeParts(account, "a", 1)
		_ = i.removeParts(account, "b", 1)
		return nil
	}

	text = inBase64(s.Reveal()) // a cut through a letter would leave parts that are no text
	oldIdx, _ := parseIndex(old)
	idx := index{slot: otherSlot(oldIdx.slot), sum: sum(text)}
	for rest := text; rest != ""; {
		n := min(i.limit, len(rest))
		idx.parts++
		if err := i.set(partName(account, idx.slot, idx.parts), rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if err := i.set(account, idx.String()); err != nil {
		return err
	}
	_ = i.removeParts(account, otherSlot(idx.slot), 1)
	_ = i.removeParts(account, idx.slot, idx.parts+1)
	return nil
}

// remove deletes account and its parts. The account goes first: without it
// the parts are no secret that anybody would read.
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
			return "", about("secret-damaged", fail(token.ErrKeystore, nil, "%s: part %d of %d is missing in the OS keyring", account, n, idx.parts))
		}
		if err != nil {
			return "", err
		}
		whole.WriteString(part)
	}
	if sum(whole.String()) != idx.sum {
		return "", about("secret-damaged", fail(token.ErrKeystore, nil, "%s: its %d parts in the OS keyring do not belong together", account, idx.parts))
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

// parseIndex reads an index; false means that text is none.
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

// encodeText makes text of a value that may have any bytes.
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

// isText tells whether every keyring keeps s as it is.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t'
	})
}
