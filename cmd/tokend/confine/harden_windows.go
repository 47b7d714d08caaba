package confine

// Harden has nothing to do on Windows: there are no core dumps by default, and
// another process needs debug rights to read this one's memory.
func Harden() {}
