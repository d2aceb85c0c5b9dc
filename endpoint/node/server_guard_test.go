package node

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ethernetFrame is one with a payload, of its least length.
func ethernetFrame(dst, src net.HardwareAddr, kind uint16, payload []byte) []byte {
	f := binary.BigEndian.AppendUint16(slices.Concat(dst, src), kind)
	return append(append(f, payload...), make([]byte, max(0, 46-len(payload)))...)
}

// arpOf says that an IPv4 address is at a MAC address.
func arpOf(ip netip.Addr, at net.HardwareAddr) []byte {
	return ethernetFrame(broadcast, at, 0x0806, slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, 2}, at, ip.AsSlice(), broadcast, ip.AsSlice()))
}

// ipv4Of is a packet from an address, and ipv6Of one of ICMPv6, of a type, with a target.
func ipv4Of(ip netip.Addr, at net.HardwareAddr) []byte {
	return ethernetFrame(broadcast, at, 0x0800, slices.Concat([]byte{0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0}, ip.AsSlice(), []byte{10, 78, 0, 1}))
}

func ipv6Of(src netip.Addr, at net.HardwareAddr, kind byte, target netip.Addr) []byte {
	m := slices.Concat([]byte{kind, 0, 0, 0, 0x60, 0, 0, 0}, target.AsSlice(), []byte{2, 1}, at)
	return ethernetFrame(broadcast, at, 0x86dd, slices.Concat([]byte{0x60, 0, 0, 0, 0, byte(len(m)), 58, 255}, src.AsSlice(), netip.MustParseAddr("ff02::1").AsSlice(), m))
}

// HOSTILE.md: "ARP and ND floods and spoofing". Nobody takes the addresses of another client,
// or ours, who stands.
func TestAClientWithAnothersAddresses(t *testing.T) {
	l := wireServer(t, func(s *Server) { s.LAN.Advertise = netip.MustParsePrefix("fd00:78::/64") })
	red := plug(t, l.tunnel(t), &endpoint.PseudowireConfig{RemoteEndID: "red"})
	if err := red.ether.WaitIPv6(soon(t)); err != nil {
		t.Fatal(err)
	}
	in, err := red.stack.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoing(t, in)
	var six netip.Addr
	for _, a := range red.ether.Addresses() {
		if a.Is6() && !a.IsLinkLocalUnicast() {
			six = a
		}
	}
	reach := func() {
		t.Helper()
		for _, a := range []netip.Addr{red.address(t), six} {
			wantEcho(t, l.DialContext, netip.AddrPortFrom(a, 7).String())
		}
	}
	reach()

	mallory, err := l.tunnel(t).Open(soon(t), &endpoint.PseudowireConfig{RemoteEndID: "mallory"})
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return len(l.segment.bridge.Ports()) == 3 })
	own, his := net.HardwareAddr{2, 0, 0, 0, 0, 9}, red.ether.MAC()
	lan, link6, other := netip.MustParseAddr("10.78.0.1"), netip.MustParseAddr("fe80::9"), netip.MustParseAddr("10.78.0.77")
	forged := [][]byte{
		arpOf(red.address(t), own), arpOf(lan, own), ipv4Of(red.address(t), own), ipv4Of(other, his), arpOf(other, his),
		ipv6Of(six, own, 136, six), ipv6Of(link6, own, 136, six), ipv6Of(six, own, 135, netip.MustParseAddr("fd00:78::1")),
		ipv6Of(link6, own, 136, netip.MustParseAddr("fd00:78::1")), ethernetFrame(broadcast, his, 0x88b5, nil),
	}
	passing := [][]byte{arpOf(other, own), ipv4Of(other, own), ipv6Of(link6, own, 136, link6), ethernetFrame(broadcast, own, 0x88b5, nil), ipv4Of(netip.IPv4Unspecified(), own)}
	b := link.NewBatch()
	defer b.Free()
	for i := range forged {
		b.Add(0, forged[i], nil)
		b.Add(0, passing[i%len(passing)], nil)
	}
	status := func() ServerSession {
		for _, v := range l.Status().Sessions {
			if v.RemoteEndID == "mallory" {
				return v
			}
		}
		t.Fatal("no session")
		return ServerSession{}
	}
	for round := range 3 {
		mallory.Put(b)
		waitUntil(t, func() bool { return status().Forged >= uint64((round+1)*len(forged)) })
		reach()
	}
	port := l.portOf(t, "mallory")
	if n, c := status().Forged, port.Counters(); n != uint64(3*len(forged)) || c.FramesIn != n {
		t.Errorf("%d forged, and %d have passed", n, c.FramesIn)
	}
	if e := red.session.Err(); e != nil {
		t.Errorf("the session has ended: %v", e)
	}
	// What he has is free when he goes.
	mallory.Close()
	waitUntil(t, func() bool { return len(l.segment.bridge.Ports()) == 2 })
	l.segment.claims.mu.RLock()
	for a, g := range l.segment.claims.by {
		if g.ask != nil && (a.ip == other || a.ip == link6 || a.mac == [6]byte(own)) {
			t.Errorf("%v is somebody's still", a)
		}
	}
	l.segment.claims.mu.RUnlock()
}

