package main

import (
	"testing"

	"tokend/providers/token"
)

func TestAHostOfTwoProfilesIsNamedOnce(t *testing.T) {
	profiles := []token.ProfileStatus{{Hosts: []string{"https://b", "https://a"}}, {Hosts: []string{"https://a"}}, {}}
	if got := listHosts(profiles); got != "; your profiles have https://a, https://b" {
		t.Errorf("got %q", got)
	}
	if got := listHosts(profiles[2:]); got != "" {
		t.Errorf("without hosts: %q", got)
	}
}
