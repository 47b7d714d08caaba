package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"tokend/store"
)

// checkCacheCommand is what tokend runs as a process of its own before it
// opens a cache file; people have no use for it.
func checkCacheCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "check-cache FILE",
		Short:  "Read all of a token cache that nobody holds, as bbolt does",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			harden()
			bound(checkMemory, checkSeconds)
			err := store.CheckCache(args[0])
			if damage := (*store.DamageError)(nil); errors.As(err, &damage) {
				fmt.Fprintln(c.OutOrStdout(), err)
			}
			return err
		},
	}
}

// What a check may take: a cache file has 64 MiB at most, which are not counted,
// and is read in milliseconds.
const (
	checkMemory  = 512 << 20 // bytes
	checkSeconds = 1         // of the processor
)

// cacheChecker is the command to give to store.OpenCache: this very program,
// also after a newer one was installed in its place.
func cacheChecker() []string {
	self := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		var err error
		if self, err = os.Executable(); err != nil {
			return nil
		}
	}
	return []string{self, "check-cache"}
}
