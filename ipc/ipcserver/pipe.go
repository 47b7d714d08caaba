package ipcserver

import "fmt"

// ownerAlone is the security descriptor of a named pipe that belongs to a user
// and that no other user may open, in Windows's own language (SDDL). Owner: the
// user, also of an elevated process, whose objects otherwise belong to the
// administrators. DACL: protected, so nothing is inherited; all rights to the
// user.
func ownerAlone(sid string) string { return fmt.Sprintf("O:%[1]sD:P(A;;GA;;;%[1]s)", sid) }
