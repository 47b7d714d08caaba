//go:build !linux

package main

import (
	"context"
	"time"
)

const networkAgain = 0

// watchNetwork never reports a change on this system.
func watchNetwork(context.Context, time.Duration) <-chan struct{} { return nil }
