package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tokend/packaging/checktest"
	"tokend/providers/fixturetest"
)

func selfSigned(t *testing.T, key crypto.Signer) string {
	t.Helper()
	_, text, err := fixturetest.SelfSigned(key, time.Now().Add(time.Hour))
	return must[string](t)(text, err)
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	return must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))
}

func TestPrivateKeysInEveryForm(t *testing.T) {
	rsaKey := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	ecKey := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	edKey := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pkcs1 := x509.MarshalPKCS1PrivateKey(rsaKey)
	sec1 := must[[]byte](t)(x509.MarshalECPrivateKey(ecKey))
	cert := selfSigned(t, rsaKey)
	for name, c := range map[string]struct {
		text string
		want crypto.Signer
	}{
		"PKCS #1 PEM":        {fixturetest.PEM("RSA PRIVATE KEY", pkcs1), rsaKey},
		"PKCS #1 DER":        {string(pkcs1), rsaKey},
		"PKCS #8 PEM":        {fixturetest.PEM("PRIVATE KEY", pkcs8(t, rsaKey)), rsaKey},
		"PKCS #8 DER":        {string(pkcs8(t, rsaKey)), rsaKey},
		"PKCS #8 base64":     {base64.StdEncoding.EncodeToString(pkcs8(t, rsaKey)) + "\n", rsaKey},
		"SEC 1 PEM":          {fixturetest.PEM("EC PRIVATE KEY", sec1), ecKey},
		"SEC 1 with params":  {fixturetest.PEM("EC PARAMETERS", []byte{6, 5, 0x2b, 0x81, 4, 0, 0x22}) + fixturetest.PEM("EC PRIVATE KEY", sec1), ecKey},
		"SEC 1 DER":          {string(sec1), ecKey},
		"EC PKCS #8":         {fixturetest.PEM("PRIVATE KEY", pkcs8(t, ecKey)), ecKey},
		"Ed25519":            {fixturetest.PEM("PRIVATE KEY", pkcs8(t, edKey)), edKey},
		"with a certificate": {cert + fixturetest.PEM("PRIVATE KEY", pkcs8(t, rsaKey)), rsaKey},
		"Windows lines":      {strings.ReplaceAll(fixturetest.PEM("PRIVATE KEY", pkcs8(t, rsaKey)), "\n", "\r\n"), rsaKey},
		"backslash newlines": {strings.ReplaceAll(fixturetest.PEM("PRIVATE KEY", pkcs8(t, rsaKey)), "\n", `\n`), rsaKey},
		"blanks":             {strings.ReplaceAll(fixturetest.PEM("EC PRIVATE KEY", sec1), "\n", " "), ecKey},
		"UTF-16":             {"\xff\xfe" + strings.Join(strings.Split(fixturetest.PEM("PRIVATE KEY", pkcs8(t, edKey)), ""), "\x00") + "\x00", edKey},
		"base64 of PEM":      {base64.StdEncoding.EncodeToString([]byte(fixturetest.PEM("PRIVATE KEY", pkcs8(t, edKey)))), edKey},
		"text around":        {"Bag Attributes\n" + fixturetest.PEM("PRIVATE KEY", pkcs8(t, rsaKey)) + "end", rsaKey},
	} {
		got, err := ParseKey(c.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.(interface{ Equal(crypto.PrivateKey) bool }).Equal(c.want) {
			t.Errorf("%s: another key came out", name)
		}
		kept, err := MarshalKey(got)
		if err != nil || kept.Reveal() != string(pkcs8(t, c.want)) {
			t.Errorf("%s: not kept as PKCS #8: %v", name, err)
		}
	}
}

func derOf(text string) string {
	block, _ := pem.Decode([]byte(text))
	return string(block.Bytes)
}

func TestCertificatesInEveryForm(t *testing.T) {
	cert := selfSigned(t, must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)))
	for _, text := range []string{cert, derOf(cert), base64.StdEncoding.EncodeToString([]byte(derOf(cert))), strings.ReplaceAll(cert, "\n", " "), cert[:len(cert)-1] + "\r\n", "\xef\xbb\xbf" + cert} {
		if all, err := ParseCertificates(text); err != nil || string(all[0].Raw) != derOf(cert) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, want := range map[string]string{"": "it is empty", "%PDF-1": "it is a PDF document", "x": "it is a file without a certificate in PEM or DER", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n": "it is a PEM file with a PUBLIC KEY and no certificate", "\xfe\xed\xfe\xed\x00": "it is a Java keystore; convert it: keytool -importkeystore -srckeystore FILE -destkeystore FILE.pfx -deststoretype pkcs12",
		cert[:99]: "it is cut off: it has no line that begins with -----END"} {
		if _, err := ParseCertificates(text); fmt.Sprint(err) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestWhatIsNoPrivateKeyIsNamed(t *testing.T) {
	rsaKey := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	t.Setenv("GODEBUG", "rsa1024min=0")
	small := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 1024))
	p224 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	x25519 := must[*ecdh.PrivateKey](t)(ecdh.X25519().GenerateKey(rand.Reader))
	public := must[[]byte](t)(x509.MarshalPKIXPublicKey(rsaKey.Public()))
	certPEM := selfSigned(t, rsaKey)
	locked := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY",
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")}))
	one := fixturetest.PEM("PRIVATE KEY", pkcs8(t, rsaKey))
	const none = "not a private key that tokend can read (RSA, EC or Ed25519; PEM or DER)"
	for name, c := range map[string]struct{ text, want string }{
		"encrypted PKCS #8":  {fixturetest.PEM("ENCRYPTED PRIVATE KEY", []byte("x")), "an encrypted key; decrypt it: openssl pkey -in FILE -out key.pem"},
		"encrypted PKCS #1":  {locked, "an encrypted key; decrypt it: openssl pkey -in FILE -out key.pem"},
		"public":             {fixturetest.PEM("PUBLIC KEY", public), "a PEM file with a PUBLIC KEY and no private key"},
		"certificate":        {certPEM, "a PEM file with a CERTIFICATE and no private key"},
		"OpenSSH":            {fixturetest.PEM("OPENSSH PRIVATE KEY", []byte("x")), "an OpenSSH key; convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY"},
		"small":              {fixturetest.PEM("PRIVATE KEY", pkcs8(t, small)), "an RSA key of less than 2048 bits"},
		"P-224":              {fixturetest.PEM("PRIVATE KEY", pkcs8(t, p224)), "an EC key on P-224, which no JWT algorithm uses"},
		"X25519":             {fixturetest.PEM("PRIVATE KEY", pkcs8(t, x25519)), "a key that cannot sign"},
		"two":                {one + one, "more than one private key"},
		"text":               {"my key", none},
		"empty":              {"", "empty"},
		"a picture":          {"\x89PNG\r\n\x1a\n\x00", "a picture (PNG)"},
		"a JWK":              {`{"kty":"RSA","n":"x"}`, "a JWK; convert it to PEM: step crypto key format --pem FILE"},
		"a certificate, DER": {derOf(certPEM), "a certificate, without its private key"},
		"public, DER":        {string(public), "a public key"},
		"damaged":            {fixturetest.PEM("PRIVATE KEY", []byte("x")), none},
		"cut short":          {one[:200], "cut off: it has no line that begins with -----END"},
		"rubbish in it":      {strings.Replace(one, "M", "*", 1), "damaged: it has the form of a PEM file but no readable key in it"},
	} {
		if _, err := ParseKey(c.text); fmt.Sprint(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// The keys of openssl, with its defaults and with what others use.
func TestEncryptedKeysOfOpenSSL(t *testing.T) {
	der := pkcs8(t, must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	openssl := checktest.Need(t, "openssl")
	encrypted := func(options string) string {
		t.Helper()
		cmd := exec.Command(openssl, strings.Fields("pkcs8 -topk8 -inform DER -passout pass:correct "+options)...)
		cmd.Stdin = bytes.NewReader(der)
		return string(must[[]byte](t)(cmd.Output()))
	}
	const many = "-iter 100000 -outform DER"
	for _, options := range []string{"", "-v2 aes-256-cbc", "-v2 aes-192-cbc -v2prf hmacWithSHA1", "-v2 aes-128-cbc -v2prf hmacWithSHA512", "-v2 des3", "-scrypt", "-outform DER", "-scrypt -outform DER"} {
		text := encrypted(options)
		forms := []string{text, base64.StdEncoding.EncodeToString([]byte(text))}
		if !strings.Contains(options, "DER") {
			forms = append(forms, "a certificate\n"+text, strings.ReplaceAll(text, "\n", "\r\n"))
		}
		for _, form := range forms {
			got, err := Decrypt(form, "correct")
			if err != nil {
				t.Errorf("%q: %v", options, err)
			} else if key, err := ParseKey(got); err != nil || string(pkcs8(t, key)) != string(der) {
				t.Errorf("%q: %v, %v", options, key, err)
			}
		}
		for _, wrong := range []string{"", "wrong", "correct "} {
			if got, err := Decrypt(text, wrong); err != ErrPassword {
				t.Errorf("%q by %q: %q, %v", options, wrong, got, err)
			}
		}
	}
	for options, want := range map[string]string{
		"-v1 PBE-SHA1-3DES": "1.2.840.113549.1.12.1.3)", "-v2 aria-256-cbc": "1.2.840.113549.1.5.13, 1.2.840.113549.1.5.12, 1.2.410.200046.1.1.12)",
		many: "or with too many rounds; convert", "-scrypt -scrypt_p 17": "or with too many rounds; convert",
	} {
		text := strings.Replace(encrypted(options), "\x02\x03\x01\x86\xa0", "\x02\x03\x7f\xff\xff", 1) // the number of rounds
		if _, err := Decrypt(text, "correct"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", options, err)
		}
	}
}

func FuzzPrivateKey(f *testing.F) {
	der := pkcs8(f, must[*ecdsa.PrivateKey](f)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	for _, seed := range []string{
		string(der), fixturetest.PEM("PRIVATE KEY", der), fixturetest.PEM("EC PRIVATE KEY", der), fixturetest.PEM("ENCRYPTED PRIVATE KEY", der),
		fixturetest.PEM("PUBLIC KEY", der), base64.StdEncoding.EncodeToString(der), "-----BEGIN PRIVATE KEY-----", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text, err := Decrypt(text, "x")
		if err != nil {
			return
		}
		key, err := ParseKey(text)
		if err != nil {
			return
		}
		kept, err := MarshalKey(key)
		if err != nil {
			t.Fatalf("a key that was read cannot be kept: %v", err)
		}
		again, err := ParseKey(kept.Reveal())
		if err != nil || !again.(interface{ Equal(crypto.PrivateKey) bool }).Equal(key) {
			t.Fatalf("a key that was kept is another: %v", err)
		}
	})
}

func TestEachCertificateIsFollowedByItsIssuer(t *testing.T) {
	key := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	made := func(name string, issuer *x509.Certificate) *x509.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		if issuer == nil {
			issuer = c
		}
		return must[*x509.Certificate](t)(x509.ParseCertificate(must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), key))))
	}
	root := made("root", nil)
	middle := made("middle", root)
	leaf, other := made("leaf", middle), made("other", nil)
	for _, all := range [][]*x509.Certificate{{leaf, middle, root}, {leaf, root, middle}, {leaf, other, root, middle}, {leaf, middle, root, middle}} {
		var names []string
		for _, c := range Ordered(all) {
			names = append(names, c.Subject.CommonName)
		}
		if strings.Join(names, " ") != "leaf middle root" {
			t.Errorf("%q", names)
		}
	}
	if got := Ordered([]*x509.Certificate{leaf, other}); len(got) != 1 {
		t.Errorf("%d certificates", len(got))
	}
}
