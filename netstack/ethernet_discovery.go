package netstack

import (
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Options of Neighbor Discovery that have a link-layer address (RFC 4861 §4.6.1).
const (
	optionSourceLink = 1
	optionTargetLink = 2
)

// linkOption is such an option (RFC 2464 §6).
func linkOption(kind byte, m mac) []byte { return append([]byte{kind, 1}, m[:]...) }

// linkAddress finds one among options, whose lengths are right. A zero one: there is none.
func linkAddress(options []byte, kind byte) (m mac) {
	for rest := options; len(rest) >= 8; rest = rest[int(rest[1])*8:] {
		if rest[0] == kind && rest[1] == 1 {
			m = mac(rest[2:])
		}
	}
	if !m.isUnicast() {
		return mac{}
	}
	return m
}

// discover has a look at a packet of ICMPv6, and reports whether it was for the layer
// alone: a Neighbor Solicitation or Advertisement.
func (e *etherLayer) discover(p []byte) bool {
	h := header.IPv6(p)
	if int(h.PayloadLength()) > len(p)-header.IPv6MinimumSize {
		return false // the NIC counts it
	}
	h = h[:header.IPv6MinimumSize+int(h.PayloadLength())]
	m := header.ICMPv6(h.Payload())
	if len(m) < header.ICMPv6MinimumSize {
		return false
	}
	least, ours := 0, true
	switch m.Type() {
	case header.ICMPv6NeighborSolicit, header.ICMPv6NeighborAdvert:
		least = neighborLen
	case header.ICMPv6RouterSolicit:
		least, ours = solicitationLen, false
	case header.ICMPv6RouterAdvert:
		least, ours = raMinLen, false
	case header.ICMPv6RedirectMsg:
		return true // RFC 4861 §8.3: a host SHOULD follow it; anybody on the link can send one
	default:
		return false
	}
	src, dst := netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
	if !isDiscovery(h, least) || !checksumOK(h) || src.IsMulticast() || src.IsLoopback() || src.Is4In6() {
		e.counters.malformed.Add(1)
		return true
	}
	switch m.Type() {
	case header.ICMPv6NeighborSolicit:
		e.solicited(m, src, dst)
	case header.ICMPv6NeighborAdvert:
		e.advertised(m, dst)
	default: // RFC 4861 §6.2.6, §6.3.4: where a router or a host says that it is
		if at := linkAddress(m[least:], optionSourceLink); at != (mac{}) && src.IsLinkLocalUnicast() && !e.has(src) {
			e.do(func(now time.Time) { e.neighbors.heard(now, src, at, hearsay{override: true, create: true}) })
		}
	}
	return ours
}

// isDiscovery reports whether h is valid as RFC 4861 §6.1 and §7.1 have it for all
// messages: hop limit 255, which no router lets through from elsewhere, code 0, and
// options with a length.
func isDiscovery(h header.IPv6, least int) bool {
	m := header.ICMPv6(h.Payload())
	if h.HopLimit() != header.NDPHopLimit || m.Code() != 0 || len(m) < least {
		return false
	}
	for rest := []byte(m[least:]); len(rest) > 0; rest = rest[int(rest[1])*8:] {
		if len(rest) < 8 || rest[1] == 0 || len(rest) < int(rest[1])*8 {
			return false
		}
	}
	return true
}

// solicited answers a Neighbor Solicitation (RFC 4861 §7.2.3, §7.2.4).
func (e *etherLayer) solicited(m header.ICMPv6, src, dst netip.Addr) {
	target := netip.AddrFrom16([16]byte(m[8:]))
	at := linkAddress(m[neighborLen:], optionSourceLink)
	if target.IsMulticast() || src.IsUnspecified() && (at != mac{} || dst != solicitedNode(target)) {
		e.counters.malformed.Add(1)
		return
	}
	if !e.has(target) {
		return
	}
	if e.has(src) {
		e.counters.martian.Add(1)
		return
	}
	flags, to := byte(neighborOverride), src
	if e.isOptimistic(target) {
		// RFC 4862 §5.4.3: "If the source address of the Neighbor Solicitation is the
		// unspecified address, the solicitation is from a node performing Duplicate Address
		// Detection", for the same address as we. RFC 4429 §3.3: no answer of ours overrides
		// what is known.
		if src.IsUnspecified() {
			e.clash(target, at)
			return
		}
		flags = 0
	}
	if e.router {
		flags |= neighborRouter
	}
	if src.IsUnspecified() {
		to, at = allNodes, groupMAC(allNodes)
	} else {
		flags |= neighborSolicited
		if at != (mac{}) {
			e.do(func(now time.Time) { e.neighbors.heard(now, src, at, hearsay{override: true, create: true}) })
		}
	}
	packet := icmpv6Packet(target, to, header.NDPHopLimit, e.neighborAdvert(target, flags))
	if at != (mac{}) {
		e.send(at, etherIPv6, packet)
		return
	}
	putWhole(etherDown{e}, [][]byte{packet}, len(packet))
}

// Flags of a Neighbor Advertisement (RFC 4861 §4.4).
const (
	neighborRouter    = 0x80
	neighborSolicited = 0x40
	neighborOverride  = 0x20
)

func (e *etherLayer) neighborAdvert(target netip.Addr, flags byte) []byte {
	m := make([]byte, neighborLen, neighborLen+8)
	m[0], m[4] = byte(header.ICMPv6NeighborAdvert), flags
	copy(m[8:], target.AsSlice())
	return append(m, linkOption(optionTargetLink, e.mac)...)
}

// advertised takes in a Neighbor Advertisement (RFC 4861 §7.2.5).
func (e *etherLayer) advertised(m header.ICMPv6, dst netip.Addr) {
	target := netip.AddrFrom16([16]byte(m[8:]))
	flags := m[4]
	// RFC 4861 §7.1.2: "If the IP Destination Address is a multicast address the Solicited
	// flag is zero."
	if target.IsMulticast() || dst.IsMulticast() && flags&neighborSolicited != 0 {
		e.counters.malformed.Add(1)
		return
	}
	if e.has(target) {
		e.clash(target, linkAddress(m[neighborLen:], optionTargetLink))
		return
	}
	at := linkAddress(m[neighborLen:], optionTargetLink)
	e.do(func(now time.Time) {
		if at == (mac{}) { // of a solicitation to one host, where it is known
			if n := e.neighbors.entries[target]; n != nil {
				at = n.mac
			}
		}
		if at != (mac{}) {
			e.neighbors.heard(now, target, at, hearsay{solicited: flags&neighborSolicited != 0, override: flags&neighborOverride != 0})
		}
	})
}

// solicit asks for a neighbor (RFC 4861 §7.2.2).
func (e *etherLayer) solicit(target, src netip.Addr, at mac) {
	m := make([]byte, neighborLen, neighborLen+8)
	m[0] = byte(header.ICMPv6NeighborSolicit)
	copy(m[8:], target.AsSlice())
	if !e.isOptimistic(src) { // RFC 4429 §3.2
		m = append(m, linkOption(optionSourceLink, e.mac)...)
	}
	to := target
	if at == (mac{}) {
		to = solicitedNode(target)
		at = groupMAC(to)
	}
	e.send(at, etherIPv6, icmpv6Packet(src, to, header.NDPHopLimit, m))
}
