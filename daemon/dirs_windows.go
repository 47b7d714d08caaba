package daemon

// checkHome trusts what Windows says of the user's own folders.
func checkHome(string) error { return nil }
