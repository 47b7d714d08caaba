// Command bare prints a line: the least that a Go program can do.
package main

import "os"

func main() { _, _ = os.Stdout.WriteString("a line\n") }
