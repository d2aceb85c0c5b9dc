package netstack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

var (
	idA     = [8]byte{0xaa, 1, 2, 3, 4, 5, 6, 7}
	idB     = [8]byte{0xbb, 1, 2, 3, 4, 5, 6, 7}
	router  = netip.MustParseAddr("fe80::1")
	prefixA = netip.MustParsePrefix("2001:db8:a::/64")
	prefixB = netip.MustParsePrefix("2001:db8:b::/64")
)

// An advert is a Router Advertisement in the making (RFC 4861 §4.2).
type advert struct {
	src      netip.Addr
	hopLimit byte
	code     byte
	lifetime uint16
	options  []byte
	damage   bool // a wrong checksum
}

func newAdvert() *advert { return &advert{src: router, hopLimit: 255, lifetime: 1800} }

// prefix adds a Prefix Information option (RFC 4861 §4.6.2).
func (a *advert) prefix(p netip.Prefix, flags byte, valid, preferred uint32) *advert {
	a.options = append(a.options, 3, 4, byte(p.Bits()), flags)
	a.options = binary.BigEndian.AppendUint32(a.options, valid)
	a.options = binary.BigEndian.AppendUint32(a.options, preferred)
	a.options = append(a.options, 0, 0, 0, 0)
	addr := p.Addr().As16()
	a.options = append(a.options, addr[:]...)
	return a
}

// auto adds a prefix with the A flag.
func (a *advert) auto(p netip.Prefix) *advert { return a.prefix(p, 0xc0, 7200, 3600) }

func (a *advert) mtu(n uint32) *advert {
	a.options = binary.BigEndian.AppendUint32(append(a.options, 5, 1, 0, 0), n)
	return a
}

// rdnss adds a Recursive DNS Server option (RFC 8106 §5.1).
func (a *advert) rdnss(lifetime uint32, servers ...string) *advert {
	a.options = append(a.options, 25, byte(1+2*len(servers)), 0, 0)
	a.options = binary.BigEndian.AppendUint32(a.options, lifetime)
	for _, s := range servers {
		addr := netip.MustParseAddr(s).As16()
		a.options = append(a.options, addr[:]...)
	}
	return a
}

func (a *advert) packet() []byte {
	m := []byte{134, a.code, 0, 0, 64, 0, byte(a.lifetime >> 8), byte(a.lifetime), 0, 0, 0, 0, 0, 0, 0, 0}
	p := icmp6Packet(a.src, netip.MustParseAddr("ff02::1"), a.hopLimit, append(m, a.options...))
	if a.damage {
		p[43]++
	}
	return p
}

func ipv6Packet(src, dst netip.Addr, hopLimit, next byte, payload []byte) []byte {
	p := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), next, hopLimit}
	s, d := src.As16(), dst.As16()
	return append(append(append(p, s[:]...), d[:]...), payload...)
}

// icmp6Packet is an ICMPv6 packet whose checksum is right: summed up as RFC
// 4443 §2.3 says, and not as the code that is tested does it.
func icmp6Packet(src, dst netip.Addr, hopLimit byte, m []byte) []byte {
	p := ipv6Packet(src, dst, hopLimit, 58, m)
	p[42], p[43] = 0, 0
	pseudo := append(append([]byte(nil), p[8:40]...), 0, 0, byte(len(m)>>8), byte(len(m)), 0, 0, 0, 58)
	s := ^checksumOf(append(pseudo, p[40:]...))
	p[42], p[43] = byte(s>>8), byte(s)
	return p
}

func echo6() []byte { return []byte{128, 0, 0, 0, 0, 1, 0, 1, 'h', 'e', 'l', 'l', 'o', '!'} }

