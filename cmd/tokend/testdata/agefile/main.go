// Command agefile seals standard input to an age recipient, as age -r does.
package main

import (
	"errors"
	"io"
	"log"
	"os"

	"filippo.io/age"
)

func main() {
	to, err := age.ParseX25519Recipient(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	sealed, err := age.Encrypt(os.Stdout, to)
	if err == nil {
		_, err = io.Copy(sealed, os.Stdin)
		err = errors.Join(err, sealed.Close())
	}
	if err != nil {
		log.Fatal(err)
	}
}
