package sink

import "golang.org/x/sys/unix"

// walk opens a directory on the way to another.
const walk = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
