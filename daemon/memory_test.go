package daemon

import "testing"

func TestGarbageOfManyProfilesIsBounded(t *testing.T) {
	for inUse, want := range map[uint64]int{0: 100, 2 << 20: 100, 8 << 20: 100, 16 << 20: 50, 64 << 20: 25, 1 << 40: 25} {
		if got := garbagePercent(inUse); got != want {
			t.Errorf("with %d bytes in use: %d %%, want %d", inUse, got, want)
		}
	}
}
