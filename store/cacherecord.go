package store

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"tokend/providers/token"
)

// A recordBox makes entries of the cache file of records, and back.
//
// An entry's key is "<HMAC of profile>/<HMAC of profile, scope, audience and
// fingerprint>", in hex, so that the file shows no names and a profile's
// entries stand together. Its value is the expiry in Unix seconds, 8 bytes,
// then nonce and ciphertext. Key and expiry are bound into the seal.
type recordBox struct {
	sealer cipher.AEAD
	names  []byte // key of the HMACs
}

func newRecordBox(key token.Secret) (*recordBox, error) {
	sealer, err := newSealer(key, "cache v1")
	if err != nil {
		return nil, err
	}
	names, err := derive(key, "cache names v1", keySize)
	if err != nil {
		return nil, err
	}
	return &recordBox{sealer, names}, nil
}

// sealedRecord is what is sealed. Secret is bytes, for JSON text would not
// keep every one.
type sealedRecord struct {
	Profile     string        `json:"profile"`
	Scope       string        `json:"scope,omitempty"`
	Audience    string        `json:"audience,omitempty"`
	Fingerprint string        `json:"fingerprint"`
	Secret      []byte        `json:"secret"`
	Type        string        `json:"type,omitempty"`
	Granted     string        `json:"granted,omitempty"`
	Issued      time.Time     `json:"issued"`
	Expiry      time.Time     `json:"expiry"`
	RenewAt     time.Time     `json:"renew_at"`
	Skew        time.Duration `json:"skew_ns,omitempty"`
}

// seal gives the entry of rec.
func (b *recordBox) seal(rec token.Record) (key, value []byte, err error) {
	t := rec.Token
	plain, err := json.Marshal(sealedRecord{
		Profile:     rec.Profile,
		Scope:       rec.Target.Scope,
		Audience:    rec.Target.Audience,
		Fingerprint: rec.Fingerprint,
		Secret:      []byte(t.Secret.Reveal()),
		Type:        t.Type,
		Granted:     t.Scope,
		Issued:      t.Issued,
		Expiry:      t.Expiry,
		RenewAt:     t.RenewAt,
		Skew:        t.Skew,
	})
	if err != nil {
		return nil, nil, err
	}
	key = b.key(rec)
	value = binary.BigEndian.AppendUint64(nil, uint64(t.Expiry.Unix()))
	return key, b.sealer.Seal(value, nil, plain, recordAAD(key, value)), nil
}

var errRecord = errors.New("not a record of this cache")

// open gives the record of an entry.
func (b *recordBox) open(key, value []byte) (token.Record, error) {
	if len(value) < expirySize {
		return token.Record{}, errRecord
	}
	plain, err := b.sealer.Open(nil, nil, value[expirySize:], recordAAD(key, value[:expirySize]))
	if err != nil {
		return token.Record{}, errRecord
	}
	var s sealedRecord
	if err := json.Unmarshal(plain, &s); err != nil {
		return token.Record{}, errRecord
	}
	return token.Record{
		Profile:     s.Profile,
		Target:      token.Target{Scope: s.Scope, Audience: s.Audience},
		Fingerprint: s.Fingerprint,
		Token: token.Token{
			Secret:  token.NewSecret(string(s.Secret)),
			Type:    s.Type,
			Scope:   s.Granted,
			Issued:  s.Issued,
			Expiry:  s.Expiry,
			RenewAt: s.RenewAt,
			Skew:    s.Skew,
		},
	}, nil
}

// key is the entry key of rec.
func (b *recordBox) key(rec token.Record) []byte {
	return append(b.prefix(rec.Profile), b.hmac(rec.Profile, rec.Target.Scope, rec.Target.Audience, rec.Fingerprint)...)
}

// prefix is how the entry keys of a profile begin.
func (b *recordBox) prefix(profile string) []byte {
	return append(b.hmac(profile), '/')
}

// hmac is HMAC-SHA256 in hex, over names with their lengths in front so that
// no two lists of names look the same.
func (b *recordBox) hmac(names ...string) []byte {
	h := hmac.New(sha256.New, b.names)
	for _, n := range names {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(n))))
		h.Write([]byte(n))
	}
	return hex.AppendEncode(nil, h.Sum(nil))
}

func recordAAD(key, expiry []byte) []byte {
	aad := append([]byte("tokend-cache\x00v1\x00"), key...)
	return append(aad, expiry...)
}

// expirySize is how many bytes of a value are in plain text.
const expirySize = 8

// expiryOf reads the plain part of a value.
func expiryOf(value []byte) (time.Time, bool) {
	if len(value) < expirySize {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(value)), 0), true
}
