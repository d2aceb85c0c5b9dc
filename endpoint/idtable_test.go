package endpoint

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestFreeIdentifiersOnlyAreDrawn(t *testing.T) {
	// RFC 2661 §4.4.3: the Assigned Tunnel ID is "a 2 octet non-zero unsigned
	// integer": zero, and what is taken, are drawn again.
	var s idSpace
	random := bytes.NewReader([]byte{1, 2, 0, 0, 1, 2, 0xff, 0xff, 1, 2})
	for _, want := range []uint32{0x0102, 0xffff} {
		if id, err := s.take(random, false); err != nil || id != want {
			t.Errorf("drew %#x, %v, want %#x", id, err, want)
		}
	}
	s.free(0x0102)
	if id, err := s.take(random, false); err != nil || id != 0x0102 {
		t.Errorf("drew %#x, %v, want what was given back", id, err)
	}
	if _, err := s.take(random, false); err == nil {
		t.Error("a random source that fails goes unnoticed")
	}
	s.taken = tunnelIDsMax
	if _, err := s.take(rand.NewChaCha8([32]byte{}), false); err == nil {
		t.Error("there is always another one")
	}
}

// RFC 3931 §5.4.3: "The Assigned Control Connection ID is a 4-octet non-zero unsigned
// integer." No two have the same low 16 bits, by which they are found, nor the ones that
// "not known yet" has.
func TestWideIdentifiers(t *testing.T) {
	var s idSpace
	random := bytes.NewReader([]byte{7, 7, 1, 2, 9, 9, 1, 2, 9, 9, 0, 0, 8, 8, 3, 4, 1, 2, 3, 5})
	for _, want := range []uint32{0x07070102, 0x08080304} {
		if id, err := s.take(random, true); err != nil || id != want {
			t.Errorf("drew %#x, %v, want %#x", id, err, want)
		}
	}
	s.free(0x07070102)
	if id, err := s.take(random, false); err != nil || id != 0x0102 {
		t.Errorf("drew %#x, %v, want what was given back", id, err)
	}
}

func TestIDTable(t *testing.T) {
	var table idTable[int]
	one := 1
	table.set(0x0102, &one)
	if table.get(0x0102) != &one || table.get(0x0103) != nil || table.get(0x10102) != &one {
		t.Error("get finds something else")
	}
	table.set(0x0102, nil)
	if table.get(0x0102) != nil {
		t.Error("a value that was taken out is still there")
	}
}

func TestPoolGivesEachAddressOnce(t *testing.T) {
	p, err := NewPool(netip.MustParsePrefix("10.77.0.0/29"), netip.Addr{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// .0 is the network, .1 the gateway, .7 broadcast: five are left.
	seen := map[netip.Addr]bool{}
	var leases []Lease
	for range 5 {
		l, err := p.Assign(t.Context(), AddressRequest{User: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		if seen[l.Peer] || l.Peer == p.Gateway() || l.Local != p.Gateway() {
			t.Errorf("lease %+v", l)
		}
		seen[l.Peer] = true
		leases = append(leases, l)
	}
	if _, err := p.Assign(t.Context(), AddressRequest{User: "alice"}); err != ErrPoolEmpty {
		t.Errorf("a sixth: %v, want ErrPoolEmpty", err)
	}
	p.Release(leases[2])
	p.Release(leases[2]) // a second time does not make room for two
	if l, err := p.Assign(t.Context(), AddressRequest{User: "bob"}); err != nil || l.Peer != leases[2].Peer {
		t.Errorf("after a release: %+v, %v", l, err)
	}
	if _, err := p.Assign(t.Context(), AddressRequest{User: "bob"}); err != ErrPoolEmpty {
		t.Errorf("%v, want ErrPoolEmpty", err)
	}
}

func TestPoolsThatCannotBe(t *testing.T) {
	for _, c := range []struct{ prefix, gateway string }{
		{"fd00::/64", ""}, {"10.0.0.0/32", "10.0.0.0"}, {"10.0.0.0/30", "fe80::1"},
	} {
		gateway, _ := netip.ParseAddr(c.gateway)
		if _, err := NewPool(netip.MustParsePrefix(c.prefix), gateway, nil); err == nil {
			t.Errorf("a pool of %s with gateway %s is taken", c.prefix, c.gateway)
		}
	}
	last := netip.MustParsePrefix("255.255.255.254/31")
	p, err := NewPool(last, netip.MustParseAddr("10.0.0.1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.Assign(t.Context(), AddressRequest{}); err != nil {
			t.Errorf("the end of the address space: %v", err)
		}
	}
}
