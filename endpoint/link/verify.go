package link

import "encoding/binary"

// An Integrity is what [Verify] found out about a packet.
type Integrity int

const (
	Intact      Integrity = iota // all its checksums are right
	Unverified                   // the IP header's is right, the other one's owner must look for himself
	CorruptIPv4                  // that of the IPv4 header is wrong
	CorruptTCP                   // that of TCP
	CorruptUDP                   // that of UDP, or it is missing where it must not
	CorruptICMP                  // that of ICMP or ICMPv6
)

const (
	protocolICMP   = 1
	protocolUDP    = 17
	protocolICMPv6 = 58

	udpLength   = 4
	udpChecksum = 6
	udpLen      = 8
)

// Verify looks at the checksums of an IP packet, which is whole and without
// padding: that of the IPv4 header (RFC 791 §3.1), and those of TCP (RFC 9293
// §3.1), UDP (RFC 768, RFC 8200 §8.1), ICMP (RFC 792) and ICMPv6 (RFC 4443
// §2.3). What it cannot know is [Unverified]: the payload of fragments, what lies
// behind extension headers of IPv6, other protocols, and what is too short or says
// lengths that cannot be.
func Verify(p []byte) Integrity {
	if len(p) < ipv4MinLen {
		return Unverified
	}
	switch p[0] >> 4 {
	case 4:
		ip := int(p[0]&0x0f) * 4
		if ip < ipv4MinLen || ip > len(p) {
			return Unverified
		}
		if sum(p[:ip]) != 0xffff {
			return CorruptIPv4
		}
		if binary.BigEndian.Uint16(p[ipv4Fragment:])&0x3fff != 0 { // more fragments, or an offset
			return Unverified
		}
		return verifyTransport(p[ipv4Protocol], p[ipv4Addresses:ipv4Addresses+8], p[ip:])
	case 6:
		if len(p) < ipv6Len {
			return Unverified
		}
		return verifyTransport(p[ipv6NextHeader], p[ipv6Addresses:ipv6Len], p[ipv6Len:])
	}
	return Unverified
}

// verifyTransport is Verify for what an IP header is followed by.
func verifyTransport(protocol byte, addresses, t []byte) Integrity {
	// The pseudo-header of either version sums up to this.
	right := func(t []byte) bool {
		return fold(uint64(sum(addresses))+uint64(protocol)+uint64(len(t))+uint64(sum(t))) == 0xffff
	}
	v6 := len(addresses) > 8
	switch {
	case protocol == protocolTCP && len(t) >= tcpMinLen:
		if !right(t) {
			return CorruptTCP
		}
	case protocol == protocolUDP && len(t) >= udpLen:
		n := int(binary.BigEndian.Uint16(t[udpLength:]))
		switch {
		case n < udpLen || n > len(t):
			return Unverified
		case binary.BigEndian.Uint16(t[udpChecksum:]) == 0:
			// RFC 768: "An all zero transmitted checksum value means that the
			// transmitter generated no checksum". RFC 8200 §8.1: "IPv6 receivers must
			// discard UDP packets containing a zero checksum".
			if v6 {
				return CorruptUDP
			}
		case !right(t[:n]):
			return CorruptUDP
		}
	case protocol == protocolICMP && !v6:
		if sum(t) != 0xffff {
			return CorruptICMP
		}
	case protocol == protocolICMPv6 && v6:
		if !right(t) {
			return CorruptICMP
		}
	default:
		return Unverified
	}
	return Intact
}