// newPair6 joins two stacks that have IPv6, and IPv4 if it is wanted.
func newPair6(t *testing.T, like *wire, cfg *Config, ipv4 bool, dns ...netip.Addr) *pair {
	if like == nil {
		like = &wire{}
	}
	p := &pair{}
	p.ab = newWire(t, &wire{lose: like.lose, double: like.double, exchange: like.exchange})
	p.ba = newWire(t, &wire{lose: like.lose, double: like.double, exchange: like.exchange})
	p.a, p.b = newStack(t, cfg), newStack(t, nil)
	add := func(s *Stack, out *wire, id [8]byte, addr netip.Addr, dns []netip.Addr) *NIC {
		c := &IPConfig{InterfaceID: id, DNS: dns}
		if ipv4 {
			c.Addresses = []netip.Prefix{netip.PrefixFrom(addr, 32)}
		}
		n, err := s.AddIP(out, c)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	p.nicA, p.nicB = add(p.a, p.ab, idA, addrA, dns), add(p.b, p.ba, idB, addrB, nil)
	p.ab.deliverTo(p.nicB)
	p.ba.deliverTo(p.nicA)
	return p
}

// advertise gives both stacks an address, a route and what the options add to a.
func (p *pair) advertise(t *testing.T, a *advert) (a6, b6 netip.Addr) {
	put(p.nicA, a.auto(prefixA).packet())
	put(p.nicB, newAdvert().auto(prefixB).packet())
	for _, n := range []*NIC{p.nicA, p.nicB} {
		if err := n.WaitIPv6(patience(t)); err != nil {
			t.Fatal(err)
		}
	}
	return p.nicA.Addresses()[len(p.nicA.addrs)], p.nicB.Addresses()[len(p.nicB.addrs)]
}

func TestIPv6Addresses(t *testing.T) {
	p := newPair6(t, nil, nil, true)
	if got := p.nicA.Addresses(); len(got) != 2 || got[0] != addrA || got[1] != netip.MustParseAddr("fe80::aa01:203:405:607%1") {
		t.Errorf("at first the addresses are %v", got)
	}
	a6, _ := p.advertise(t, newAdvert())
	if !prefixA.Contains(a6) || [8]byte(a6.AsSlice()[8:]) == idA {
		t.Errorf("autoconfigured %v, want an address in %v that does not show the interface identifier", a6, prefixA)
	}
}

// What goes out on a NIC with IPv6 until a router advertises is one Router
// Solicitation, at once; without IPv6 nothing goes out, and what comes in is dropped.
func TestSolicitsAtOnce(t *testing.T) {
	packets := make(chan []byte, 10)
	out := link.SinkFunc(func(b *link.Batch) { packets <- b.Frames[0].AppendTo(nil) })
	s := newStack(t, nil)
	n, err := s.AddIP(out, &IPConfig{InterfaceID: idA})
	if err != nil {
		t.Fatal(err)
	}
	if p := <-packets; !bytes.Equal(p, routerSolicitation(linkLocal(idA))) {
		t.Errorf("sent % x", p)
	}
	put(n, newAdvert().auto(prefixA).packet())
	n.v6.mu.Lock()
	if !n.v6.auto.solicit.IsZero() {
		t.Error("it goes on soliciting")
	}
	n.v6.mu.Unlock()
	if c := n.Counters(); c.PacketsOut != 1 || c.BytesOut != 48 || c.PacketsIn != 1 {
		t.Errorf("%+v", c)
	}

	four := addIP(t, newStack(t, nil), out, addrA)
	put(four, newAdvert().auto(prefixA).packet())
	if c := four.Counters(); c.NoIPv6 != 1 || c.PacketsIn != 0 || len(packets) != 0 {
		t.Errorf("without IPv6: %+v", c)
	}
	if err := four.WaitIPv6(t.Context()); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("waiting for IPv6 that will not come: %v", err)
	}
	if four.Changed() != nil {
		t.Error("without IPv6 something is going to change")
	}
}

