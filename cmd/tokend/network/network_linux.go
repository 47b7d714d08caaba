// Package network notices when the machine's network changes.
package network

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settles is how long a change of the network takes, again how far apart to report
// changes: on some hosts containers come and go all the time. Less in tests.
var settles, again = time.Second, 10 * time.Second

// Watch returns a channel that delivers a value when addresses or routes have
// changed, until ctx ends. Where the kernel refuses to tell, it never does.
func Watch(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return changed
	}
	const groups = 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1)
	socket := os.NewFile(uintptr(fd), "netlink")
	context.AfterFunc(ctx, func() { _ = socket.Close() })
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return changed
	}
	go func() {
		message := make([]byte, 64<<10)
		for due := (time.Time{}); ; {
			if _, err := socket.Read(message); err != nil && !errors.Is(err, unix.ENOBUFS) { // messages were lost
				return
			}
			now := time.Now()
			if now.Before(due) {
				continue // that report covers it
			}
			due = now.Add(max(settles, due.Add(again).Sub(now)))
			time.AfterFunc(due.Sub(now), func() {
				select {
				case changed <- struct{}{}:
				default:
				}
			})
		}
	}()
	return changed
}
