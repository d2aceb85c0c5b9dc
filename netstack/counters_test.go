package netstack

import (
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
)

// No counter is forgotten where they are read or summed up.
func TestCountersAreComplete(t *testing.T) {
	var live counters
	v := reflect.ValueOf(&live).Elem()
	numbers := map[string]uint64{}
	for i := range v.NumField() {
		n := uint64(1) << i
		// The fields are not exported: through their address.
		(*atomic.Uint64)(v.Field(i).Addr().UnsafePointer()).Store(n)
		numbers[strings.ToLower(v.Type().Field(i).Name)] = n
	}
	once := live.snapshot()
	twice := once
	twice.Add(once)
	s, d := reflect.ValueOf(once), reflect.ValueOf(twice)
	if s.NumField() != v.NumField() {
		t.Errorf("%d counters are kept, and %d are shown", v.NumField(), s.NumField())
	}
	for i := range s.NumField() {
		name := s.Type().Field(i).Name
		want := numbers[strings.ToLower(name)]
		if got := s.Field(i).Uint(); got != want {
			t.Errorf("%s is shown as %d, want %d", name, got, want)
		}
		if got := d.Field(i).Uint(); got != 2*want {
			t.Errorf("%s is summed up to %d, want %d", name, got, 2*want)
		}
	}
}

func (c *Counters) subtract(d Counters) {
	x, y := reflect.ValueOf(c).Elem(), reflect.ValueOf(d)
	for i := range x.NumField() {
		x.Field(i).SetUint(x.Field(i).Uint() - y.Field(i).Uint())
	}
}
