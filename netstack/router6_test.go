package netstack

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

var gateway6 = netip.MustParseAddr("2001:db8::1")

func newRouter6(t testing.TB, s *Stack, cfg RoutedConfig) *Router {
	cfg.Addresses = []netip.Addr{gateway, gateway6}
	r, err := s.AddRouted(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sessionNet is the /64 of the session with this number.
func sessionNet(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:0:%x::/64", i))
}

// newClient6 is a client of both IP versions, once it has made an address from what it
// was told. All of them have the same link-local addresses, and so has the server.
func newClient6(t *testing.T, r *Router, i, mtu int) *client {
	up, down := newWire(t, &wire{}), newWire(t, &wire{})
	c := &client{stack: newStack(t, nil)}
	nic, err := c.stack.AddIP(up, &IPConfig{
		Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(i)}), 32)}, InterfaceID: idA, MTU: mtu,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.nic = nic
	down.deliverTo(nic)
	c.port = attachWith(t, r, down, PortConfig{
		InterfaceID: idB, Prefix: sessionNet(i), MTU: mtu, DNS: []netip.Addr{gateway6},
	}, fmt.Sprintf("10.77.0.%d/32", i))
	up.deliverTo(c.port)
	if err := nic.WaitIPv6(patience(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// addresses are the client's IPv4 address and its global one of IPv6.
func (c *client) addresses() (v4, v6 netip.Addr) {
	all := c.nic.Addresses()
	return all[0], all[1]
}

// Issue: "IPv6 prefix per session by router advertisements answered per session below
// the stack".
func TestClientsHaveIPv6FromAdvertisements(t *testing.T) {
	server := newStack(t, nil)
	r := newRouter6(t, server, RoutedConfig{})
	one, two := newClient6(t, r, 2, 0), newClient6(t, r, 3, 0)
	for i, c := range []*client{one, two} {
		_, addr := c.addresses()
		if !sessionNet(i + 2).Contains(addr) {
			t.Errorf("client %d made the address %v", i, addr)
		}
		if dns := c.nic.DNS(); len(dns) != 1 || dns[0] != gateway6 {
			t.Errorf("client %d was told of DNS servers at %v", i, dns)
		}
		for _, to := range []netip.Addr{gateway6, gateway, linkLocal(idB)} {
			if _, err := c.stack.Ping(patience(t), to, nil); err != nil {
				t.Errorf("client %d pings %v: %v", i, to, err)
			}
		}
		bulk(t, c.stack, server, gateway6)
		bulk(t, server, c.stack, addr)
	}
	// Not from one client to another: that is not allowed here.
	_, addr := two.addresses()
	before := one.port.Counters()
	u, err := one.stack.Dial("udp", netip.AddrPortFrom(addr, 9).String())
	if err != nil {
		t.Fatal(err)
	}
	u.Write([]byte("hello"))
	u.Close()
	for ctx := patience(t); one.port.Counters().ClientToClient == before.ClientToClient; time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("the packet has not come")
		}
	}
	if out := two.port.Counters(); out.Switched != 0 {
		t.Errorf("%+v", out)
	}
}

// bulk sends a stream both ways over one connection from a to b.
func bulk(t *testing.T, a, b *Stack, addr netip.Addr) {
	t.Helper()
	ln, err := b.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const size = 300_000
	talk := func(c net.Conn) {
		defer c.Close()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := io.Copy(struct{ io.Writer }{c}, &pattern{size: size}); err != nil {
				t.Error(err)
			}
			c.(interface{ CloseWrite() error }).CloseWrite()
		})
		if err := sameStream(c, size); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if c, err := ln.Accept(); err == nil {
			talk(c)
		}
	})
	c, err := a.DialContext(patience(t), "tcp", at(addr, ln.Addr()))
	if err != nil {
		ln.Close()
		t.Fatal(err)
	}
	talk(c)
}

