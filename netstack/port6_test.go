package netstack

import (
	"bytes"
	"net/netip"
	"testing"
)

// The Port answers echo requests to our link-local address of its session, and
// nothing else of IPv6 goes anywhere. Two sessions may have the same addresses.
func TestPortAnswersLinkLocalEcho(t *testing.T) {
	s := newStack(t, nil)
	r := newRouter(t, s)
	var one, two basket
	without := attach(t, r, &one, "10.77.0.4/32")
	port := attachWith(t, r, &one, PortConfig{InterfaceID: idA}, "10.77.0.2/32")
	other := attachWith(t, r, &two, PortConfig{InterfaceID: idA}) // the peer rejected IPCP
	own, peer := linkLocal(idA), linkLocal(idB)
	request := icmp6Packet(peer, own, 255, echo6())

	put(without, request)
	if c := without.Counters(); c.NoIPv6 != 1 || c.PacketsIn != 0 {
		t.Errorf("where there is no IPv6: %+v", c)
	}
	reply := echo6()
	reply[0] = 129
	wanted := icmp6Packet(own, peer, 64, reply)
	put(port, request)
	put(other, append(bytes.Clone(request), 0, 0, 0)) // with padding
	for _, got := range [][][]byte{one.take(), two.take()} {
		if len(got) != 1 || !bytes.Equal(got[0], wanted) {
			t.Errorf("answered % x, want\n% x", got, wanted)
		}
	}
	if c := port.Counters(); c.PacketsIn != 1 || c.BytesIn != 54 || c.PacketsOut != 1 || c.BytesOut != 54 {
		t.Errorf("%+v", c)
	}

	global := netip.MustParseAddr("2001:db8::1")
	m := echo6()
	m[0] = 129
	code := echo6()
	code[1] = 1
	damaged := bytes.Clone(request)
	damaged[53] ^= 1
	for _, row := range []struct {
		name   string
		packet []byte
		want   Counters
	}{
		{"a reply", icmp6Packet(peer, own, 64, m), Counters{LinkLocal: 1}},
		{"a request with a code", icmp6Packet(peer, own, 64, code), Counters{LinkLocal: 1}},
		{"a request that is cut short", icmp6Packet(peer, own, 64, echo6()[:7]), Counters{Malformed: 1}},
		{"a request to another address", icmp6Packet(peer, linkLocal(idB), 64, echo6()), Counters{LinkLocal: 1}},
		{"a request to all nodes", icmp6Packet(peer, netip.MustParseAddr("ff02::1"), 64, echo6()), Counters{LinkLocal: 1}},
		{"a request from a global address", icmp6Packet(global, own, 64, echo6()), Counters{LinkLocal: 1}},
		{"a request from our own address", icmp6Packet(own, own, 64, echo6()), Counters{LinkLocal: 1}},
		{"a request from no address", icmp6Packet(netip.IPv6Unspecified(), own, 64, echo6()), Counters{LinkLocal: 1}},
		{"a request from ::1", icmp6Packet(netip.IPv6Loopback(), own, 64, echo6()), Counters{Martian: 1}},
		{"a damaged request", damaged, Counters{Malformed: 1}},
		{"a request that is cut off", request[:50], Counters{Malformed: 1}},
		{"a request larger than the MTU", icmp6Packet(peer, own, 64, append(echo6(), make([]byte, 1400)...)), Counters{LinkLocal: 1}},
		{"a router solicitation", routerSolicitation(peer), Counters{NoIPv6: 1}},
		{"an advertisement", newAdvert().auto(prefixA).packet(), Counters{LinkLocal: 1}},
		{"TCP", ipv6Packet(peer, own, 64, 6, make([]byte, 20)), Counters{LinkLocal: 1}},
		{"to the outside", icmp6Packet(global, netip.MustParseAddr("2001:db8::2"), 64, echo6()), Counters{Spoofed: 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := port.Counters()
			put(port, row.packet)
			got := port.Counters()
			got.subtract(before)
			if got != row.want {
				t.Errorf("counted %+v, want %+v", got, row.want)
			}
			if n := len(one.take()) + len(two.take()); n != 0 {
				t.Errorf("%d packets went out", n)
			}
		})
	}

}

// A client's ping of the server's link-local address, through its own stack.
func TestClientPingsServerLinkLocal(t *testing.T) {
	r := newRouter(t, newStack(t, nil))
	down := newWire(t, &wire{})
	up := newWire(t, &wire{})
	port := attachWith(t, r, down, PortConfig{InterfaceID: idB})
	up.deliverTo(port)
	s := newStack(t, nil)
	n, err := s.AddIP(up, &IPConfig{InterfaceID: idA})
	if err != nil {
		t.Fatal(err)
	}
	down.deliverTo(n)
	for _, size := range []int{0, 1000} {
		if _, err := s.Ping(patience(t), linkLocal(idB), &PingOptions{Size: size}); err != nil {
			t.Error(err)
		}
	}
}
