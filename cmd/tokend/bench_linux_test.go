package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"tokend/providers/token"
)

// What signing a request and verifying a token cost through the socket, beside
// the bare RSA operation in the same run:
//
//	go test ./cmd/tokend -run none -bench Socket
func BenchmarkSocket(b *testing.B) {
	h := newHome(b)
	h.setupSealed()
	h.start()
	h.add(token.CreateProfile{Name: "rock", Provider: "datarock", Settings: map[string]any{"email": "me@example.com"}})
	const dsi = "dpp://group@127.0.0.1/Weather_v1"
	h.add(token.CreateProfile{Name: "source", Provider: "ioxio", Settings: map[string]any{
		"dataspace": h.issuers.URL(), "dsi": []string{dsi}}})
	text, err := h.issuers.Dataspace().NewToken(dsi)
	check(b, err)
	presented := token.NewSecret(text)
	verify := func() error {
		verdict, err := h.client.Verify(b.Context(), "source", token.Presented{Token: presented})
		if err == nil && !verdict.Valid {
			b.Errorf("not valid: %s", verdict.Message)
		}
		return err
	}
	if err := verify(); err != nil { // fetches the keys
		b.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(b, err)
	digest := sha256.Sum256([]byte("text"))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	check(b, err)

	fetched := h.issuers.Dataspace().Requests()
	for name, do := range map[string]func() error{
		"sign": func() error {
			_, err := h.client.Sign(b.Context(), "rock", token.Request{URL: "https://api.prod.datarock.com.au/x?a=1"})
			return err
		},
		"verify": verify,
		"bare RSA sign": func() error {
			_, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
			return err
		},
		"bare RSA verify": func() error {
			return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature)
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := do(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	if again := h.issuers.Dataspace().Requests(); again != fetched {
		b.Errorf("verifying with known keys made %d requests", again-fetched)
	}
}