// One client alone does not use up what is remembered, nor the addresses of others.
func TestClaimsHaveBounds(t *testing.T) {
	var passed int
	cs := &claims{by: map[claim]*guard{}, lan: netip.MustParsePrefix("10.78.0.0/24").Contains}
	sink := link.SinkFunc(func(b *link.Batch) { passed += len(b.Frames) })
	var asked int
	a := &guard{of: cs, next: sink, most: 10, ask: func() { asked++ }}
	c := &guard{of: cs, next: sink, most: 10, ask: func() {}}
	put := func(g *guard, frame []byte) (through bool) {
		b := link.NewBatch()
		defer b.Free()
		b.Add(0, frame, nil)
		before := passed
		g.Put(b)
		return passed > before
	}
	mac := func(n int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, byte(n)} }
	ip := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 78, 0, byte(n)}) }
	for n := range 200 {
		if !put(a, arpOf(ip(n), mac(1))) {
			t.Fatalf("address %d is somebody's", n)
		}
	}
	if len(cs.by) != 10 || len(a.mine) != 10 {
		t.Errorf("%d addresses are remembered", len(cs.by))
	}
	if !put(c, arpOf(ip(100), mac(2))) || put(c, arpOf(ip(1), mac(2))) {
		t.Error("the addresses beyond the bound are taken, or those within are not")
	}
	for range 5 {
		put(c, arpOf(ip(1), mac(2)))
	}
	if asked != 1 {
		t.Errorf("asked %d times whether it is there", asked)
	}
	// A lease counts more than who was first.
	cs.lease(mac(2), ip(1))
	if !put(c, arpOf(ip(1), mac(2))) || put(a, arpOf(ip(1), mac(1))) {
		t.Error("who has been leased an address does not have it")
	}
	// Addresses of other networks are nobody's here: the router drops them.
	if !put(a, ipv4Of(netip.MustParseAddr("192.0.2.1"), mac(1))) || !put(c, ipv4Of(netip.MustParseAddr("192.0.2.1"), mac(2))) {
		t.Error("an address of elsewhere is somebody's")
	}
	cs.leave(a)
	if !put(c, arpOf(ip(2), mac(1))) || len(a.mine) != 0 {
		t.Error("who has left has his addresses still")
	}
	if cs.leave(c); len(cs.by) != 0 {
		t.Errorf("left: %v", cs.by)
	}
	if put(c, arpOf(ip(3), mac(3))); len(cs.by) != 0 {
		t.Error("who has left gets addresses")
	}
}

// Whatever stands in a frame, nothing of it is read that is not there.
func FuzzClaimed(f *testing.F) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, seed := range [][]byte{nil, arpOf(netip.MustParseAddr("10.78.0.9"), mac), ipv4Of(netip.MustParseAddr("10.78.0.9"), mac), ipv6Of(netip.MustParseAddr("fe80::9"), mac, 136, netip.MustParseAddr("fe80::9"))} {
		f.Add(seed)
		f.Add(seed[:len(seed)*2/3])
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		for _, a := range claimed(frame) {
			if a.ip.IsUnspecified() || a.ip.IsMulticast() || a.mac[0]&1 != 0 || a.ip.IsValid() && a.mac != [6]byte{} {
				t.Error(fmt.Sprint(a))
			}
		}
	})
}
