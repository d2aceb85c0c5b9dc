package netstack

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
)

// check is the counter of why p is dropped, or nil, and then the protocol to
// deliver it as, unless it has been dealt with: done.
func check(p []byte, from entrance, c *counters) (protocol tcpip.NetworkProtocolNumber, reason *atomic.Uint64, done bool) {
	switch {
	case len(p) == 0:
		return 0, &c.malformed, false
	case p[0]>>4 == 4:
		return ipv4.ProtocolNumber, check4(p, from, c), false
	case p[0]>>4 == 6:
		reason, done = check6(p, from, c)
		return ipv6.ProtocolNumber, reason, done
	}
	return 0, &c.notIP, false
}

func check4(p []byte, from entrance, c *counters) *atomic.Uint64 {
	if len(p) < header.IPv4MinimumSize {
		return &c.malformed
	}
	// The total length may be less than what came: the rest is padding.
	hlen, total := int(p[0]&0x0f)*4, int(binary.BigEndian.Uint16(p[2:]))
	if hlen < header.IPv4MinimumSize || total < hlen || total > len(p) {
		return &c.malformed
	}
	src, dst := binary.BigEndian.Uint32(p[12:]), binary.BigEndian.Uint32(p[16:])
	if isLoopback(src) || isLoopback(dst) {
		return &c.martian
	}
	return from.refuses(src, dst)
}

func check6(p []byte, from entrance, c *counters) (*atomic.Uint64, bool) {
	if len(p) < header.IPv6MinimumSize {
		return &c.malformed, false
	}
	h := header.IPv6(p)
	if int(h.PayloadLength()) > len(p)-header.IPv6MinimumSize {
		return &c.malformed, false
	}
	src, dst := netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
	if isMartian6(dst) || dst.IsUnspecified() || isMartian6(src) || src.IsMulticast() ||
		src.IsUnspecified() && h.NextHeader() != uint8(header.ICMPv6ProtocolNumber) { // which detects duplicates with it
		return &c.martian, false
	}
	if h.TransportProtocol() == header.ICMPv6ProtocolNumber {
		// RFC 8201 §4: "If a node receives a Packet Too Big message reporting a next-hop
		// MTU that is less than the IPv6 minimum link MTU, it must discard it." The stack
		// would send segments of one byte.
		m := header.ICMPv6(h.Payload())
		if len(m) >= header.ICMPv6PacketTooBigMinimumSize && m.Type() == header.ICMPv6PacketTooBig && m.MTU() < minMTU6 {
			return &c.malformed, false
		}
	}
	return from.refuses6(h)
}

// isLoopback reports whether a is in 127.0.0.0/8.
func isLoopback(a uint32) bool { return a>>24 == 127 }

// isMartian6 reports whether a must never be in a packet on a link: the loopback
// address (RFC 4291 §2.5.3), and IPv4 addresses in IPv6's clothes, by which
// rules about IPv4 could be evaded.
func isMartian6(a netip.Addr) bool { return a.IsLoopback() || a.Is4In6() }
