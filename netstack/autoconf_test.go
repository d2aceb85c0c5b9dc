package netstack

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func newAutoconf() *autoconf {
	return &autoconf{iid: func(p netip.Prefix) [8]byte { return opaqueIID(make([]byte, addressKeyLen), "1", p) }}
}

// parsed is what a host makes of an advertisement.
func parsed(t testing.TB, a *advert) routerAdvert {
	ra, ok := parseRouterAdvert(a.packet())
	if !ok {
		t.Fatalf("not valid: % x", a.packet())
	}
	return ra
}

// RFC 4861 §6.3.7: "a host SHOULD transmit up to MAX_RTR_SOLICITATIONS Router
// Solicitation messages, each separated by at least RTR_SOLICITATION_INTERVAL
// seconds."
func TestSolicitations(t *testing.T) {
	for _, row := range []struct {
		name  string
		after int     // solicitations that the advertisement comes after
		ra    *advert // nil: none
		want  int
	}{
		{"nobody answers", 0, nil, 3},
		{"a router answers the first", 1, newAdvert(), 1},
		{"a router answers the second", 2, newAdvert(), 2},
		{"a router advertises by itself", 0, newAdvert(), 0},
		{"one that is no default router", 1, &advert{src: router, hopLimit: 255}, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, now := newAutoconf(), epoch
			a.start(now)
			var sent []time.Duration
			for n := 0; ; n++ {
				if row.ra != nil && n == row.after {
					a.handle(now, parsed(t, row.ra))
				}
				if a.solicit.IsZero() {
					break
				}
				now = a.deadline(now)
				if !a.advance(now) {
					t.Fatalf("nothing is sent at %v", now.Sub(epoch))
				}
				sent = append(sent, now.Sub(epoch))
			}
			want := []time.Duration{0, 4 * time.Second, 8 * time.Second}[:row.want]
			if !slices.Equal(sent, want) {
				t.Errorf("sent after %v, want %v", sent, want)
			}
		})
	}
}

// RFC 4862 §5.5.3 (e): "1. If the received Valid Lifetime is greater than 2 hours or
// greater than RemainingLifetime, set the valid lifetime of the corresponding
// address to the advertised Valid Lifetime. 2. If RemainingLifetime is less than
// or equal to 2 hours, ignore the Prefix Information option with regards to the
// valid lifetime … 3. Otherwise, reset the valid lifetime of the corresponding
// address to 2 hours. … the preferred lifetime of the corresponding address is
// always reset".
func TestPrefixLifetimes(t *testing.T) {
	const hour = 3600
	for _, row := range []struct {
		name                     string
		remaining                uint32 // of the address, when the option comes
		valid, preferred         uint32 // as it says
		wantValid, wantPreferred time.Duration
	}{
		{"longer than two hours", 1 * hour, 3 * hour, 2 * hour, 3 * time.Hour, 2 * time.Hour},
		{"longer than two hours, shorter than before", 9 * hour, 3 * hour, 1 * hour, 3 * time.Hour, time.Hour},
		{"longer than what remains", 600, 1200, 600, 20 * time.Minute, 10 * time.Minute},
		{"a denial of service: shorter than what remains", 9 * hour, 1, 1, 2 * time.Hour, time.Second},
		{"the same when less than two hours remain", hour, 1, 1, time.Hour, time.Second},
		{"withdrawn", 9 * hour, 0, 0, 2 * time.Hour, 0},
		{"for ever", hour, ^uint32(0), ^uint32(0), seconds(^uint32(0)), seconds(^uint32(0))},
		{"preferred for longer than valid: ignored", hour, 3 * hour, 4 * hour, time.Hour, time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, now := newAutoconf(), epoch
			a.handle(now, parsed(t, newAdvert().prefix(prefixA, 0x40, row.remaining, row.remaining)))
			a.handle(now, parsed(t, newAdvert().prefix(prefixA, 0x40, row.valid, row.preferred)))
			if len(a.prefixes) != 1 {
				t.Fatalf("%d prefixes", len(a.prefixes))
			}
			if v, p := a.prefixes[0].valid.Sub(now), a.prefixes[0].preferred.Sub(now); v != row.wantValid || p != row.wantPreferred {
				t.Errorf("valid for %v and preferred for %v, want %v and %v", v, p, row.wantValid, row.wantPreferred)
			}
		})
	}
}

