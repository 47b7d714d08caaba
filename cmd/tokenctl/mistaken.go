package main

import (
	"bytes"
	"encoding/json"
	"slices"

	"tokend/providers/token"
)

// pemBegin begins every PEM block (RFC 7468 §2).
const pemBegin = "-----BEGIN"

// mistaken tells of a file that is not what its input takes, and of the input
// for it if the provider has that; "" if nothing is known to be wrong.
func mistaken(p token.Provider, in secretInput, content []byte) string {
	is, other := "", ""
	switch {
	case in.field != "service_key" && isServiceKey(content):
		is, other = "that file is a service key (JSON)", "service_key"
	case in.field != "pfx" && isPFX(content):
		is, other = "that is a PFX file", "pfx"
	case in.field == "pfx" && bytes.Contains(content, []byte(pemBegin)):
		is, other = "that is a PEM file", "certificate"
	}
	switch {
	case is == "" || in.asked:
		return is
	case other == "service_key" && !takes(p, other):
		return is + "; " + p.Name + " takes the private key alone, as a file of its own"
	case !takes(p, other):
		return is
	}
	return is + ": use " + flagFor(other) + " FILE"
}

// takes tells whether a field is one of the provider's.
func takes(p token.Provider, field string) bool {
	return slices.ContainsFunc(p.Fields, func(f token.Field) bool { return f.Name == field })
}

// isServiceKey tells of the JSON that a console has for download: the key
// together with whose it is.
func isServiceKey(content []byte) bool {
	var key struct {
		ClientID   *string `json:"client_id"`
		PrivateKey *string `json:"private_key"`
	}
	return json.Unmarshal(content, &key) == nil && key.ClientID != nil && key.PrivateKey != nil
}

// isPFX tells of a PFX: a SEQUENCE that begins with the version, 3 (RFC 7292
// §4). Certificates and keys are SEQUENCEs that begin otherwise.
func isPFX(content []byte) bool {
	if len(content) < 2 || content[0] != 0x30 {
		return false
	}
	header := 2
	if length := content[1]; length > 0x80 { // the length is in more bytes
		header += int(length & 0x7f)
	}
	return len(content) > header && bytes.HasPrefix(content[header:], []byte{0x02, 0x01, 0x03})
}