// The same key makes the same address in the same prefix, in another stack too.
func TestAddressKey(t *testing.T) {
	address := func(key []byte) netip.Addr {
		n, err := newStack(t, &Config{AddressKey: key}).AddIP(discard, &IPConfig{InterfaceID: idA})
		if err != nil {
			t.Fatal(err)
		}
		put(n, newAdvert().auto(prefixA).packet())
		return n.Addresses()[0]
	}
	key := []byte("0123456789abcdef")
	if a, b := address(key), address(key); a != b {
		t.Errorf("%v, and then %v", a, b)
	}
	if a, b := address(nil), address(nil); a == b {
		t.Errorf("%v twice without a key", a)
	}
	if _, err := New(&Config{AddressKey: key[:15]}); err == nil || !strings.Contains(err.Error(), "15 bytes") {
		t.Errorf("a short key: %v", err)
	}
}

func TestAddIPv6Refuses(t *testing.T) {
	s := newStack(t, nil)
	for _, row := range []struct {
		cfg  IPConfig
		want string
	}{
		{IPConfig{}, "needs an address"},
		{IPConfig{InterfaceID: idA, MTU: 1279}, "no IPv6 with an MTU of 1279: it needs 1280"},
		{IPConfig{Addresses: []netip.Prefix{prefixA}}, "an interface without IPv6"},
		{IPConfig{Addresses: []netip.Prefix{netip.PrefixFrom(addrA, 32)}, DNS: []netip.Addr{netip.MustParseAddr("2001:db8::53")}}, "without IPv6"},
	} {
		if _, err := s.AddIP(discard, &row.cfg); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v, want %q", row.cfg, err, row.want)
		}
	}
}

// A router comes and goes: addresses, DNS servers and the default route with it.
func TestRouterComesAndGoes(t *testing.T) {
	p := newPair6(t, nil, nil, true, addrB)
	dial := func() error {
		c, err := p.a.DialContext(patience(t), "udp", "[2001:db8:b::1]:9")
		if err == nil {
			c.Close()
		}
		return err
	}
	want(t, "a dial before a router is there", dial(), syscall.ENETUNREACH)

	changed := p.nicA.Changed()
	put(p.nicA, newAdvert().auto(prefixA).rdnss(60, "2001:db8::53", "fe80::53").mtu(1300).packet())
	<-changed
	if err := dial(); err != nil {
		t.Errorf("with a router: %v", err)
	}
	servers := []netip.Addr{addrB, netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("fe80::53%1")}
	if got := p.nicA.DNS(); !slices.Equal(got, servers) || !slices.Equal(p.a.servers(), servers) {
		t.Errorf("the DNS servers are %v and %v, want %v", got, p.a.servers(), servers)
	}
	if mtu := p.nicA.ep.MTU(); mtu != 1300 {
		t.Errorf("the MTU is %d", mtu)
	}

	// The same again changes nothing.
	changed = p.nicA.Changed()
	put(p.nicA, newAdvert().auto(prefixA).rdnss(60, "2001:db8::53", "fe80::53").mtu(1300).packet())
	select {
	case <-changed:
		t.Error("something has changed")
	default:
	}

	// The prefix is deprecated: the address stays, and is the last choice.
	put(p.nicA, newAdvert().prefix(prefixA, 0xc0, 0, 0).auto(prefixB).packet())
	<-changed
	if got := p.nicA.Addresses(); len(got) != 4 || !prefixB.Contains(got[1]) || !prefixA.Contains(got[2]) {
		t.Errorf("the addresses are %v", got)
	}
	c, err := p.a.DialContext(patience(t), "udp", "[2001:db8:a::1]:9")
	if err != nil {
		t.Fatal(err)
	}
	if local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(); !prefixB.Contains(local) {
		t.Errorf("dialled from %v, which is deprecated", local)
	}
	c.Close()

	changed = p.nicA.Changed()
	gone := newAdvert()
	gone.lifetime = 0
	put(p.nicA, gone.packet())
	<-changed
	want(t, "a dial after the router has gone", dial(), syscall.ENETUNREACH)
}