// An address is preferred, then deprecated, then gone (RFC 4862 §5.5.4); so are
// routers and DNS servers when their time has come.
func TestExpiry(t *testing.T) {
	a, now := newAutoconf(), epoch
	ra := newAdvert().prefix(prefixA, 0x40, 100, 50).rdnss(30, "2001:db8::53")
	ra.lifetime = 70
	a.handle(now, parsed(t, ra))
	for _, step := range []struct {
		after               time.Duration // is the next deadline
		address, deprecated bool
		routed, server      bool
	}{
		{30 * time.Second, true, false, true, false},
		{50 * time.Second, true, true, true, false},
		{70 * time.Second, true, true, false, false},
		{100 * time.Second, false, false, false, false},
	} {
		if now = a.deadline(now); now.Sub(epoch) != step.after {
			t.Fatalf("the deadline is after %v, want %v", now.Sub(epoch), step.after)
		}
		if a.advance(now) {
			t.Error("it solicits without having begun to")
		}
		addrs := a.addresses(now)
		if len(addrs) == 1 != step.address || step.address && addrs[0].deprecated != step.deprecated ||
			a.routed() != step.routed || len(a.servers()) == 1 != step.server {
			t.Errorf("after %v: %v, routed %v, servers %v", step.after, addrs, a.routed(), a.servers())
		}
	}
	if d := a.deadline(now); !d.IsZero() {
		t.Errorf("a deadline after %v, and nothing is left", d.Sub(epoch))
	}
}

// RFC 8106 §5.1: "A value of zero means that the RDNSS addresses MUST no longer be
// used"; RFC 4861 §4.2: "A Lifetime of 0 indicates that the router is not a default
// router".
func TestWithdrawal(t *testing.T) {
	a := newAutoconf()
	a.handle(epoch, parsed(t, newAdvert().rdnss(60, "2001:db8::53", "2001:db8::54")))
	ra := newAdvert().rdnss(0, "2001:db8::53")
	ra.lifetime = 0
	a.handle(epoch, parsed(t, ra))
	if a.routed() || len(a.servers()) != 1 || a.servers()[0] != netip.MustParseAddr("2001:db8::54") {
		t.Errorf("routed %v, servers %v", a.routed(), a.servers())
	}
	// Only the router itself can say that it is none.
	a.handle(epoch, parsed(t, newAdvert()))
	ra.src = netip.MustParseAddr("fe80::2")
	a.handle(epoch, parsed(t, ra))
	if !a.routed() {
		t.Error("one router has withdrawn another")
	}
}

// RFC 4861 §6.3.4: the MTU option counts if it is at least that of IPv6, and at
// most that of the link.
func TestAdvertisedMTU(t *testing.T) {
	for _, row := range []struct{ said, want uint32 }{
		{0, 1400}, {1, 1400}, {1279, 1400}, {1280, 1280}, {1399, 1399}, {1400, 1400}, {1500, 1400}, {^uint32(0), 1400},
	} {
		a := newAutoconf()
		a.handle(epoch, parsed(t, newAdvert().mtu(row.said)))
		a.handle(epoch, parsed(t, newAdvert()))
		if got := a.mtu(1400); got != row.want {
			t.Errorf("with %d said the MTU is %d, want %d", row.said, got, row.want)
		}
	}
}

