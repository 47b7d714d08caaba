package token

import (
	"cmp"
	"fmt"
	"time"
)

const day = 24 * time.Hour

// StepsToEnd counts how near the end of a credential is: 0 while it is further away
// than ahead, then one more each from ahead, 7 days, 1 day, and its end on. A
// credential without a known end is never near.
func StepsToEnd(end, now time.Time, ahead time.Duration) (steps int) {
	if end.IsZero() {
		return 0
	}
	for _, before := range []time.Duration{ahead, min(ahead, 7*day), min(ahead, day), 0} {
		if end.Sub(now) <= before {
			steps++
		}
	}
	return steps
}

// CredentialState is the state of a credential that is so many steps near its end.
func CredentialState(steps int) string {
	return cmp.Or([...]string{0: CredentialOK, 4: CredentialExpired}[steps], CredentialExpiring)
}

// The states of a credential.
const (
	CredentialOK       = "ok"
	CredentialExpiring = "expiring" // from warn_ahead on
	CredentialExpired  = "expired"
)

// EndText says when a credential ends or has ended: "expires in 5 days, on
// 2026-12-03".
func EndText(end, now time.Time) string {
	left, on := end.Sub(now), " on "+end.UTC().Format(time.DateOnly)
	switch {
	case left <= 0:
		return "expired" + on
	case left < 2*day:
		return fmt.Sprintf("expires in %d h,%s", left/time.Hour, on)
	}
	return fmt.Sprintf("expires in %d days,%s", left/day, on)
}