// What is not a valid advertisement changes nothing, whatever it promises.
func TestForgedAdverts(t *testing.T) {
	p := newPair6(t, nil, nil, false)
	before := p.nicA.Addresses()
	forged := map[string]*advert{
		"hop limit 254":         newAdvert(),
		"from a global address": newAdvert(),
		"a wrong checksum":      newAdvert(),
		"a multicast prefix":    newAdvert().auto(netip.MustParsePrefix("ff02::/64")),
	}
	forged["hop limit 254"].auto(prefixA).hopLimit = 254
	forged["from a global address"].auto(prefixA).src = netip.MustParseAddr("2001:db8::1")
	forged["a wrong checksum"].auto(prefixA).damage = true
	for name, a := range forged {
		put(p.nicA, a.packet())
		if got := p.nicA.Addresses(); !slices.Equal(got, before) {
			t.Errorf("%s: the addresses are %v", name, got)
		}
		_, err := p.a.Dial("udp", "[2001:db8:b::1]:9")
		want(t, name+": a dial", err, syscall.ENETUNREACH)
	}
}

// When an address is no longer valid its connections are reset, and it is gone.
func TestAddressExpires(t *testing.T) {
	p := newPair6(t, nil, nil, false)
	put(p.nicB, newAdvert().auto(prefixB).packet())
	put(p.nicA, newAdvert().prefix(prefixA, 0x40, 1, 1).packet())
	ln, err := p.b.Listen("tcp6", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	b6 := p.nicB.Addresses()[0]
	c, err := p.a.DialContext(patience(t), "tcp", netip.AddrPortFrom(b6, 80).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(30 * time.Second)) // the test has failed by then
	if _, err = c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNABORTED) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection from an address that has expired: %v", err)
	}
	for len(p.nicA.Addresses()) > 1 {
		changed := p.nicA.Changed()
		if len(p.nicA.Addresses()) > 1 {
			<-changed
		}
	}
}

func TestTCPOverIPv6(t *testing.T) {
	for _, row := range []struct {
		name     string
		like     *wire
		up, down int
	}{
		{"over a clean link", &wire{}, 8 << 20, 1 << 20},
		{"over a bad link", &wire{lose: 0.01, double: 0.02, exchange: 0.02}, 1 << 20, 256 << 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPair6(t, row.like, nil, false)
			_, b6 := p.advertise(t, newAdvert())
			ln, err := p.b.Listen("tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			client, err := p.a.DialContext(patience(t), "tcp", netip.AddrPortFrom(b6, 80).String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if client.LocalAddr().String() != server.RemoteAddr().String() || client.RemoteAddr().String() != server.LocalAddr().String() {
				t.Errorf("the client is %v to %v, the server %v to %v",
					client.LocalAddr(), client.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				defer server.Close()
				if err := sameStream(server, row.up); err != nil {
					t.Errorf("upwards: %v", err)
				}
				if _, err := io.Copy(server, &pattern{size: row.down}); err != nil {
					t.Errorf("downwards: %v", err)
				}
			})
			if _, err := io.Copy(client, &pattern{size: row.up}); err != nil {
				t.Fatalf("upwards: %v", err)
			}
			if err := client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := sameStream(client, row.down); err != nil {
				t.Errorf("downwards: %v", err)
			}
			wg.Wait()
			p.ab.mu.Lock()
			defer p.ab.mu.Unlock()
			if p.ab.largest < 2 || p.ab.largest > link.BatchMax {
				t.Errorf("the largest batch had %d frames", p.ab.largest)
			}
		})
	}
}

func TestRefusedOverIPv6(t *testing.T) {
	p := newPair6(t, nil, nil, false)
	_, b6 := p.advertise(t, newAdvert())
	to := netip.AddrPortFrom(b6, 81).String()
	_, err := p.a.DialContext(patience(t), "tcp", to)
	want(t, "a dial to a port that nobody listens at", err, syscall.ECONNREFUSED)
	c, err := p.a.Dial("udp6", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("anybody?")); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(make([]byte, 1))
	want(t, "the read after an ICMPv6 port unreachable", err, syscall.ECONNREFUSED)
}

