package helper

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// toolProcess names the process that runs this helper: its pid and, where /proc
// says it, when it started, because pids are used again. busy: it runs other
// helpers too at this moment. A tool that was refused waits for an answer before
// it asks again; one that asks several at once just asks often.
func toolProcess() (name string, busy bool) {
	name = strconv.Itoa(os.Getppid())
	proc := "/proc/" + name
	stat, _ := os.ReadFile(proc + "/stat")
	// What precedes is the program's name in parentheses, which may hold anything.
	after := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(after) > 19 {
		name += "." + after[19] // the 22nd field of all, proc(5)
	}
	own, _ := os.Readlink("/proc/self/exe")
	threads, _ := filepath.Glob(proc + "/task/*/children")
	return name, slices.ContainsFunc(threads, func(file string) bool {
		children, _ := os.ReadFile(file)
		return slices.ContainsFunc(strings.Fields(string(children)), func(pid string) bool {
			exe, err := os.Readlink("/proc/" + pid + "/exe")
			return err == nil && exe == own && pid != strconv.Itoa(os.Getpid())
		})
	})
}
