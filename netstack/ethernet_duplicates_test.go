package netstack

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// RFC 4862 §5.4: "Duplicate Address Detection MUST be performed on all unicast addresses
// prior to assigning them to an interface", or soon after (RFC 4429). RFC 7217 §6: with a
// duplicate "a new Interface Identifier" is made, a few times.
func TestADuplicateOfAnIPv6Address(t *testing.T) {
	n, sent := newOwnNIC(t, EthernetConfig{})
	own := func() (a netip.Addr) {
		all := n.Addresses()
		if i := slices.IndexFunc(all, prefixA.Contains); i >= 0 {
			return all[i]
		}
		return a
	}
	asked := map[netip.Addr]bool{}
	// expect waits until it has been asked whether somebody has a.
	expect := func(a netip.Addr) {
		t.Helper()
		for wait := patience(t); !asked[a]; time.Sleep(time.Millisecond) {
			for _, f := range sent.take() {
				if f[14]>>4 == 6 && f[14+40] == byte(header.ICMPv6NeighborSolicit) && header.IPv6(f[14:]).SourceAddress() == header.IPv6Any {
					asked[netip.AddrFrom16([16]byte(f[14+48:]))] = true
				}
			}
			if wait.Err() != nil {
				t.Fatalf("nobody was asked for %v", a)
			}
		}
	}
	put(n, frameOf(ownMAC, peerMAC, etherIPv6, newAdvert().auto(prefixA).packet()))
	was := map[netip.Addr]bool{}
	for range 1 + idgenRetries {
		a := own()
		if !a.IsValid() || was[a] {
			t.Fatalf("the address is %v, after %v", a, was)
		}
		was[a] = true
		expect(a)
		n.layer.mu.Lock() // so that we may be late
		n.layer.claims = []claim{{addr: a, due: time.Now().Add(time.Hour), sent: dadTransmits}}
		n.layer.mu.Unlock()
		m := slices.Concat([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, a.AsSlice(), linkOption(optionTargetLink, peerMAC))
		put(n, frameOf(groupMAC(allNodes), peerMAC, etherIPv6, icmpv6Packet(a, allNodes, 255, m)))
	}
	if a := own(); a.IsValid() {
		t.Errorf("after %d duplicates the address is %v", len(was), a)
	}
	if got := n.Counters().Duplicate; got != uint64(len(was)) {
		t.Errorf("%d duplicates counted, want %d", got, len(was))
	}
	put(n, frameOf(ownMAC, peerMAC, etherIPv6, newAdvert().auto(prefixA).packet()))
	if a := own(); a.IsValid() {
		t.Errorf("advertised again, the prefix makes the address %v", a)
	}
}

// Nobody who comes later takes an address away.
func TestAnAddressIsDefended(t *testing.T) {
	n, sent := newOwnNIC(t, EthernetConfig{NoIPv6: true})
	sent.take()
	put(n, frameOf(broadcastMAC, peerMAC, etherARP, request(peerMAC, "10.0.0.1", "10.0.0.1")))
	got := sent.take()
	want := request(ownMAC, "10.0.0.1", "10.0.0.1")
	if len(got) == 0 || string(got[0][14:]) != string(want) || mac(got[0]) != broadcastMAC {
		t.Errorf("sent % x, want the announcement % x", got, want)
	}
	if got := n.Counters().Duplicate; got != 1 {
		t.Errorf("%d duplicates counted, want 1", got)
	}
	if !n.layer.has(addrA) {
		t.Error("the address is gone")
	}
}
