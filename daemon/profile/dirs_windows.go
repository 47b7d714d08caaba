package profile

// checkHome trusts Windows about the user's own folders.
func checkHome(string) error { return nil }
