//go:build !linux

package confine

// Enter does nothing, and returns nothing: other systems have no Landlock.
func (Files) Enter() string { return "" }

// CheckUsers finds nothing wrong: other systems have no user namespaces.
func CheckUsers() error { return nil }