// A session may send from its own prefixes only, as with IPv4, and what is on its link
// stays there.
func TestRouterChecksIPv6Source(t *testing.T) {
	s := newStack(t, nil)
	r := newRouter6(t, s, RoutedConfig{})
	var one, two basket
	delegated := netip.MustParsePrefix("2001:db8:100::/56")
	port := attachWith(t, r, &one, PortConfig{InterfaceID: idA, Prefix: sessionNet(2), Delegated: delegated}, "2001:db8:200::7/128")
	attachWith(t, r, &two, PortConfig{InterfaceID: idA, Prefix: sessionNet(3)})
	one.take()
	two.take()
	answered := Counters{PacketsIn: 1, BytesIn: 54, PacketsOut: 1, BytesOut: 54}
	for _, row := range []struct {
		name, src, dst string
		want           Counters
	}{
		{"from its prefix", "2001:db8:0:2::5", "2001:db8::1", answered},
		{"from the delegated one", "2001:db8:100:77::5", "2001:db8::1", answered},
		{"from an address routed to it", "2001:db8:200::7", "2001:db8::1", answered},
		{"from beside that", "2001:db8:200::8", "2001:db8::1", Counters{Spoofed: 1}},
		{"from beyond the delegated one", "2001:db8:100:100::5", "2001:db8::1", Counters{Spoofed: 1}},
		{"from another's prefix", "2001:db8:0:3::5", "2001:db8::1", Counters{Spoofed: 1}},
		{"from the gateway", "2001:db8::1", "2001:db8::1", Counters{Spoofed: 1}},
		{"from nowhere to the gateway", "::", "2001:db8::1", Counters{LinkLocal: 1}},
		{"from its link-local address to the gateway", "fe80::5", "2001:db8::1", Counters{LinkLocal: 1}},
		{"from its link-local address to another's prefix", "fe80::5", "2001:db8:0:3::5", Counters{LinkLocal: 1}},
		{"to a link-local address", "2001:db8:0:2::5", linkLocal(idA).String(), Counters{LinkLocal: 1}},
		{"to all nodes", "2001:db8:0:2::5", "ff02::1", Counters{LinkLocal: 1}},
		{"to all of the site", "2001:db8:0:2::5", "ff05::2", Counters{LinkLocal: 1}},
		{"to another client", "2001:db8:0:2::5", "2001:db8:0:3::5", Counters{ClientToClient: 1}},
		{"to itself", "2001:db8:0:2::5", "2001:db8:100::5", Counters{ClientToClient: 1}},
		{"beyond the server, which forwards nothing", "2001:db8:0:2::5", "2001:db8:ffff::5", Counters{PacketsIn: 1, BytesIn: 54}},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := port.Counters()
			src, dst := netip.MustParseAddr(row.src), netip.MustParseAddr(row.dst)
			put(port, icmp6Packet(src, dst, 64, echo6()))
			got := port.Counters()
			got.subtract(before)
			if got != row.want {
				t.Errorf("counted %+v, want %+v", got, row.want)
			}
			for _, a := range one.take() {
				if netip.AddrFrom16([16]byte(a[8:])) != dst || netip.AddrFrom16([16]byte(a[24:])) != src {
					t.Errorf("the answer is % x", a)
				}
			}
			if n := len(two.take()); n != 0 {
				t.Errorf("the other session was sent %d packets", n)
			}
		})
	}
	// What is closed is free again.
	port.Close()
	attachWith(t, r, discard, PortConfig{InterfaceID: idA, Prefix: sessionNet(2), Delegated: delegated})
}

