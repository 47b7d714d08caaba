package child

import "os"

// reachesChild reports whether s is Ctrl-C, which a console sends to all its
// processes.
func reachesChild(s os.Signal) bool { return s == os.Interrupt }
