//go:build unix

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// serveManaged needs nothing from the service manager.
var serveManaged = serve

// steady is a clock that NTP does not slew (clock_gettime(2)).
func steady() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &t)
	return time.Duration(t.Nano())
}
