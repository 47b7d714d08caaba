package main

// newServiceManager is launchd.
func newServiceManager(d definition) (serviceManager, error) {
	return launchdServices{d.system, d.socket}, nil
}

// checkSystemProgram refuses a program that somebody other than root could
// replace.
func checkSystemProgram(path string) error { return checkRoots(path) }

func (manager) ready(string) {}