// A flood of advertisements makes a host remember no more than a few of each,
// and those that came first stay.
func TestAdvertisementFlood(t *testing.T) {
	a := newAutoconf()
	a.handle(epoch, parsed(t, newAdvert().auto(prefixA).rdnss(60, "2001:db8::53")))
	for i := range 1000 {
		addr := [16]byte{0: 0x20, 1: 0x01, 4: 1, 6: byte(i >> 8), 7: byte(i)}
		ra := newAdvert().auto(netip.PrefixFrom(netip.AddrFrom16(addr), 64)).rdnss(^uint32(0), netip.AddrFrom16(addr).String())
		ra.src = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)})
		a.handle(epoch, parsed(t, ra))
	}
	if len(a.routers) != maxRouters || len(a.prefixes) != maxPrefixes || len(a.dns) != maxServers {
		t.Errorf("%d routers, %d prefixes, %d servers", len(a.routers), len(a.prefixes), len(a.dns))
	}
	if a.routers[0].value != router || a.prefixes[0].prefix != prefixA || a.dns[0].value != netip.MustParseAddr("2001:db8::53") {
		t.Error("the flood has displaced what was there")
	}
}

// Whatever is advertised, the machine stays small and its deadline ahead, and
// comes to rest when nothing is advertised any more.
func TestAutoconfIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, now := newAutoconf(), epoch
		a.start(now)
		lifetime := rapid.SampledFrom([]uint32{0, 1, 10, 3600, 7200, 7201, 100_000})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "pause")) * time.Second)
			if rapid.Bool().Draw(t, "tick") {
				a.advance(now)
			} else {
				n := byte(rapid.IntRange(0, 20).Draw(t, "n"))
				l := lifetime.Draw(t, "lifetime")
				a.handle(now, routerAdvert{
					router:   netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: n}),
					lifetime: seconds(l),
					prefixes: []advertisedPrefix{{netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 7: n}), 64), seconds(l), seconds(l / 2)}},
					servers:  []advertisedServer{{netip.AddrFrom16([16]byte{0: 0x20, 15: n}), seconds(l)}},
				})
			}
			if len(a.routers) > maxRouters || len(a.prefixes) > maxPrefixes || len(a.dns) > maxServers || a.solicited > maxRtrSolicitations {
				t.Fatalf("%+v", a)
			}
		}
		for range 100 {
			next := a.deadline(now)
			if next.IsZero() {
				break
			}
			if now = next; a.advance(now) {
				continue
			}
			if d := a.deadline(now); !d.IsZero() && !d.After(now) {
				t.Fatalf("the deadline %v has come already", d)
			}
		}
		if !a.deadline(now).IsZero() || len(a.addresses(now)) != 0 || a.routed() || len(a.servers()) != 0 {
			t.Fatalf("something is left: %+v", a)
		}
	})
}

// RFC 7217 §5: the identifier is stable for a prefix, differs between prefixes,
// interfaces and keys, and is none of those that are reserved.
func TestOpaqueIID(t *testing.T) {
	key, other := make([]byte, 16), append(make([]byte, 15), 1)
	first := opaqueIID(key, "1", prefixA)
	if again := opaqueIID(key, "1", prefixA); again != first {
		t.Errorf("% x, and then % x", first, again)
	}
	for what, iid := range map[string][8]byte{
		"another prefix":    opaqueIID(key, "1", prefixB),
		"another interface": opaqueIID(key, "2", prefixA),
		"another key":       opaqueIID(other, "1", prefixA),
	} {
		if iid == first {
			t.Errorf("the same for %s", what)
		}
	}
	for _, row := range []struct {
		iid  [8]byte
		want bool
	}{
		{[8]byte{}, true}, {[8]byte{7: 1}, false},
		{[8]byte{0x02, 0x00, 0x5e, 0xff, 0xfe, 0, 0, 0}, true}, {[8]byte{0x02, 0x00, 0x5e, 0xff, 0xfe, 0xff, 0xff, 0xff}, true},
		{[8]byte{0x02, 0x00, 0x5e, 0xff, 0xff, 0, 0, 0}, false}, {[8]byte{0x02, 0x00, 0x5e, 0xff, 0xfd, 0xff, 0xff, 0xff}, false},
		{[8]byte{0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80}, true}, {[8]byte{0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, false},
		{[8]byte{0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true}, {[8]byte{0xfe}, false},
	} {
		if isReservedIID(row.iid) != row.want {
			t.Errorf("% x is reserved: %v", row.iid, !row.want)
		}
	}
}