func TestAttachRefusesIPv6(t *testing.T) {
	r := newRouter6(t, newStack(t, nil), RoutedConfig{})
	attachWith(t, r, discard, PortConfig{InterfaceID: idA, Prefix: sessionNet(2)})
	prefix := netip.MustParsePrefix
	for _, row := range []struct {
		cfg  PortConfig
		want string
	}{
		{PortConfig{InterfaceID: idA, Prefix: sessionNet(2)}, "2001:db8:0:2::/64 is attached already"},
		{PortConfig{InterfaceID: idA, Prefix: prefix("2001:db8:0:4::/63")}, "only a prefix of 64 bits"},
		{PortConfig{InterfaceID: idA, Prefix: prefix("2001:db8::/64")}, "the server's own address 2001:db8::1"},
		{PortConfig{InterfaceID: idA, Prefix: prefix("2001:db8:0:4::5/64")}, "not a prefix of unicast"},
		{PortConfig{InterfaceID: idA, Prefix: prefix("10.0.0.0/8")}, "only a prefix of 64 bits"},
		{PortConfig{InterfaceID: idA, Delegated: prefix("2001:db8:0:4::/65")}, "cannot be delegated, only 64 bits or less"},
		{PortConfig{InterfaceID: idA, Prefix: sessionNet(5), Delegated: prefix("2001:db8:0:4::/62")}, "cannot be delegated"},
		{PortConfig{InterfaceID: idA, Prefix: sessionNet(5), Delegated: prefix("10.4.0.0/16")}, "cannot be delegated"},
		{PortConfig{InterfaceID: idA, DNS: []netip.Addr{gateway}}, "only global addresses of IPv6"},
		{PortConfig{InterfaceID: idA, DNS: make([]netip.Addr, 9)}, "9 DNS servers are more than the 8"},
		{PortConfig{MTU: 67}, "an MTU of 67 is not from 68 to 65535"},
	} {
		if _, err := r.Attach(&row.cfg, discard); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v, want %q", row.cfg, err, row.want)
		}
	}
	// Nothing of what was refused is left.
	attachWith(t, r, discard, PortConfig{InterfaceID: idA, Prefix: sessionNet(5), Delegated: prefix("2001:db8:0:8::/62")}, "10.77.0.5/32")
	// RFC 8200 §5: "IPv6 requires that every link in the Internet have an MTU of 1280
	// octets or greater." A session with less has IPv4 alone.
	for i, cfg := range []PortConfig{{MTU: 1279, InterfaceID: idA, Prefix: sessionNet(6)}, {Prefix: sessionNet(6)}} {
		var sent basket
		p := attachWith(t, r, &sent, cfg, fmt.Sprintf("10.77.1.%d/32", i))
		put(p, routerSolicitation(linkLocal(idB)))
		if c := p.Counters(); c.NoIPv6 != 1 || len(sent.take()) != 0 || r.port(sessionNet(6).Addr()) != nil {
			t.Errorf("%+v: %+v", cfg, c)
		}
	}
}

// A session that carries less than the others is no black hole: neither for full
// segments of TCP, whose size is clamped, nor for longer datagrams, nor for echo
// requests, which are fragmented.
func TestNarrowSession(t *testing.T) {
	server := newStack(t, nil)
	r := newRouter6(t, server, RoutedConfig{MTU: 1500})
	c := newClient6(t, r, 2, 1300)
	wide := newClient6(t, r, 3, 0)
	var longest int
	var mu sync.Mutex
	watch := func(p []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		longest = max(longest, len(p))
		return p
	}
	long := func() int {
		mu.Lock()
		defer mu.Unlock()
		return longest
	}
	c.port.out.(*wire).setTamper(watch)
	v4, v6 := c.addresses()
	for _, a := range []struct{ client, gateway netip.Addr }{{v4, gateway}, {v6, gateway6}} {
		bulk(t, c.stack, server, a.gateway)
		bulk(t, server, c.stack, a.client)
	}
	if n := c.port.Counters().Fragmented; n != 0 {
		t.Errorf("%d segments of TCP were fragmented", n)
	}
	// gVisor leaves room for all options in each segment.
	if n := long(); n > 1300 || n < 1300-header.TCPOptionsMaximumSize {
		t.Errorf("the longest segment was %d bytes, want 1300 or little less", n)
	}
	for i, size := range []int{100, 1272, 1273, 1452, 1453, 8000} {
		for _, a := range []struct{ client, gateway netip.Addr }{{v4, gateway}, {v6, gateway6}} {
			echoUDP(t, c.stack, server, a.gateway, size)
			echoUDP(t, server, c.stack, a.client, size)
			if _, err := server.Ping(patience(t), a.client, &PingOptions{Size: size}); err != nil {
				t.Errorf("echo %d of %d bytes: %v", i, size, err)
			}
		}
	}
	counted := c.port.Counters()
	if counted.Fragmented == 0 || counted.TooLong != 0 || long() > 1300 {
		t.Errorf("%+v; the longest was %d bytes", counted, long())
	}
	if n := wide.port.Counters().Fragmented; n != 0 {
		t.Errorf("%d packets to a wide session were fragmented", n)
	}
}

