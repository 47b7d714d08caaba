package ipcserver

import "testing"

// One entry, which allows, and for the owner: nothing for everybody (WD), the
// network (NU), the anonymous (AN), administrators (BA) or the system (SY).
func TestPipeAdmitsItsOwnerAlone(t *testing.T) {
	const sid = "S-1-5-21-1-2-3-1001"
	if got := ownerAlone(sid); got != "O:S-1-5-21-1-2-3-1001D:P(A;;GA;;;S-1-5-21-1-2-3-1001)" {
		t.Error(got)
	}
}
