// Command issuers plays the issuers for the boot test: it writes their
// certificate and a service key into a directory, and serves until it is
// ended.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"tokend/providers/providertest"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "issuers:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	s, err := providertest.Start(providertest.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	key, err := s.CLMS().NewServiceKey(2048)
	if err != nil {
		return err
	}
	// The key comes last: who waits for it finds the rest.
	for _, f := range []struct {
		name string
		text []byte
	}{{"ca.pem", s.CertPEM()}, {"key.json", key}} {
		if err := os.WriteFile(filepath.Join(dir, f.name+".new"), f.text, 0o644); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, f.name+".new"), filepath.Join(dir, f.name)); err != nil {
			return err
		}
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	<-ended
	return nil
}
