package netstack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// attach6 is a port whose session has been told of its prefix, and what it sends.
func attach6(t testing.TB, cfg PortConfig) (*Port, *basket) {
	var sent basket
	cfg.InterfaceID = idA
	p := attachWith(t, newRouter6(t, newStack(t, nil), RoutedConfig{}), &sent, cfg)
	sent.take()
	return p, &sent
}

// counted puts a packet and says what that has added to the port's counters.
func counted(p *Port, packet []byte) Counters {
	before := p.Counters()
	put(p, packet)
	got := p.Counters()
	got.subtract(before)
	return got
}

// What a session is told, byte by byte (RFC 4861 §4.2, §4.6; RFC 8106 §5.1). On a PPP
// link there is no link-layer address to tell.
func TestRouterAdvertisement(t *testing.T) {
	var sent basket
	r := newRouter6(t, newStack(t, nil), RoutedConfig{})
	attachWith(t, r, &sent, PortConfig{InterfaceID: idA, Prefix: sessionNet(2), DNS: []netip.Addr{gateway6}, MTU: 1380})
	server, prefix := gateway6.As16(), sessionNet(2).Addr().As16()
	want := icmp6Packet(linkLocal(idA), netip.MustParseAddr("ff02::1"), 255, slices.Concat(
		[]byte{134, 0, 0, 0, 64, 0x40 /* O */, 0x15, 0x18 /* 5400 s */, 0, 0, 0, 0, 0, 0, 0, 0},
		[]byte{5, 1, 0, 0, 0, 0, 0x05, 0x64},
		[]byte{3, 4, 64, 0x40 /* A */, 0, 0, 0x2a, 0x30, 0, 0, 0x15, 0x18, 0, 0, 0, 0}, prefix[:],
		[]byte{25, 3, 0, 0, 0, 0, 0x15, 0x18}, server[:],
	))
	got := sent.take()
	if len(got) != 1 || !bytes.Equal(got[0], want) {
		t.Fatalf("sent % x, want\n% x", got, want)
	}
	if ra, ok := parseRouterAdvert(got[0]); !ok || ra.mtu != 1380 || len(ra.prefixes) != 1 || ra.lifetime != 5400*time.Second {
		t.Errorf("our own client reads %+v", ra)
	}

	// Without a prefix of its own, what is behind the session needs the route.
	attachWith(t, r, &sent, PortConfig{InterfaceID: idA, Delegated: netip.MustParsePrefix("2001:db8:100::/56")})
	if got := sent.take(); len(got) != 1 || len(got[0]) != 40+16+8 {
		t.Errorf("sent % x", got)
	}
	// Where no IPv6 is routed, nobody is a router.
	attachWith(t, r, &sent, PortConfig{InterfaceID: idA})
	if got := sent.take(); len(got) != 0 {
		t.Errorf("sent % x", got)
	}
}

// RFC 4861 §6.2.6: "A router MUST send advertisements in response to valid solicitations
// received on an advertising interface." §6.1.1 says which are valid.
func TestPortAnswersRouterSolicitation(t *testing.T) {
	peer, routers := netip.MustParseAddr("fe80::5"), netip.MustParseAddr("ff02::2")
	linkLayer := []byte{1, 1, 2, 3, 4, 5, 6, 7}
	bare := []byte{133, 0, 0, 0, 0, 0, 0, 0}
	damaged := icmp6Packet(peer, routers, 255, bare)
	damaged[42]++
	for _, row := range []struct {
		name   string
		packet []byte
		to     string // the answer goes there; empty: there is none
		want   Counters
	}{
		{"from its address", icmp6Packet(peer, routers, 255, bare), "fe80::5", Counters{}},
		{"from no address", icmp6Packet(netip.IPv6Unspecified(), routers, 255, bare), "ff02::1", Counters{}},
		{"with a link-layer address", icmp6Packet(peer, routers, 255, append(bare, linkLayer...)), "fe80::5", Counters{}},
		{"with an option that nobody knows", icmp6Packet(peer, routers, 255, append(bare, 253, 1, 0, 0, 0, 0, 0, 0)), "fe80::5", Counters{}},
		{"to us alone", icmp6Packet(peer, linkLocal(idA), 255, bare), "fe80::5", Counters{}},
		{"from beyond the link", icmp6Packet(peer, routers, 254, bare), "", Counters{Malformed: 1}},
		{"with a code", icmp6Packet(peer, routers, 255, []byte{133, 1, 0, 0, 0, 0, 0, 0}), "", Counters{Malformed: 1}},
		{"too short", icmp6Packet(peer, routers, 255, bare[:7]), "", Counters{Malformed: 1}},
		{"with a wrong checksum", damaged, "", Counters{Malformed: 1}},
		{"with an option of no length", icmp6Packet(peer, routers, 255, append(bare, 1, 0, 0, 0, 0, 0, 0, 0)), "", Counters{Malformed: 1}},
		{"with an option past the end", icmp6Packet(peer, routers, 255, append(bare, 1, 2, 0, 0, 0, 0, 0, 0)), "", Counters{Malformed: 1}},
		{"with half an option", icmp6Packet(peer, routers, 255, append(bare, 1)), "", Counters{Malformed: 1}},
		{"from no address, with a link-layer address", icmp6Packet(netip.IPv6Unspecified(), routers, 255, append(bare, linkLayer...)), "", Counters{Malformed: 1}},
		{"from a global address", icmp6Packet(sessionNet(2).Addr().Next(), routers, 255, bare), "", Counters{LinkLocal: 1}},
		{"from our address", icmp6Packet(linkLocal(idA), routers, 255, bare), "", Counters{LinkLocal: 1}},
		{"in a fragment", ipv6Packet(peer, routers, 255, 44, append([]byte{58, 0, 0, 0, 0, 0, 0, 1}, bare...)), "", Counters{LinkLocal: 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, sent := attach6(t, PortConfig{Prefix: sessionNet(2)})
			got := counted(p, row.packet)
			answers := sent.take()
			if row.to == "" {
				if got != row.want || len(answers) != 0 {
					t.Errorf("counted %+v, want %+v; %d answers", got, row.want, len(answers))
				}
				return
			}
			if len(answers) != 1 || got.PacketsIn != 1 || got.PacketsOut != 1 {
				t.Fatalf("%d answers, %+v", len(answers), got)
			}
			if _, ok := parseRouterAdvert(answers[0]); !ok || netip.AddrFrom16([16]byte(answers[0][24:])).String() != row.to {
				t.Errorf("answered % x", answers[0])
			}
		})
	}
}

