package main

import "os"

// reachesChild tells of Ctrl-C, which a console sends to all its processes.
func reachesChild(s os.Signal) bool { return s == os.Interrupt }
