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

// A verdict is what becomes of a packet that came in. The zero one: it goes to the
// stack.
type verdict struct {
	drop     *atomic.Uint64 // not nil: dropped, and counted there
	done     bool           // answered already, or nothing to be answered
	from, to *Port          // not nil: switched from one session to another
	amend    func([]byte)   // not nil: what is to be changed before the stack gets it
}

// An entrance tells which packets may come in. They are whole, without padding,
// and no martians. It only reads them: they lie in memory that is lent.
type entrance interface {
	admit4(p header.IPv4) verdict
	admit6(p header.IPv6) verdict
}

// check looks at a packet that came in. It gives it back without the padding behind
// it, if it is whole.
func check(p []byte, from entrance, c *counters) (packet []byte, protocol tcpip.NetworkProtocolNumber, v verdict) {
	switch {
	case len(p) == 0:
		return p, 0, verdict{drop: &c.malformed}
	case p[0]>>4 == 4:
		packet, v = check4(p, from, c)
		return packet, ipv4.ProtocolNumber, v
	case p[0]>>4 == 6:
		packet, v = check6(p, from, c)
		return packet, ipv6.ProtocolNumber, v
	}
	return p, 0, verdict{drop: &c.notIP}
}

func check4(p []byte, from entrance, c *counters) ([]byte, verdict) {
	if len(p) < header.IPv4MinimumSize {
		return p, verdict{drop: &c.malformed}
	}
	// The total length may be less than what came: the rest is padding.
	hlen, total := int(p[0]&0x0f)*4, int(binary.BigEndian.Uint16(p[2:]))
	if hlen < header.IPv4MinimumSize || total < hlen || total > len(p) {
		return p, verdict{drop: &c.malformed}
	}
	if isLoopback(binary.BigEndian.Uint32(p[12:])) || isLoopback(binary.BigEndian.Uint32(p[16:])) && !forwards(from) {
		return p, verdict{drop: &c.martian}
	}
	p = p[:total]
	v := from.admit4(p)
	// The stack believes in any MTU, and would send segments of one byte.
	if m := header.ICMPv4(p[hlen:]); v.drop == nil && v.to == nil && p[9] == uint8(header.ICMPv4ProtocolNumber) && len(m) >= header.ICMPv4MinimumSize &&
		m.Type() == header.ICMPv4DstUnreachable && m.Code() == header.ICMPv4FragmentationNeeded && m.MTU() < minPathMTU4 {
		v.drop = &c.malformed
	}
	return p, v
}

func check6(p []byte, from entrance, c *counters) ([]byte, verdict) {
	if len(p) < header.IPv6MinimumSize {
		return p, verdict{drop: &c.malformed}
	}
	h := header.IPv6(p)
	if int(h.PayloadLength()) > len(p)-header.IPv6MinimumSize {
		return p, verdict{drop: &c.malformed}
	}
	h = h[:header.IPv6MinimumSize+int(h.PayloadLength())]
	src, dst := netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
	if isMartian6(dst) && !(dst.IsLoopback() && forwards(from)) || dst.IsUnspecified() || isMartian6(src) || src.IsMulticast() || src.IsUnspecified() && !comesFromNowhere(h, dst) {
		return p, verdict{drop: &c.martian}
	}
	if h.TransportProtocol() == header.ICMPv6ProtocolNumber {
		// RFC 8201 §4: "If a node receives a Packet Too Big message reporting a next-hop
		// MTU that is less than the IPv6 minimum link MTU, it must discard it." The stack
		// would send segments of one byte.
		m := header.ICMPv6(h.Payload())
		if len(m) >= header.ICMPv6PacketTooBigMinimumSize && m.Type() == header.ICMPv6PacketTooBig && m.MTU() < minMTU6 {
			return p, verdict{drop: &c.malformed}
		}
	}
	return h, from.admit6(h)
}

// comesFromNowhere reports whether h may have no source address: duplicates are
// looked for (RFC 4862 §5.4.2), and groups joined meanwhile (RFC 3590 §4), without
// one.
func comesFromNowhere(h header.IPv6, dst netip.Addr) bool {
	next := h.TransportProtocol()
	return next == header.ICMPv6ProtocolNumber || uint8(next) == hopByHop && dst.IsMulticast()
}

// forwards reports whether a Forwarder decides on what is for a loopback address:
// the host's then, if it lets anybody there.
func forwards(from entrance) bool {
	p, ok := from.(*Port)
	return ok && p.router.forward != nil
}

// isLoopback reports whether a is in 127.0.0.0/8.
func isLoopback(a uint32) bool { return a>>24 == 127 }

// isMartian6 reports whether a must never be in a packet on a link: the loopback
// address (RFC 4291 §2.5.3), and IPv4 addresses in IPv6's clothes, by which
// rules about IPv4 could be evaded.
func isMartian6(a netip.Addr) bool { return a.IsLoopback() || a.Is4In6() }