// echoUDP has b answer a datagram of a's.
func echoUDP(t *testing.T, a, b *Stack, addr netip.Addr, size int) {
	t.Helper()
	server, err := b.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := a.DialContext(patience(t), "udp", at(addr, server.LocalAddr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	deadline, _ := patience(t).Deadline()
	client.SetDeadline(deadline)
	server.SetDeadline(deadline)
	sent, _ := io.ReadAll(&pattern{size: size})
	client.Write(sent)
	buf := make([]byte, 10_000)
	n, from, err := server.ReadFrom(buf)
	if err != nil || !bytes.Equal(buf[:n], sent) {
		t.Fatalf("a datagram of %d bytes came as %d, %v", size, n, err)
	}
	server.WriteTo(buf[:n], from)
	if n, err = client.Read(buf); err != nil || !bytes.Equal(buf[:n], sent) {
		t.Fatalf("an answer of %d bytes came as %d, %v", size, n, err)
	}
}

// RFC 4459 §3.2.3: what lies behind a session may not know how little that carries, and
// be told by nobody, where ICMP is lost: then the segment size must be small enough in
// both directions, to the server as to another session.
func TestNetworkBehindNarrowSession(t *testing.T) {
	server := newStack(t, nil)
	r := newRouter6(t, server, RoutedConfig{MTU: 1500, ClientToClient: true})
	behind := func(i, mtu int) (c *client, longest func() int) {
		up, down := newWire(t, &wire{}), newWire(t, &wire{})
		c = &client{stack: newStack(t, nil)}
		addr := netip.AddrFrom4([4]byte{10, 77, 0, byte(i)})
		nic, err := c.stack.AddIP(up, &IPConfig{Addresses: []netip.Prefix{netip.PrefixFrom(addr, 32)}, MTU: 1500})
		if err != nil {
			t.Fatal(err)
		}
		c.nic = nic
		down.deliverTo(nic)
		c.port = attachWith(t, r, down, PortConfig{MTU: mtu}, addr.String()+"/32")
		up.deliverTo(c.port)
		var n atomic.Int64
		for _, w := range []*wire{up, down} {
			w.setTamper(func(p []byte) []byte {
				for was := n.Load(); int(was) < len(p) && !n.CompareAndSwap(was, int64(len(p))); was = n.Load() {
				}
				return p
			})
		}
		return c, func() int { return int(n.Load()) }
	}
	narrow, longest := behind(2, 1300)
	wide, other := behind(3, 0)
	for _, way := range []struct {
		name     string
		from, to *Stack
		at       netip.Addr
	}{
		{"to the server", narrow.stack, server, gateway},
		{"from the server", server, narrow.stack, narrow.nic.Addresses()[0]},
		{"to another session", narrow.stack, wide.stack, wide.nic.Addresses()[0]},
		{"from another session", wide.stack, narrow.stack, narrow.nic.Addresses()[0]},
	} {
		bulk(t, way.from, way.to, way.at)
		a, b := narrow.port.Counters(), wide.port.Counters()
		if a.Fragmented+a.TooLong+b.TooLong != 0 || longest() > 1300 || other() > 1300 {
			t.Errorf("%s: the longest packets are %d and %d bytes; %+v, %+v", way.name, longest(), other(), a, b)
		}
	}
}
