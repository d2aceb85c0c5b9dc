package netstack

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// What of an advertisement a host uses, and what it must not.
func TestParseRouterAdvert(t *testing.T) {
	zero := func(change func(*routerAdvert)) *routerAdvert {
		ra := &routerAdvert{router: router, lifetime: 30 * time.Minute}
		if change != nil {
			change(ra)
		}
		return ra
	}
	one := func(p netip.Prefix) *routerAdvert {
		return zero(func(ra *routerAdvert) {
			ra.prefixes = []advertisedPrefix{{p, 2 * time.Hour, time.Hour}}
			ra.onLink = ra.prefixes
		})
	}
	onLink := func(p netip.Prefix) *routerAdvert {
		return zero(func(ra *routerAdvert) { ra.onLink = []advertisedPrefix{{p, 2 * time.Hour, time.Hour}} })
	}
	with := func(change func(*advert)) *advert {
		a := newAdvert().auto(prefixA)
		change(a)
		return a
	}
	option := func(b ...byte) *advert { return with(func(a *advert) { a.options = b }) }
	prefix := func(s string) *advert { return newAdvert().auto(netip.MustParsePrefix(s)) }
	for _, row := range []struct {
		name string
		a    *advert
		want *routerAdvert // nil: it is none
	}{
		{"a prefix", newAdvert().auto(prefixA), one(prefixA)},
		{"no option", newAdvert(), zero(nil)},
		{"no default router", &advert{src: router, hopLimit: 255}, zero(func(ra *routerAdvert) { ra.lifetime = 0 })},
		{"MTU", newAdvert().mtu(1280), zero(func(ra *routerAdvert) { ra.mtu = 1280 })},
		{"two DNS servers", newAdvert().rdnss(60, "2001:db8::53", "fe80::53"), zero(func(ra *routerAdvert) {
			ra.servers = []advertisedServer{{netip.MustParseAddr("2001:db8::53"), time.Minute}, {netip.MustParseAddr("fe80::53"), time.Minute}}
		})},
		{"bits behind the prefix", newAdvert().auto(netip.MustParsePrefix("2001:db8:a::77/64")), one(prefixA)},
		{"an unknown option", option(200, 1, 0, 0, 0, 0, 0, 0), zero(nil)},

		// RFC 4861 §6.1.2: "A node MUST silently discard any received Router
		// Advertisement messages that do not satisfy all of the following validity
		// checks".
		{"from a global address", with(func(a *advert) { a.src = netip.MustParseAddr("2001:db8::1") }), nil},
		{"from no address", with(func(a *advert) { a.src = netip.IPv6Unspecified() }), nil},
		{"hop limit 254", with(func(a *advert) { a.hopLimit = 254 }), nil},
		{"a wrong checksum", with(func(a *advert) { a.damage = true }), nil},
		{"code 1", with(func(a *advert) { a.code = 1 }), nil},
		{"an option of length zero", option(1, 0, 0, 0, 0, 0, 0, 0), nil},
		{"an option that ends outside", option(3, 4, 64, 0xc0, 0, 0, 0, 0), nil},
		{"half an option's head", option(1), nil},

		// Options that are skipped.
		{"a prefix without the A flag", newAdvert().prefix(prefixA, 0x80, 7200, 3600), onLink(prefixA)},
		{"a prefix preferred for longer than valid", newAdvert().prefix(prefixA, 0x40, 60, 61), zero(nil)},
		{"a prefix of 63 bits", prefix("2001:db8::/63"), onLink(netip.MustParsePrefix("2001:db8::/63"))},
		{"a prefix of 255 bits", with(func(a *advert) { a.options[2] = 255 }), zero(nil)},
		{"the link-local prefix", prefix("fe80::/64"), zero(nil)},
		{"a multicast prefix", prefix("ff02::/64"), zero(nil)},
		{"the prefix of ::1 and of IPv4-mapped addresses", prefix("::/64"), zero(nil)},
		{"an MTU option of 16 bytes", option(5, 2, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0), zero(nil)},
		{"a prefix option of 8 bytes", option(3, 1, 64, 0xc0, 0, 0, 0, 0), zero(nil)},
		{"DNS servers, none", option(25, 1, 0, 0, 0, 0, 0, 60), zero(nil)},
		{"DNS servers that are none", newAdvert().rdnss(60, "::1", "::", "ff02::1", "::ffff:127.0.0.1"), zero(nil)},
	} {
		t.Run(row.name, func(t *testing.T) {
			ra, ok := parseRouterAdvert(row.a.packet())
			if ok != (row.want != nil) || ok && !reflect.DeepEqual(ra, *row.want) {
				t.Errorf("%+v, %v, want %+v", ra, ok, row.want)
			}
		})
	}
}

func TestNoRouterAdvert(t *testing.T) {
	good := newAdvert().auto(prefixA).packet()
	src, dst := router, netip.MustParseAddr("ff02::1")
	for name, p := range map[string][]byte{
		"a solicitation":           icmp6Packet(src, dst, 255, append([]byte{133}, make([]byte, 15)...)),
		"cut short":                icmp6Packet(src, dst, 255, append([]byte{134}, make([]byte, 14)...)),
		"no ICMP":                  ipv6Packet(src, dst, 255, 58, nil),
		"UDP":                      ipv6Packet(src, dst, 255, 17, good[40:]),
		"behind a fragment header": ipv6Packet(src, dst, 255, 44, append([]byte{58, 0, 0, 0, 0, 0, 0, 1}, good[40:]...)),
	} {
		if ra, ok := parseRouterAdvert(p); ok {
			t.Errorf("%s: %+v", name, ra)
		}
	}
}

// RFC 4861 §4.1: from an address of the interface to the all-routers multicast
// address, hop limit 255.
func TestRouterSolicitation(t *testing.T) {
	want := icmp6Packet(linkLocal(idA), netip.MustParseAddr("ff02::2"), 255, []byte{133, 0, 0, 0, 0, 0, 0, 0})
	if got := routerSolicitation(linkLocal(idA)); !reflect.DeepEqual(got, want) {
		t.Errorf("% x, want\n% x", got, want)
	}
}

// FuzzParseRouterAdvert: what is taken from any options is in bounds.
func FuzzParseRouterAdvert(f *testing.F) {
	f.Add(newAdvert().auto(prefixA).mtu(1280).rdnss(60, "2001:db8::53").options)
	f.Add([]byte{25, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, options []byte) {
		a := newAdvert()
		a.options = options
		if len(options) > 1<<15 {
			return
		}
		ra, ok := parseRouterAdvert(header.IPv6(a.packet()))
		if !ok {
			return
		}
		if n := len(options); len(ra.prefixes) > n/32 || len(ra.servers) > n/16 {
			t.Errorf("%d prefixes and %d servers in %d bytes", len(ra.prefixes), len(ra.servers), n)
		}
		for _, p := range ra.prefixes {
			if p.prefix.Bits() != 64 || p.prefix != p.prefix.Masked() || !isGlobal(p.prefix.Addr()) || p.preferred > p.valid {
				t.Errorf("%+v", p)
			}
		}
		for _, s := range ra.servers {
			if s.addr.IsLoopback() || s.addr.IsMulticast() || s.addr.IsUnspecified() || s.addr.Is4In6() {
				t.Errorf("%+v", s)
			}
		}
	})
}