// Who solicits without end is answered now and then.
func TestSolicitationsAreRateLimited(t *testing.T) {
	p, sent := attach6(t, PortConfig{Prefix: sessionNet(2)})
	const n = 1000
	begun := time.Now()
	for range n {
		put(p, routerSolicitation(netip.MustParseAddr("fe80::5")))
	}
	most := solicitedBurst + 1 + int(time.Since(begun)/solicitedInterval)
	answers := len(sent.take())
	if answers < 1 || answers > most {
		t.Errorf("%d answers, want %d at most", answers, most)
	}
	if c := p.Counters(); c.Excessive != uint64(n-answers) {
		t.Errorf("%+v", c)
	}
}

func TestPacer(t *testing.T) {
	var p pacer
	now := time.Now()
	allowed := func(after time.Duration) (n int) {
		now = now.Add(after)
		for p.allow(now, time.Second, 3) {
			n++
		}
		return n
	}
	for i, row := range []struct {
		after time.Duration
		want  int
	}{{0, 3}, {0, 0}, {999 * time.Millisecond, 0}, {time.Millisecond, 1}, {2 * time.Second, 2}, {time.Hour, 3}, {-time.Minute, 0}} {
		if got := allowed(row.after); got != row.want {
			t.Errorf("step %d, %v later: %d times, want %d", i, row.after, got, row.want)
		}
	}
}

// RFC 4861 §6.2.4: unsolicited advertisements come a few times soon, and then before
// what they said has run out, to those that are there.
func TestUnsolicitedAdvertisements(t *testing.T) {
	p, sent := attach6(t, PortConfig{Prefix: sessionNet(2)})
	var otherSent basket
	other := attachWith(t, p.router, &otherSent, PortConfig{InterfaceID: idA, Prefix: sessionNet(3)})
	attachWith(t, p.router, &otherSent, PortConfig{InterfaceID: idA}) // nothing to be told
	otherSent.take()
	r := p.router
	// Time passes for one of them by the schedule being moved.
	elapse := func() time.Duration {
		r.mu.Lock()
		in := time.Until(p.v6.nextAdvert)
		p.v6.nextAdvert = time.Now()
		r.mu.Unlock()
		r.advertise()
		return in
	}
	for i, want := range []struct{ least, most time.Duration }{
		{0, initialAdvertInterval}, {0, initialAdvertInterval},
		{0, maxAdvertInterval}, {minAdvertInterval - time.Minute, maxAdvertInterval}, {minAdvertInterval - time.Minute, maxAdvertInterval},
	} {
		if in := elapse(); in < want.least || in > want.most {
			t.Errorf("advertisement %d comes after %v, want %v to %v", i, in, want.least, want.most)
		}
		got := sent.take()
		if len(got) != 1 {
			t.Fatalf("%d advertisements, want 1", len(got))
		}
		if ra, ok := parseRouterAdvert(got[0]); !ok || ra.lifetime < 2*maxAdvertInterval {
			t.Errorf("advertised %+v", ra)
		}
	}
	if n := len(otherSent.take()); n != 0 {
		t.Errorf("%d advertisements went elsewhere", n)
	}
	p.Close()
	p.announce()
	if n := len(sent.take()); n != 0 {
		t.Errorf("%d advertisements after Close", n)
	}
	other.Close()
}

