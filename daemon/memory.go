package daemon

import (
	"os"
	"runtime"
	"runtime/debug"
)

// garbageAllowed is how much memory the garbage of a daemon with very many
// profiles may take before it is collected, in bytes.
const garbageAllowed = 8 << 20

// giveBack returns to the system what reading profiles and tokens took, and has
// the garbage from now on take less than the runtime would allow, which is as
// much as is in use. Most garbage is left by lists of all profiles and by
// renewals.
func giveBack() {
	debug.FreeOSMemory()
	if os.Getenv("GOGC") != "" {
		return // somebody wants it otherwise
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(garbagePercent(m.HeapAlloc))
}

// garbagePercent is garbageAllowed in percent of what is in use, in bytes:
// never more than the runtime's 100, or so little that it collects all the time.
func garbagePercent(inUse uint64) int {
	return int(max(25, min(100, 100*garbageAllowed/max(1, inUse))))
}
