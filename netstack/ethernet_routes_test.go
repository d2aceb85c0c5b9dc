package netstack

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each of several ways is taken for its own networks, the longest prefix first.
func TestSeveralRoutes(t *testing.T) {
	n, _ := newOwnNIC(t, EthernetConfig{
		Addresses: prefixes("10.0.0.1/24", "10.0.1.1/24", "2001:db8::1/64"), Gateway: netip.MustParseAddr("10.0.0.254"), Gateway6: netip.MustParseAddr("fe80::fe"),
		Routes: []Route{
			{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParseAddr("10.0.1.7")},
			{netip.MustParsePrefix("192.0.2.128/25"), netip.MustParseAddr("10.0.1.8")},
			{Prefix: netip.MustParsePrefix("198.51.100.0/24")},
			{netip.MustParsePrefix("2001:db8:2::/48"), netip.MustParseAddr("2001:db8::7")},
		},
	})
	for dst, want := range map[string]string{
		"10.0.0.9":        "10.0.0.9",
		"10.0.1.9":        "10.0.1.9",
		"192.0.2.1":       "10.0.1.7",
		"192.0.2.129":     "10.0.1.8",
		"198.51.100.5":    "198.51.100.5",
		"203.0.113.1":     "10.0.0.254",
		"2001:db8::9":     "2001:db8::9",
		"2001:db8:2::1":   "2001:db8::7",
		"2001:db8:ffff::": "fe80::fe",
		"fe80::9":         "fe80::9",
	} {
		addr := netip.MustParseAddr(dst)
		n.layer.mu.RLock()
		table := n.layer.routes4
		if addr.Is6() {
			table = n.layer.routes6
		}
		got, ok := table.next(addr)
		n.layer.mu.RUnlock()
		if !ok || got.String() != want {
			t.Errorf("what is for %s goes to %v, want %s", dst, got, want)
		}
	}
	if err := n.WaitIPv6(patience(t)); err != nil {
		t.Errorf("with an IPv6 address and a router: %v", err)
	}
}

func TestInterfacesThatMakeNoSense(t *testing.T) {
	s := newStack(t, nil)
	for want, cfg := range map[string]*EthernetConfig{
		"needs an address":              {NoIPv6: true},
		"no address of a host":          {Addresses: prefixes("10.0.0.0/24")},
		"that of all":                   {Addresses: prefixes("10.0.0.255/24")},
		"such as 192.0.2.2/24":          {Addresses: prefixes("10.0.0.1/32"), Gateway: addrB},
		"cannot be the router":          {Addresses: prefixes("10.0.0.1/24"), Routes: []Route{{netip.MustParsePrefix("2001:db8::/32"), addrB}}},
		"no prefix":                     {Addresses: prefixes("10.0.0.1/24"), Routes: []Route{{Via: addrB}}},
		"only unicast ones":             {Addresses: prefixes("224.0.0.1/24")},
		"an MTU of 9 is not from":       {Addresses: prefixes("10.0.0.1/24"), MTU: 9},
		"cannot be asked without IPv6":  {Addresses: prefixes("10.0.0.1/24"), NoIPv6: true, DNS: []netip.Addr{netip.MustParseAddr("2001:db8::53")}},
		"no IPv6 with an MTU of 1000":   {Addresses: prefixes("2001:db8::1/64"), MTU: 1000},
		"cannot have an IPv6 address":   {Addresses: prefixes("2001:db8::1/64"), NoIPv6: true},
		"cannot have an IPv6 address 2": {Addresses: prefixes("10.0.0.1/24"), NoIPv6: true, Gateway6: netip.MustParseAddr("fe80::1")},
	} {
		want = strings.TrimSuffix(want, " 2")
		if _, err := s.AddEthernet(discard, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q in it", cfg, err, want)
		}
	}
}

// RFC 4861 §6.3.6: routers that do not answer make place for others: "Routers that are
// reachable or probably reachable … SHOULD be preferred".
func TestARouterThatFallsSilent(t *testing.T) {
	n, sent := newOwnNIC(t, EthernetConfig{})
	first, second := linkLocal(idA), linkLocal(idB)
	for _, src := range []netip.Addr{first, second} {
		a := newAdvert().auto(prefixA)
		a.src = src
		put(n, frameOf(groupMAC(allNodes), peerMAC, etherIPv6, a.packet()))
	}
	far := netip.MustParseAddr("2001:db8:f::1")
	next := func() netip.Addr {
		n.layer.mu.RLock()
		defer n.layer.mu.RUnlock()
		a, _ := n.layer.routes6.next(far)
		return a
	}
	if got := next(); got != first {
		t.Fatalf("the way is by %v, want the first router, %v", got, first)
	}
	put(etherDown{n.layer}, icmpv6Packet(n.Addresses()[1], far, 64, []byte{128, 0, 0, 0, 0, 1, 0, 1}))
	for wait := patience(t); next() != second; time.Sleep(10 * time.Millisecond) {
		if wait.Err() != nil {
			t.Fatalf("the way is by %v still, which does not answer", next())
		}
	}
	sent.take()
}

// Names are resolved by the servers that DHCP has told.
func TestNamesByDHCP(t *testing.T) {
	p := newEtherPair(t, &EthernetConfig{DHCP: true, NoIPv6: true},
		&EthernetConfig{Addresses: prefixes("10.0.0.2/24"), Forwarder: answerTCP(), DHCPServer: newDHCPServer(t)})
	serveDNS(t, p.b, addrB, func(q query) [][]byte {
		return [][]byte{q.reply(nil, a(q.name.String(), "203.0.113.5"))}
	})
	if err := p.nicA.Wait(patience(t)); err != nil {
		t.Fatal(err)
	}
	got, err := p.a.LookupHost(patience(t), "www.example.com")
	if err != nil || !slices.Equal(got, []string{"203.0.113.5"}) {
		t.Errorf("%v, %v", got, err)
	}
	c, err := p.a.DialContext(patience(t), "tcp", "www.example.com:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(b), " to 203.0.113.5:80") {
		t.Errorf("%q, %v", b, err)
	}
}

// A connection is begun from the address that is in the same subnet as whom it goes to, or
// as the router on the way.
func TestFromWhichAddress(t *testing.T) {
	p := newEtherPair(t,
		&EthernetConfig{
			Addresses: prefixes("10.0.0.1/24", "10.0.1.1/24"), Gateway: netip.MustParseAddr("10.0.0.2"),
			Routes: []Route{{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParseAddr("10.0.1.2")}},
		},
		&EthernetConfig{Addresses: prefixes("10.0.0.2/24", "10.0.1.2/24"), Forwarder: answerTCP()})
	for to, from := range map[string]string{"192.0.2.5": "10.0.1.1", "203.0.113.5": "10.0.0.1"} {
		c, err := p.a.DialContext(patience(t), "tcp", to+":80")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), from+" to ") {
			t.Errorf("%q, %v, want it from %s", got, err, from)
		}
		c.Close()
	}
	ln, err := p.b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := p.a.DialContext(patience(t), "tcp", "10.0.1.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := netip.MustParseAddrPort(c.LocalAddr().String()).Addr().String(); got != "10.0.1.1" {
		t.Errorf("to 10.0.1.2 from %s, want 10.0.1.1", got)
	}
}