// One UDP socket has both families, and says of each datagram where it is from.
// Long ones go in fragments no longer than the MTU that the router said.
func TestUDPOverBothFamilies(t *testing.T) {
	p := newPair6(t, nil, nil, true)
	_, b6 := p.advertise(t, newAdvert().mtu(1280))
	p.ab.setTamper(func(f []byte) []byte {
		if len(f) > 1280 {
			t.Errorf("a packet of %d bytes", len(f))
		}
		return f
	})
	server, err := p.b.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := p.a.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	large := bytes.Repeat([]byte("0123456789"), 500)
	for _, to := range []netip.Addr{b6, addrB, linkLocal(idB), linkLocal(idB).WithZone("1")} {
		for _, datagram := range [][]byte{[]byte("question"), large} {
			b := make([]byte, 10_000)
			if _, err := client.WriteTo(datagram, udpAddr(netip.AddrPortFrom(to, 53))); err != nil {
				t.Fatal(to, err)
			}
			n, from, err := server.ReadFrom(b)
			if err != nil || !bytes.Equal(b[:n], datagram) || from.(*net.UDPAddr).AddrPort().Addr().Is4() != to.Is4() {
				t.Fatalf("%d bytes from %v, %v, want %d", n, from, err, len(datagram))
			}
			if _, err := server.WriteTo(b[:n], from); err != nil {
				t.Fatal(err)
			}
			n, from, err = client.ReadFrom(b)
			if got := from.(*net.UDPAddr).AddrPort().Addr(); err != nil || n != len(datagram) || got.WithZone("") != to.WithZone("") {
				t.Fatalf("the answer has %d bytes from %v, %v", n, from, err)
			}
		}
	}
}

func TestUDPOfOneFamily(t *testing.T) {
	p := newPair6(t, nil, nil, true)
	p.advertise(t, newAdvert())
	for _, row := range []struct {
		network string
		to      string
	}{
		{"udp4", "[2001:db8:b::1]:9"}, {"udp6", "10.0.0.2:9"}, {"udp", "[::1]:9"}, {"udp", "[fe80::1%9]:9"}, {"udp", "[::]:9"},
	} {
		pc, err := p.a.ListenPacket(row.network, ":0")
		if err != nil {
			t.Fatal(err)
		}
		_, err = pc.WriteTo([]byte("x"), udpAddr(netip.MustParseAddrPort(row.to)))
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Errorf("%s to %s: %v", row.network, row.to, err)
		}
		pc.Close()
	}
	// A port of both families is taken in both; one of one family only in that.
	for _, row := range []struct{ first, second string }{{"tcp", "tcp4"}, {"tcp", "tcp6"}, {"tcp4", "tcp"}} {
		first, err := p.a.Listen(row.first, ":80")
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.a.Listen(row.second, ":80")
		want(t, row.second+" after "+row.first, err, syscall.EADDRINUSE)
		first.Close()
	}
	four, err := p.a.Listen("tcp4", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer four.Close()
	six, err := p.a.Listen("tcp6", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	if four.Addr().String() != "0.0.0.0:80" || six.Addr().String() != "[::]:80" {
		t.Errorf("listening at %v and %v", four.Addr(), six.Addr())
	}
}

func TestPingIPv6(t *testing.T) {
	p := newPair6(t, nil, nil, false)
	_, b6 := p.advertise(t, newAdvert())
	for _, row := range []struct {
		name string
		to   netip.Addr
		opts *PingOptions
		size int
	}{
		{"the default", b6, nil, 64},
		{"an id and a number of our own", b6, &PingOptions{ID: 4711, Seq: 42, Size: 100}, 108},
		{"no payload", b6, &PingOptions{Size: -1}, 8},
		{"in fragments", b6, &PingOptions{Size: 5000}, 5008},
		{"link-local", linkLocal(idB), nil, 64},
		{"link-local with its zone", linkLocal(idB).WithZone("1"), nil, 64},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := p.a.Ping(patience(t), row.to, row.opts)
			if err != nil {
				t.Fatal(err)
			}
			if r.Size != row.size || r.TTL != 64 || r.RTT <= 0 || r.ID == 0 {
				t.Errorf("%+v, want %d bytes and a hop limit of 64", *r, row.size)
			}
			if row.opts != nil && (r.Seq != row.opts.Seq || row.opts.ID != 0 && r.ID != row.opts.ID) {
				t.Errorf("%+v does not answer %+v", *r, *row.opts)
			}
		})
	}
	_, err := p.a.Ping(patience(t), b6, &PingOptions{Size: 65528})
	if err == nil || !strings.Contains(err.Error(), "more than 65527") {
		t.Errorf("a ping that is too long: %v", err)
	}
	_, err = p.a.Ping(patience(t), linkLocal(idB).WithZone("2"), nil)
	if err == nil || !strings.Contains(err.Error(), "no interface with IPv6 has this zone") {
		t.Errorf("a ping of another zone: %v", err)
	}
}

