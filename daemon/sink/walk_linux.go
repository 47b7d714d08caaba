package sink

import "golang.org/x/sys/unix"

// walk opens a directory on the way to another, which need not be readable.
const walk = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
