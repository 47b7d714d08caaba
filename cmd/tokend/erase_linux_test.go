//go:build goexperiment.runtimesecret

package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers"
	"tokend/providers/token"
	"tokend/providers/token/erase"
	"tokend/store"
)

// Case 66: after a signature nothing of the private key is left in memory,
// neither of the sealed file's content nor of what was computed from it. The
// key is made and sealed here, used in a process that looks through its own
// memory, and known to that process in disguise only, lest it finds the search.
func TestKeysAreErasedAfterUse(t *testing.T) {
	if !erase.Enabled {
		t.Fatal("the experiment is on, and nothing is erased on this processor")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	dir := t.TempDir()
	check(t, store.NewKeyFile(filepath.Join(dir, "kek")))
	sealed, err := openSealed(dir)
	check(t, err)
	check(t, sealed.Set(t.Context(), "private_key", token.NewSecret(string(der))))
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	check(t, err)
	for name, text := range map[string][]byte{
		"disguised":  slices.Concat(disguise(key.D.Bytes()), disguise(key.Primes[0].Bytes())),
		"public.pem": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	for how, want := range map[string]string{"left": "found\n", "erased": "not found\n"} {
		cmd := exec.Command("tokend-memory", how) // searchMemory
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%s: %q, %v; want %q", how, out, err, want)
		}
	}
}

func init() { commands["tokend-memory"] = searchMemory }

func openSealed(dir string) (store.Keystore, error) {
	choice := store.Choice{Keystore: store.KeystoreSealed, KeyFile: filepath.Join(dir, "kek")}
	return store.KeystoreConfig{Choice: choice}.Open(dir)
}

// disguise spells bytes so that a search for them does not find this.
func disguise(b []byte) []byte {
	b = slices.Clone(b)
	for i := range b {
		b[i] ^= 0x5a
	}
	return b
}

// searchMemory is a program that signs with the key in its directory and says
// whether a part of that is in its memory afterwards. "left" is the
// counter-check: it keeps a copy.
func searchMemory() {
	disguised, err := os.ReadFile("disguised")
	if err == nil {
		err = signOnce()
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	var left []byte
	if os.Args[1] == "left" {
		left = disguise(disguised) // back again
	}
	for range 4 {
		runtime.GC()
	}
	var parts [][]byte
	for part := range slices.Chunk(disguised, 32) {
		mirrored := slices.Clone(part) // as big.Int has it
		slices.Reverse(mirrored)
		parts = append(parts, part, mirrored)
	}
	found, err := inMemory(parts)
	if err != nil {
		fmt.Println(err)
		return
	}
	runtime.KeepAlive(left)
	if found {
		fmt.Println("found")
		return
	}
	fmt.Println("not found")
}

// signOnce signs a request as a Datarock profile does whose key is sealed.
func signOnce() error {
	sealed, err := openSealed(".")
	if err != nil {
		return err
	}
	public, err := os.ReadFile("public.pem")
	if err != nil {
		return err
	}
	kind, _ := providers.Lookup("datarock")
	settings := func(into any) error {
		return toml.Unmarshal(fmt.Appendf(nil, "email = 'a@b.example'\npublic_key = %q", public), into)
	}
	signer, err := kind.Open(settings, providers.Env{Secret: sealed.Get})
	if err != nil {
		return err
	}
	_, err = signer.(token.Signer).Sign(context.Background(), token.Request{URL: "https://api.prod.datarock.com.au/x"})
	return err
}

// inMemory searches this process's writable memory for disguised parts.
func inMemory(disguised [][]byte) (bool, error) {
	byFirst := map[byte][][]byte{}
	for _, part := range disguised {
		byFirst[part[0]^0x5a] = append(byFirst[part[0]^0x5a], part)
	}
	regions, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return false, err
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		return false, err
	}
	defer memory.Close()
	page := make([]byte, 1<<20)
	for line := range strings.Lines(string(regions)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		const overlap = 64 // so that no part lies across two reads
		for at := from; at < to; at += int64(len(page)) - overlap {
			n, _ := memory.ReadAt(page[:min(int64(len(page)), to-at)], at)
			for i := range n {
				for _, part := range byFirst[page[i]] {
					if i+len(part) <= n && isDisguised(page[i:], part) {
						return true, nil
					}
				}
			}
		}
	}
	return false, nil
}

func isDisguised(b, part []byte) bool {
	for i, d := range part {
		if b[i]^0x5a != d {
			return false
		}
	}
	return true
}
