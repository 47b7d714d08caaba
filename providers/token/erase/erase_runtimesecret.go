//go:build goexperiment.runtimesecret

package erase

import (
	"runtime"
	"runtime/secret"
)

const Enabled = runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64")

func Do(f func() error) (err error) {
	secret.Do(func() { err = f() })
	return err
}
