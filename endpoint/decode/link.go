package decode

import (
	"encoding/binary"
	"net/netip"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
)

// A datagram is a UDP datagram of a capture, or L2TP over IP: then the ports are 0.
type datagram struct {
	src, dst netip.AddrPort
	payload  []byte
	missing  int // octets after payload, which the capture has cut off
}

// A verdict is what a packet is.
type verdict uint8

const (
	isUDP  verdict = iota
	isL2TP         // L2TPv3 over IP: there are no ports
	isOther
	isFragment    // of an IP packet; all but the last and perhaps the first make no sense alone
	isUnknownLink // below IP there is something that we do not know
)

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd

	protocolHopByHop   = 0
	protocolUDP        = 17
	protocolRouting    = 43
	protocolFragment   = 44
	protocolDstOptions = 60
	protocolL2TP       = 115

	udpHeaderLen = 8
)

// parseLink takes a UDP datagram out of a captured packet.
func parseLink(link pcapng.LinkType, b []byte) (datagram, verdict) {
	var etherType uint16
	switch link {
	case pcapng.LinkRaw, pcapng.LinkIPv4, pcapng.LinkIPv6:
		return parseIP(b)
	case pcapng.LinkNull, pcapng.LinkLoop: // the address family has another number in every system
		if len(b) < 4 {
			return datagram{}, isOther
		}
		return parseIP(b[4:])
	case pcapng.LinkEthernet:
		etherType, b = parseEthernet(b)
	case pcapng.LinkSLL:
		etherType, b = field(b, 14, 16)
	case pcapng.LinkSLL2:
		etherType, b = field(b, 0, 20)
	default:
		return datagram{}, isUnknownLink
	}
	if etherType == etherIPv4 || etherType == etherIPv6 {
		return parseIP(b)
	}
	return datagram{}, isOther
}

// field is the 16 bits at an offset of a header, and what follows the header.
func field(b []byte, at, header int) (uint16, []byte) {
	if len(b) < header {
		return 0, nil
	}
	return binary.BigEndian.Uint16(b[at:]), b[header:]
}

// parseEthernet passes over VLAN tags, of which there may be some.
func parseEthernet(b []byte) (etherType uint16, rest []byte) {
	etherType, rest = field(b, 12, 14)
	for range 4 {
		switch etherType {
		case 0x8100, 0x88a8, 0x9100: // IEEE 802.1Q, 802.1ad, and what was before it
			etherType, rest = field(rest, 2, 4)
		}
	}
	return etherType, rest
}

func parseIP(b []byte) (datagram, verdict) {
	switch {
	case len(b) > 0 && b[0]>>4 == 4:
		return parseIPv4(b)
	case len(b) > 0 && b[0]>>4 == 6:
		return parseIPv6(b)
	}
	return datagram{}, isOther
}

// parseIPv4 is RFC 791 §3.1. A Total Length of 0 is one of a packet that the
// network card was to cut into smaller ones.
func parseIPv4(b []byte) (datagram, verdict) {
	if len(b) < 20 {
		return datagram{}, isOther
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		total = len(b)
	}
	switch {
	case header < 20 || total < header || len(b) < header || b[9] != protocolUDP && b[9] != protocolL2TP:
		return datagram{}, isOther
	case binary.BigEndian.Uint16(b[6:])&0x3fff != 0: // More Fragments, Fragment Offset
		return datagram{}, isFragment
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	payload := b[header:min(total, len(b))]
	if b[9] == protocolL2TP {
		return overIP(src, dst, payload, total-header)
	}
	return parseUDP(src, dst, payload)
}

// overIP is an IP packet of protocol 115 (RFC 3931 §4.1.1), with so many octets
// unless some were cut off.
func overIP(src, dst netip.Addr, b []byte, whole int) (datagram, verdict) {
	return datagram{src: netip.AddrPortFrom(src, 0), dst: netip.AddrPortFrom(dst, 0), payload: b, missing: max(0, whole-len(b))}, isL2TP
}

// parseIPv6 is RFC 8200 §3 and §4.
func parseIPv6(b []byte) (datagram, verdict) {
	if len(b) < 40 {
		return datagram{}, isOther
	}
	src, dst := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	next, length := b[6], int(binary.BigEndian.Uint16(b[4:]))
	b = b[40:]
	missing := max(0, length-len(b))
	b = b[:min(length, len(b))]
	for range 8 { // of what may come before UDP, nothing comes more often than twice
		switch next {
		case protocolUDP:
			return parseUDP(src, dst, b)
		case protocolL2TP:
			return overIP(src, dst, b, len(b)+missing)
		case protocolHopByHop, protocolRouting, protocolDstOptions:
			if len(b) < 8 {
				return datagram{}, isOther
			}
			n := 8 + 8*int(b[1])
			if len(b) < n {
				return datagram{}, isOther
			}
			next, b = b[0], b[n:]
		case protocolFragment:
			if len(b) < 8 {
				return datagram{}, isOther
			}
			if binary.BigEndian.Uint16(b[2:])&0xfff9 != 0 { // Fragment Offset, M
				return datagram{}, isFragment
			}
			next, b = b[0], b[8:]
		default:
			return datagram{}, isOther
		}
	}
	return datagram{}, isOther
}

// parseUDP is RFC 768. What the Length counts and the packet lacks was cut off.
func parseUDP(src, dst netip.Addr, b []byte) (datagram, verdict) {
	if len(b) < udpHeaderLen {
		return datagram{}, isOther
	}
	be := binary.BigEndian
	d := datagram{
		src: netip.AddrPortFrom(src, be.Uint16(b)),
		dst: netip.AddrPortFrom(dst, be.Uint16(b[2:])),
	}
	n := int(be.Uint16(b[4:])) - udpHeaderLen
	b = b[udpHeaderLen:]
	if n < 0 {
		return d, isOther
	}
	d.payload, d.missing = b[:min(n, len(b))], max(0, n-len(b))
	return d, isUDP
}
