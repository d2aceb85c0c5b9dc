package netstack

import (
	"cmp"
	"net/netip"
	"slices"
)

// A route says where packets go that are for its prefix.
type route struct {
	prefix netip.Prefix
	via    netip.Addr // a router on the link; zero: the addresses are on the link themselves
	source netip.Addr // that packets are best sent from; zero: any
}

// routes are the routes of one link, those with the longest prefixes first.
type routes []route

func (r routes) sorted() routes {
	s := slices.Clone(r)
	slices.SortStableFunc(s, func(a, b route) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
	return s
}

// next is whom to hand a packet for dst to.
func (r routes) next(dst netip.Addr) (hop netip.Addr, ok bool) {
	if dst.IsLinkLocalUnicast() && dst.Is6() {
		return dst, true
	}
	for _, x := range r {
		if x.prefix.Contains(dst) {
			if x.via.IsValid() {
				return x.via, true
			}
			return dst, true
		}
	}
	return netip.Addr{}, false
}
