package cache

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tokend/providers/token"
	"tokend/store/internal/seal"
)

// A recordBox turns records into entries of the file, and entries into records.
//
// An entry's key is "<HMAC of profile>/<HMAC of profile, scope, audience and
// fingerprint>", in hex, so that the file shows no names and a profile's
// entries stand together. Its value is the expiry in Unix seconds, 8 bytes,
// then nonce and ciphertext. Key and expiry are bound into the seal.
type recordBox struct {
	sealer cipher.AEAD
	names  []byte // key of the HMACs
}

func newRecordBox(key token.Secret) *recordBox {
	return &recordBox{seal.New(key, "cache v1"), seal.Derive(key, "cache names v1", seal.KeySize)}
}

// plainRecord encodes rec: its texts, each after its length, then its times in
// Unix seconds and nanoseconds, then the skew in nanoseconds. All numbers are
// varints. JSON would take five times as long to read, which counts when the
// daemon starts with a thousand tokens.
func plainRecord(rec token.Record) []byte {
	t := rec.Token
	var b []byte
	for _, text := range []string{rec.Profile, rec.Target.Scope, rec.Target.Audience, rec.Fingerprint, t.Secret.Reveal(), t.Type, t.Scope} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	for _, at := range []time.Time{t.Issued, t.Expiry, t.RenewAt} {
		b = binary.AppendVarint(b, at.Unix())
		b = binary.AppendVarint(b, int64(at.Nanosecond()))
	}
	return binary.AppendVarint(b, int64(t.Skew))
}

// parseRecord decodes what plainRecord encoded.
func parseRecord(plain []byte) (rec token.Record, err error) {
	f := fields{rest: plain}
	rec.Profile = f.text()
	rec.Target = token.Target{Scope: f.text(), Audience: f.text()}
	rec.Fingerprint = f.text()
	rec.Token = token.Token{
		Secret: token.NewSecret(f.text()), Type: f.text(), Scope: f.text(),
		Issued: f.time(), Expiry: f.time(), RenewAt: f.time(), Skew: time.Duration(f.number()),
	}
	if f.short || len(f.rest) > 0 {
		return token.Record{}, errRecord
	}
	return rec, nil
}

// fields is the rest of a record that is being read.
type fields struct {
	rest  []byte
	short bool // something was missing
}

func (f *fields) text() string {
	n, size := binary.Uvarint(f.rest)
	if size <= 0 || n > uint64(len(f.rest)-size) {
		f.rest, f.short = nil, true
		return ""
	}
	text := string(f.rest[size : size+int(n)])
	f.rest = f.rest[size+int(n):]
	return text
}

func (f *fields) number() int64 {
	n, size := binary.Varint(f.rest)
	if size <= 0 {
		f.rest, f.short = nil, true
		return 0
	}
	f.rest = f.rest[size:]
	return n
}

func (f *fields) time() time.Time { return time.Unix(f.number(), f.number()).UTC() }

// seal returns the entry of rec.
func (b *recordBox) seal(rec token.Record) (key, value []byte) {
	key = b.key(rec)
	value = binary.BigEndian.AppendUint64(nil, uint64(rec.Token.Expiry.Unix()))
	return key, b.sealer.Seal(value, nil, plainRecord(rec), recordAAD(key, value))
}

var errRecord = errors.New("not a record of this cache")

// open returns the record of an entry.
func (b *recordBox) open(key, value []byte) (token.Record, error) {
	if len(value) < expirySize {
		return token.Record{}, errRecord
	}
	plain, err := b.sealer.Open(nil, nil, value[expirySize:], recordAAD(key, value[:expirySize]))
	if err != nil {
		return token.Record{}, errRecord
	}
	return parseRecord(plain)
}

// each calls fn with each key of a bucket and the record there, or an error if it
// cannot be unsealed.
func (b *recordBox) each(bucket *bolt.Bucket, fn func(key []byte, rec token.Record, err error)) error {
	return bucket.ForEach(func(k, v []byte) error {
		rec, err := b.open(k, bytes.Clone(v)) // a copy: the file may change while we look
		fn(bytes.Clone(k), rec, err)
		return nil
	})
}

// replace removes entries from a bucket, and puts records into it.
func (b *recordBox) replace(bucket *bolt.Bucket, drop [][]byte, save []token.Record) error {
	for _, k := range drop {
		if err := bucket.Delete(k); err != nil {
			return err
		}
	}
	for _, rec := range save {
		k, v := b.seal(rec)
		if err := bucket.Put(k, v); err != nil {
			return err
		}
	}
	return nil
}

// key returns the entry key of rec.
func (b *recordBox) key(rec token.Record) []byte {
	return slices.Concat(b.hmac(rec.Profile), []byte("/"), b.hmac(rec.Profile, rec.Target.Scope, rec.Target.Audience, rec.Fingerprint))
}

// hmac returns HMAC-SHA256 in hex over names, each after its length so that no
// two lists of names look the same.
func (b *recordBox) hmac(names ...string) []byte {
	h := hmac.New(sha256.New, b.names)
	for _, n := range names {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(n))))
		h.Write([]byte(n))
	}
	return hex.AppendEncode(nil, h.Sum(nil))
}

func recordAAD(key, expiry []byte) []byte {
	return slices.Concat([]byte("tokend-cache\x00v1\x00"), key, expiry)
}

// expirySize is how many bytes of a value are in plain text.
const expirySize = 8
