package main

import (
	"reflect"
	"slices"
	"testing"

	"tokend/daemon/profile"
)

// A new setting needs a decision: a reload applies it, or it is fixed.
func TestEverySettingIsAppliedOrFixed(t *testing.T) {
	applied := []string{"LogLevel", "Renew", "Idle", "WarnAhead", "Proxy", "AdminUsers", "AdminGroups", "CAFile"}
	for f := range reflect.TypeFor[profile.Config]().Fields() {
		var c profile.Config
		switch v := reflect.ValueOf(&c).Elem().FieldByIndex(f.Index); v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Uint32:
			v.SetUint(1)
		}
		if fixed := c.Fixed(profile.Config{}, "") != ""; fixed == slices.Contains(applied, f.Name) {
			t.Errorf("%s: fixed is %v", f.Name, fixed)
		}
	}
}
