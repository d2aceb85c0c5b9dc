package netstack

import (
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

// Two VLANs on one cable, and untagged frames beside them, do not meet.
func TestVLANs(t *testing.T) {
	p := newEtherPair(t, &EthernetConfig{Addresses: prefixes("10.0.0.1/24")}, &EthernetConfig{Addresses: prefixes("10.0.0.2/24")})
	add := func(n *EthernetNIC, id uint16, addr string) *EthernetNIC {
		sub, err := n.AddVLAN(id, &EthernetConfig{Addresses: prefixes(addr)})
		if err != nil {
			t.Fatal(err)
		}
		return sub
	}
	sub := add(p.nicA, 7, "10.7.0.1/24")
	add(p.nicA, 8, "10.8.0.1/24")
	other := add(p.nicB, 7, "10.7.0.2/24")
	if got := sub.nic.ep.MTU(); got != defaultMTU-4 {
		t.Errorf("the MTU of a VLAN is %d, want 4 less than %d", got, defaultMTU)
	}
	transfer(t, p.a, p.b, addrB, 100<<10)
	transfer(t, p.a, p.b, netip.MustParseAddr("10.7.0.2"), 100<<10)
	if _, err := p.b.Ping(patience(t), netip.MustParseAddr("10.7.0.1"), nil); err != nil {
		t.Error(err)
	}
	if _, err := p.a.DialContext(patience(t), "tcp", "10.8.0.2:80"); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("a VLAN that the other end has not: %v, want EHOSTUNREACH", err)
	}
	if n := p.nicB.Counters().OtherVLAN; n == 0 {
		t.Error("frames of a VLAN that there is not were not counted")
	}
	p.nicA.SetMTU(1300)
	if got := sub.nic.ep.MTU(); got != 1296 {
		t.Errorf("the MTU of the VLAN is %d now, want 1296", got)
	}
	transfer(t, p.a, p.b, netip.MustParseAddr("10.7.0.2"), 100<<10)
	other.Close()
	if len(p.nicB.children()) != 0 {
		t.Error("a sub-interface that was closed is still there")
	}
	add(p.nicB, 7, "10.7.0.3/24")
	transfer(t, p.a, p.b, netip.MustParseAddr("10.7.0.3"), 10<<10)
	failure := errors.New("the session is gone")
	p.nicA.Fail(failure)
	for _, address := range []string{"10.0.0.2:80", "10.7.0.3:80"} {
		if _, err := p.a.DialContext(patience(t), "tcp", address); !errors.Is(err, failure) {
			t.Errorf("dialling %s: %v, want %v", address, err, failure)
		}
	}
	p.nicA.Close()
}

// IEEE 802.1Q: a tag with the identifier 0 has a priority only, so that its frame is that
// of no VLAN.
func TestAPriorityTag(t *testing.T) {
	p := newEtherPair(t, &EthernetConfig{Addresses: prefixes("10.0.0.1/24")}, &EthernetConfig{Addresses: prefixes("10.0.0.2/24")})
	p.ab.setTamper(func(f []byte) []byte {
		return append(append(append([]byte{}, f[:12]...), 0x81, 0, 0xe0, 0), f[12:]...)
	})
	transfer(t, p.a, p.b, addrB, 100<<10)
}

func TestVLANsThatMakeNoSense(t *testing.T) {
	s := newStack(t, nil)
	n := addEthernet(t, s, discard, &EthernetConfig{Addresses: prefixes("10.0.0.1/24")})
	cfg := &EthernetConfig{Addresses: prefixes("10.7.0.1/24")}
	sub, err := n.AddVLAN(7, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		n    *EthernetNIC
		id   uint16
		want string
	}{{n, 0, "not from 1"}, {n, 4095, "to 4094"}, {n, 7, "already"}, {sub, 8, "in the VLAN 7"}} {
		if _, err := row.n.AddVLAN(row.id, cfg); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("VLAN %d: %v, want %q in it", row.id, err, row.want)
		}
	}
}
