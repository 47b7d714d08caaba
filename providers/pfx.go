package providers

import (
	"encoding/asn1"
	"math/big"
)

// maxRounds bounds how often a PFX file may want its password hashed: each
// million takes a good part of a second. OpenSSL and Windows write 2,000.
const maxRounds = 5_000_000

// manyRounds tells whether a PFX file (RFC 7292) wants more than maxRounds, of
// any of its parts: the library would go on for as long as the file says.
func manyRounds(der []byte) bool { return wantsRounds(der, 0) }

// wantsRounds looks through the elements of der, and into them. A number of
// rounds stands behind a salt, an OCTET STRING, wherever there is one (RFC 7292
// §4, appendix C; RFC 8018 appendix A.2).
func wantsRounds(der []byte, depth int) bool {
	const deepest = 32
	salt := false
	for len(der) > 0 && depth < deepest {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return false
		}
		der = rest
		universal := v.Class == asn1.ClassUniversal
		switch {
		case salt && universal && v.Tag == asn1.TagInteger:
			if new(big.Int).SetBytes(v.Bytes).Cmp(big.NewInt(maxRounds)) > 0 {
				return true
			}
		case v.IsCompound || universal && v.Tag == asn1.TagOctetString: // which may hold more of its like
			if wantsRounds(v.Bytes, depth+1) {
				return true
			}
		}
		salt = universal && v.Tag == asn1.TagOctetString
	}
	return false
}