// RFC 4861 §7.2.3, §7.2.4: who asks whether our address can be reached is answered, and
// who looks for a duplicate of its own address is not; RFC 5072 §5 needs neither.
func TestPortAnswersNeighborSolicitation(t *testing.T) {
	p, sent := attach6(t, PortConfig{Prefix: sessionNet(2)})
	peer, nobody := netip.MustParseAddr("fe80::5"), netip.IPv6Unspecified()
	solicit := func(src, dst, target netip.Addr) []byte {
		a := target.As16()
		return icmp6Packet(src, dst, 255, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, a[:]...))
	}
	for _, row := range []struct {
		name             string
		src, dst, target netip.Addr
		to               netip.Addr
		flags            byte
	}{
		{"ours", peer, linkLocal(idA), linkLocal(idA), peer, 0xe0},
		{"the gateway", peer, netip.MustParseAddr("ff02::1:ff00:1"), gateway6, peer, 0xe0},
		{"a duplicate of ours", nobody, netip.MustParseAddr("ff02::1:ff05:607"), linkLocal(idA), netip.MustParseAddr("ff02::1"), 0xa0},
		{"a duplicate of its own", nobody, netip.MustParseAddr("ff02::1:ff00:5"), peer, netip.Addr{}, 0},
		{"somebody", peer, netip.MustParseAddr("ff02::1:ff00:6"), netip.MustParseAddr("fe80::6"), netip.Addr{}, 0},
	} {
		got := counted(p, solicit(row.src, row.dst, row.target))
		answers := sent.take()
		if !row.to.IsValid() {
			if got != (Counters{PacketsIn: 1, BytesIn: 64}) || len(answers) != 0 {
				t.Errorf("%s: %+v, % x", row.name, got, answers)
			}
			continue
		}
		a := row.target.As16()
		want := icmp6Packet(row.target, row.to, 255, append([]byte{136, 0, 0, 0, row.flags, 0, 0, 0}, a[:]...))
		if len(answers) != 1 || !bytes.Equal(answers[0], want) {
			t.Errorf("%s: answered % x, want\n% x", row.name, answers, want)
		}
	}
	short := icmp6Packet(peer, linkLocal(idA), 255, make([]byte, 23))
	short[40] = 135
	binary.BigEndian.PutUint16(short[42:], 0)
	short = icmp6Packet(peer, linkLocal(idA), 255, short[40:])
	for _, packet := range [][]byte{short, solicit(peer, linkLocal(idA), netip.MustParseAddr("ff02::1"))} {
		if got := counted(p, packet); got != (Counters{Malformed: 1}) {
			t.Errorf("% x: %+v", packet, got)
		}
	}
}

// Who reports what multicast it listens to (RFC 3810, RFC 2710), as every Linux does,
// does nothing wrong, and is neither answered nor forwarded.
func TestMulticastListenersAreIgnored(t *testing.T) {
	p, sent := attach6(t, PortConfig{Prefix: sessionNet(2)})
	peer, reports := netip.MustParseAddr("fe80::5"), netip.MustParseAddr("ff02::16")
	alert := []byte{58, 0, 5, 2, 0, 0, 1, 0}
	report := []byte{143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0}
	ignored := func(n int) Counters { return Counters{PacketsIn: 1, BytesIn: uint64(n)} }
	for _, row := range []struct {
		name   string
		packet []byte
		want   Counters
	}{
		{"a report", ipv6Packet(peer, reports, 1, 0, append(alert, report...)), ignored(60)},
		{"while its address is tentative", ipv6Packet(netip.IPv6Unspecified(), reports, 1, 0, append(alert, report...)), ignored(60)},
		{"no more", ipv6Packet(peer, netip.MustParseAddr("ff02::2"), 1, 0, append(alert, 132, 0, 0, 0, 0, 0, 0, 0)), ignored(56)},
		{"something else behind such options", ipv6Packet(peer, reports, 1, 0, append(alert, 128, 0, 0, 0, 0, 0, 0, 0)), Counters{LinkLocal: 1}},
		{"options past the end", ipv6Packet(peer, reports, 1, 0, []byte{58, 9, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 0}), Counters{LinkLocal: 1}},
		{"nothing", ipv6Packet(peer, reports, 1, 0, nil), Counters{LinkLocal: 1}},
		{"to somebody, from nowhere", ipv6Packet(netip.IPv6Unspecified(), gateway6, 1, 0, append(alert, report...)), Counters{Martian: 1}},
	} {
		if got := counted(p, row.packet); got != row.want || len(sent.take()) != 0 {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
}
