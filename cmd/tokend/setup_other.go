//go:build !linux

package main

import (
	"context"
	"io"

	"tokend/daemon/profile"
	"tokend/providers/token"
)

// serviceUser is empty: the service manager runs the service as its own user.
const serviceUser = ""

// An account owns the files of a setup: here, the caller.
type account struct{ uid, gid int }

func (places) account(string) (account, error)               { return account{-1, -1}, nil }
func (places) owner(string) account                          { return account{-1, -1} }
func (account) makeDirs(profile.Dirs, bool, io.Writer) error { return nil }
func (account) become() error                                { return nil }
func (account) mayMakeCredential() bool                      { return false }
func mayPassCredential() bool                                { return false }

func removeHandOver() error { return nil }

func makeCredential(context.Context, string, profile.Dirs, bool, io.Writer) (token.Secret, error) {
	return token.Secret{}, nil
}
