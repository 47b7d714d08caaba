package main

import "io/fs"

// checkPrivacy finds nothing wrong: a file inherits its access list from the
// user's profile directory.
func checkPrivacy(string, fs.FileInfo, string, fs.FileMode) error { return nil }
