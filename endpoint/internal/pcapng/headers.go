package pcapng

import (
	"encoding/binary"
	"net/netip"
)

const protocolUDP = 17

// AppendHeaders appends the IP and UDP headers that a datagram has, or would have
// without options, for a socket sees only what follows them: IPv4 with Don't
// Fragment if both addresses are IPv4, else IPv6, and all checksums.
func AppendHeaders(b []byte, src, dst netip.AddrPort, payload []byte) []byte {
	be := binary.BigEndian
	ip := len(b)
	length := 8 + len(payload) // octets from the UDP header on
	if src.Addr().Is4() && dst.Addr().Is4() {
		b = append(b, 0x45, 0)
		b = be.AppendUint16(b, uint16(20+length))
		b = append(b, 0, 0, 0x40, 0, 64, protocolUDP, 0, 0)
		b = append(b, src.Addr().AsSlice()...)
		b = append(b, dst.Addr().AsSlice()...)
		be.PutUint16(b[ip+10:], ^checksum(0, b[ip:]))
	} else {
		src16, dst16 := src.Addr().As16(), dst.Addr().As16()
		b = append(b, 0x60, 0, 0, 0)
		b = be.AppendUint16(b, uint16(length))
		b = append(b, protocolUDP, 64)
		b = append(b, src16[:]...)
		b = append(b, dst16[:]...)
	}
	udp := len(b)
	b = be.AppendUint16(b, src.Port())
	b = be.AppendUint16(b, dst.Port())
	b = be.AppendUint16(b, uint16(length))
	b = append(b, 0, 0)

	// The pseudo header: both addresses, the protocol and the length (RFC 768,
	// RFC 8200 §8.1). The addresses end the IP header, in either version.
	addresses := b[ip+12 : udp]
	if b[ip]>>4 == 6 {
		addresses = b[ip+8 : udp]
	}
	sum := checksum(protocolUDP+uint32(length), addresses)
	sum = checksum(uint32(sum), b[udp:])
	sum = ^checksum(uint32(sum), payload)
	if sum == 0 {
		sum = 0xffff // 0 means that there is none
	}
	be.PutUint16(b[udp+6:], sum)
	return b
}

// checksum is the ones' complement sum of the 16-bit words of b and what it begins
// with (RFC 1071).
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
