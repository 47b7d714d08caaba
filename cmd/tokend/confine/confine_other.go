//go:build !linux

package confine

// Enter does nothing, and returns nothing: other systems have no Landlock.
func (Files) Enter() string { return "" }

// DenyTracing does nothing: on macOS a process needs an entitlement to read
// another's memory, on Windows debug rights.
func DenyTracing() {}

// CheckUsers finds nothing wrong: other systems have no user namespaces.
func CheckUsers() error { return nil }
