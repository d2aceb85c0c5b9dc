package netstack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// Issue: "10,000 idle sessions in one process at ≤ 16 KiB each". Here is what the router
// has for each of them: little.
func TestPortIsSmall(t *testing.T) {
	const n, most = 4_000, 1536
	r := newRouter6(t, newStack(t, nil), RoutedConfig{ClientToClient: true})
	ports := make([]*Port, n)
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	for i := range ports {
		ports[i] = attachWith(t, r, discard, PortConfig{
			InterfaceID: idA,
			Prefix:      netip.MustParsePrefix(fmt.Sprintf("2001:db8:1:%x::/64", i)),
			Delegated:   netip.MustParsePrefix(fmt.Sprintf("2001:db9:%x::/48", i)),
			DNS:         []netip.Addr{gateway6},
		}, fmt.Sprintf("10.78.%d.%d/32", i>>8, i&0xff))
	}
	each := int64(used()-before) / n
	t.Logf("%d bytes for each of %d sessions", each, n)
	if each > most {
		t.Errorf("%d bytes for each session, want %d at most", each, most)
	}
	for _, p := range ports {
		p.Close()
	}
}

// FuzzPort: whatever a session sends, nothing panics, and what goes to any session is a
// whole IP packet that its link carries.
func FuzzPort(f *testing.F) {
	r := newRouter6(f, newStack(f, nil), RoutedConfig{ClientToClient: true})
	sink := func(mtu int) link.SinkFunc {
		return func(b *link.Batch) {
			for i := range b.Frames {
				p := b.Frames[i].AppendTo(nil)
				says := 0
				switch {
				case len(p) >= 20 && p[0]>>4 == 4:
					says = int(binary.BigEndian.Uint16(p[2:]))
				case len(p) >= 40 && p[0]>>4 == 6:
					says = 40 + int(binary.BigEndian.Uint16(p[4:]))
				}
				if len(p) > mtu || len(p) != says {
					panic(fmt.Sprintf("sent % x", p))
				}
			}
		}
	}
	one := attachWith(f, r, sink(1400), PortConfig{InterfaceID: idA, Prefix: sessionNet(2), Delegated: delegated, DNS: []netip.Addr{gateway6}}, "10.77.0.2/32")
	attachWith(f, r, sink(1280), PortConfig{InterfaceID: idA, Prefix: sessionNet(3), MTU: 1280}, "10.77.0.3/32")
	a, b := sessionNet(2).Addr().Next(), sessionNet(3).Addr().Next()
	peer := netip.MustParseAddr("fe80::5")
	for _, p := range [][]byte{
		ipv4Packet(as4("10.77.0.2"), as4("10.77.0.3"), 17, make([]byte, 1300)),
		ipv4Packet(as4("10.77.0.2"), as4("10.77.0.1"), 1, echo()),
		segment(false, 2, []byte{2, 4, 5, 180}, nil),
		segment(true, 2, []byte{2, 4, 5, 180}, nil),
		ipv6Packet(a, b, 64, 17, make([]byte, 1300)),
		icmp6Packet(a, gateway6, 64, echo6()),
		icmp6Packet(peer, linkLocal(idA), 64, echo6()),
		routerSolicitation(peer),
		dhcpPacket(peer, allDHCPServers, 1, clientID, opt(25, iaid, be32(0, 0))),
		ipv6Packet(peer, netip.MustParseAddr("ff02::16"), 1, 0, []byte{58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 0}),
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		one.v6.solicited, one.v6.asked, one.complaints = pacer{}, pacer{}, pacer{}
		put(one, p)
	})
}
