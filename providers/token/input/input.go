// Package input decodes files in the ways in which people have them: keys,
// certificates and secrets that an editor, a shell or a portal has written.
package input

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"strings"
	"unicode/utf16"
)

// Text returns a file as UTF-8 without a byte order mark. It decodes UTF-16, which
// Windows' editors and PowerShell write, also without a mark if every second byte
// is zero. It returns anything else, such as a DER file, as it is.
func Text(content string) string {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case strings.HasPrefix(content, "\xef\xbb\xbf"):
		return content[3:]
	case strings.HasPrefix(content, "\xff\xfe"):
		content = content[2:]
	case strings.HasPrefix(content, "\xfe\xff"):
		content, order = content[2:], binary.BigEndian
	case isWide(content, 1):
	case isWide(content, 0):
		order = binary.BigEndian
	default:
		return content
	}
	units := make([]uint16, len(content)/2)
	for i := range units {
		units[i] = order.Uint16([]byte(content[2*i : 2*i+2]))
	}
	return string(utf16.Decode(units))
}

// isWide reports whether content looks like ASCII in UTF-16, whose bytes at
// odd or even places are zero, and no others.
func isWide(content string, zeros int) bool {
	for i := range len(content) {
		if content[i] == 0 != (i%2 == zeros) {
			return false
		}
	}
	return len(content) > 1 && len(content)%2 == 0
}

// Key returns a key or certificate as DER, or as PEM that every program reads
// (RFC 7468 §3): it undoes base64 around either, and line breaks that were lost,
// written as \n, or indented.
func Key(content string) string {
	content = Text(content)
	if strings.Contains(content, begin) {
		return straightPEM(content)
	}
	packed := strings.TrimRight(strings.Join(strings.Fields(strings.Trim(strings.TrimSpace(content), `"'`)), ""), "=")
	inner, err := base64.RawStdEncoding.DecodeString(packed)
	switch text := Text(string(inner)); {
	case err != nil || packed == "":
		return content
	case strings.Contains(text, begin):
		return straightPEM(text)
	}
	return string(inner)
}

const begin, end, dashes = "-----BEGIN ", "-----END ", "-----"

// straightPEM puts each block of a PEM file on lines of its own. It drops what is
// around the blocks, which nothing reads, and leaves a block as it is that is cut
// off, damaged, or has headers (RFC 1421 §4.6).
func straightPEM(text string) string {
	text = strings.NewReplacer(`\\r`, "", `\\n`, "\n", `\r`, "", `\n`, "\n", "\r\n", "\n", "\r", "\n").Replace(text)
	var b strings.Builder
	for {
		_, rest, ok := strings.Cut(text, begin)
		label, body, named := strings.Cut(rest, dashes)
		body, after, ended := strings.Cut(body, end+label+dashes)
		switch {
		case !ok:
			return b.String()
		case !named || !ended:
			return b.String() + begin + rest
		}
		der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
		if err == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
		} else {
			b.WriteString(begin + label + dashes + body + end + label + dashes + "\n")
		}
		text = after
	}
}

// What says what a file is that holds no key or secret as tokend reads it, with
// the command that converts it, in words that follow "it is". It is empty if that
// is not plain to see.
func What(content string) string {
	text := Text(content)
	for sign, what := range map[string]string{
		"\x89PNG": "a picture (PNG)", "\xff\xd8\xff": "a picture (JPEG)", "GIF8": "a picture (GIF)",
		"%PDF-": "a PDF document", "PK\x03\x04": "a ZIP archive or an Office document; take the file out of it", "\x1f\x8b": "compressed; unpack it: gunzip FILE",
		"\xfe\xed\xfe\xed": "a Java keystore; convert it: keytool -importkeystore -srckeystore FILE -destkeystore FILE.pfx -deststoretype pkcs12",
		"7z\xbc\xaf":       "a 7-Zip archive; take the file out of it", "<": "a web page, or another text in XML", "\xd0\xcf\x11\xe0": "an Office document; save the text in it as a plain text file",
		`{\rtf`: "a document (RTF); save the text in it as a plain text file", "PuTTY-User-Key-File": "a PuTTY key; convert it: puttygen FILE -O private-openssh -o key.pem",
		"ssh-": "an OpenSSH public key, which is not secret", "ecdsa-sha2-": "an OpenSSH public key, which is not secret",
	} {
		if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), sign) {
			return what
		}
	}
	_, block, isPEM := strings.Cut(text, begin)
	label, body, _ := strings.Cut(block, dashes)
	switch {
	case strings.TrimSpace(text) == "":
		return "empty"
	case isPEM && !strings.Contains(body, end+label+dashes):
		return "cut off: it has no line that begins with " + strings.TrimSpace(end)
	case label == "OPENSSH PRIVATE KEY":
		return "an OpenSSH key; convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY"
	case label == "ENCRYPTED PRIVATE KEY", strings.Contains(body, "Proc-Type: 4,ENCRYPTED"):
		return "an encrypted key; decrypt it: openssl pkey -in FILE -out key.pem"
	case strings.Contains(text, `"kty"`):
		return "a JWK; convert it to PEM: step crypto key format --pem FILE"
	case strings.HasPrefix(strings.TrimSpace(text), "{") && strings.Count(text, "{") > strings.Count(text, "}"):
		return "cut off: its last brace is missing"
	case strings.Trim(text, "\x00") == "":
		return "nothing but zeros"
	}
	return ""
}
