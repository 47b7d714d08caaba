package main

import "io/fs"

// privacy: who may read a file is in its access list, which a user's profile
// directory hands down.
func privacy(string, fs.FileInfo, string, fs.FileMode) error { return nil }
