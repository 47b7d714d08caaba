package input

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

// wide encodes text as UTF-16.
func wide(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func TestTextInEveryEncoding(t *testing.T) {
	const ascii, other = "secret ~1\r\n", "gehört £ € 😀\n"
	for name, c := range map[string][2]string{
		"UTF-8": {other, other}, "with a mark": {"\xef\xbb\xbf" + other, other}, "empty": {"", ""}, "a mark alone": {"\xff\xfe", ""},
		"UTF-16LE with a mark": {"\xff\xfe" + wide(binary.LittleEndian, other), other}, "UTF-16BE with a mark": {"\xfe\xff" + wide(binary.BigEndian, other), other},
		"UTF-16LE": {wide(binary.LittleEndian, ascii), ascii}, "UTF-16BE": {wide(binary.BigEndian, ascii), ascii},
		"Latin-1": {"geh\xf6rt", "geh\xf6rt"}, "DER": {"\x30\x82\x04\x00\x02\x01\x00", "\x30\x82\x04\x00\x02\x01\x00"},
		"zeros": {"\x00\x00\x00\x00", "\x00\x00\x00\x00"}, "a zero at the end": {"secret\x00", "secret\x00"},
	} {
		if got := Text(c[0]); got != c[1] {
			t.Errorf("%s: %q, want %q", name, got, c[1])
		}
	}
}

func TestPEMIsPutStraight(t *testing.T) {
	body := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a key of some length, ", 9)))
	const head, foot = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
	pem := head + "\n"
	for i := 0; i < len(body); i += 64 {
		pem += body[i:min(i+64, len(body))] + "\n"
	}
	pem += foot + "\n"
	for name, text := range map[string]string{
		"as it should be": pem, "CRLF": strings.ReplaceAll(pem, "\n", "\r\n"), "CR": strings.ReplaceAll(pem, "\n", "\r"),
		`literal \n`: strings.ReplaceAll(pem, "\n", `\n`), `literal \r\n`: strings.ReplaceAll(pem, "\n", `\r\n`), `literal \\n`: strings.ReplaceAll(pem, "\n", `\\n`),
		"in quotes": `"` + strings.ReplaceAll(pem, "\n", `\n`) + `"`, "blanks": strings.ReplaceAll(pem, "\n", " "), "one line": head + body + foot,
		"indented": "key: |\n    " + strings.ReplaceAll(pem, "\n", "\n    "), "blank lines": strings.ReplaceAll(pem, "\n", "\n\n"), "text around": "Bag Attributes\n" + pem + "end",
		"a mark": "\xef\xbb\xbf" + pem, "UTF-16": "\xff\xfe" + wide(binary.LittleEndian, pem), "UTF-16 without a mark": wide(binary.BigEndian, pem),
		"base64": base64.StdEncoding.EncodeToString([]byte(pem)), "base64 in lines": strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(pem)), "L", "L\r\n"),
		"base64 without =": base64.RawStdEncoding.EncodeToString([]byte(pem)), "base64 of UTF-16": base64.StdEncoding.EncodeToString([]byte("\xff\xfe" + wide(binary.LittleEndian, pem))),
	} {
		if got := Key(text); got != pem {
			t.Errorf("%s: %q", name, got)
		}
		if got := Key(text + text); strings.Contains(text, head) && got != pem+pem {
			t.Errorf("%s, twice: %q", name, got)
		}
	}
	const der = "\x30\x82\x00\x01\xff"
	for _, same := range []string{der, "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n", "my key!", ""} {
		if got := Key(same); got != same {
			t.Errorf("%q became %q", same, got)
		}
	}
	if got := Key(base64.StdEncoding.EncodeToString([]byte(der)) + "\n"); got != der {
		t.Errorf("%q", got)
	}
}

func TestFilesAreNamedForWhatTheyAre(t *testing.T) {
	for content, want := range map[string]string{
		"": "empty", " \r\n": "empty", "\xff\xfe": "empty", "\x89PNG\r\n\x1a\n": "a picture (PNG)", "\xff\xd8\xff\xe0": "a picture (JPEG)", "%PDF-1.7": "a PDF document",
		"PK\x03\x04\x14": "a ZIP archive", "<!DOCTYPE html>": "a web page", "\xef\xbb\xbf<html>": "a web page", "\x1f\x8b\x08": "gunzip",
		"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n": "an OpenSSH key; convert a copy of it: ssh-keygen", "ssh-ed25519 AAAA me@host": "an OpenSSH public key",
		"PuTTY-User-Key-File-3: ssh-rsa": "a PuTTY key; convert it: puttygen", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n": "an encrypted key; decrypt it: openssl",
		`{"kty":"RSA","n":"x"}`: "a JWK; convert it", "-----BEGIN PRIVATE KEY-----\nMIIE": "cut off: it has no line that begins with -----END", `{"client_id":"a",`: "cut off: its last brace",
		"\x00\x00\x00": "nothing but zeros", "my key": "", `{"a":1}`: "", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n": "",
	} {
		if got := What(content); !strings.HasPrefix(got, want) && !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%q is %q, want %q", content, got, want)
		}
	}
}