// Where two NICs have IPv6 a link-local address needs a zone.
func TestZones(t *testing.T) {
	p := newPair6(t, nil, nil, false)
	other := &basket{}
	if _, err := p.a.AddIP(other, &IPConfig{InterfaceID: idA}); err != nil {
		t.Fatal(err)
	}
	_, err := p.a.Ping(patience(t), linkLocal(idB), nil)
	if err == nil || !strings.Contains(err.Error(), "no zone says which") {
		t.Errorf("without a zone: %v", err)
	}
	if _, err := p.a.Ping(patience(t), linkLocal(idB).WithZone("1"), nil); err != nil {
		t.Error(err)
	}
	ln, err := p.a.Listen("tcp", "[fe80::aa01:203:405:607%2]:80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if ln.Addr().String() != "[fe80::aa01:203:405:607%2]:80" {
		t.Errorf("listening at %v", ln.Addr())
	}
}

// When the NIC is closed, waiting for IPv6 ends, and connections over it.
func TestIPv6Close(t *testing.T) {
	p := newPair6(t, nil, nil, false)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.nicA.WaitIPv6(context.Background()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("waiting: %v", err)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.nicA.WaitIPv6(ctx); err != context.Canceled {
		t.Errorf("waiting when it was cancelled: %v", err)
	}
	p.nicA.Close()
	wg.Wait()
	put(p.nicA, newAdvert().auto(prefixA).packet())
	if c := p.nicA.Counters(); c.Late == 0 || len(p.nicA.Addresses()) != 1 {
		t.Errorf("%+v", c)
	}
	_, err := p.a.Ping(patience(t), linkLocal(idB), nil)
	want(t, "a ping when the NIC has been closed", err, syscall.ENETUNREACH)
}

// Peers that verify whether we are still there are told so (RFC 4861 §7.2.4). There
// is no link-layer address to tell.
func TestNeighborSolicitation(t *testing.T) {
	s := newStack(t, nil)
	sent := make(chan []byte, 10)
	n, err := s.AddIP(link.SinkFunc(func(b *link.Batch) { sent <- b.Frames[0].AppendTo(nil) }), &IPConfig{InterfaceID: idA})
	if err != nil {
		t.Fatal(err)
	}
	<-sent // the solicitation of routers
	own, peer := linkLocal(idA), linkLocal(idB)
	target := own.As16()
	put(n, icmp6Packet(peer, own, 255, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target[:]...)))
	want := icmp6Packet(own, peer, 255, append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, target[:]...)) // solicited, override
	select {
	case got := <-sent:
		if !bytes.Equal(got, want) {
			t.Errorf("answered % x, want\n% x", got, want)
		}
	default:
		t.Error("no answer")
	}
}
