package launch

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// Detach makes c, when started, a process without the caller's console.
func Detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}
