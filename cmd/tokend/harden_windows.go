package main

import "syscall"

// hangup is never sent on Windows; tokenctl reload is the way.
const hangup = syscall.SIGHUP

// harden has nothing to do on Windows: there are no core dumps by default, and
// another process needs debug rights to read this one's memory.
func harden() {}
