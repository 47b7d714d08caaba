//go:build !linux

package main

import (
	"context"
	"io"
	"path/filepath"

	"tokend/daemon/profile"
	"tokend/providers/token"
	"tokend/store"
)

// serviceUser is empty: the service manager runs the service as its own user.
const serviceUser = ""

// An account owns the files of a setup: here, the caller.
type account struct{ uid, gid int }

func (places) account(string) (account, error) { return account{-1, -1}, nil }
func (places) owner(string) account            { return account{-1, -1} }
func (account) makeDirs(profile.Dirs) error    { return nil }
func (account) become() error                  { return nil }
func (account) mayMakeCredential() bool        { return false }
func (p places) startLine() string             { return p.line("run") }

func removeHandOver() error { return nil }

func systemChoice(dirs profile.Dirs) (choice store.Choice, why string) {
	file := filepath.Join(dirs.Config, keyFileName)
	return store.Choice{Keystore: store.KeystoreSealed, KeyFile: file}, "A system service has no OS keyring: secrets go to sealed files."
}

func makeCredential(context.Context, string, profile.Dirs, bool, io.Writer) (token.Secret, error) {
	return token.Secret{}, nil
}
