package netstack

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// clampMSS makes the maximum segment size that a SYN in packet announces small
// enough for a link of the given MTU, and reports whether it had to. Packets too
// long for a tunnel are reported by ICMP, which many networks lose (RFC 4459
// §3.2). The packet is an IP packet, and may be anything else inside.
func clampMSS(packet []byte, mtu int) bool {
	if !hasSYN(packet) {
		return false
	}
	t, most := tcpOf(packet, mtu)
	end := int(t[12]>>4) * 4
	if end > len(t) {
		return false
	}
	for i := header.TCPMinimumSize; i < end; {
		switch kind := t[i]; {
		case kind == header.TCPOptionEOL:
			return false
		case kind == header.TCPOptionNOP:
			i++
			continue
		case i+1 >= end || t[i+1] < 2 || i+int(t[i+1]) > end:
			return false // an option without a length that leads on
		case kind == header.TCPOptionMSS && t[i+1] == header.TCPOptionMSSLength:
			was := binary.BigEndian.Uint16(t[i+2:])
			if int(was) <= most {
				return false
			}
			binary.BigEndian.PutUint16(t[i+2:], uint16(most))
			sum := binary.BigEndian.Uint16(t[16:])
			binary.BigEndian.PutUint16(t[16:], adjustChecksum(sum, was, uint16(most), i%2 != 0))
			return true
		}
		i += int(t[i+1])
	}
	return false
}

// hasSYN reports whether a packet opens a TCP connection, or answers that.
func hasSYN(packet []byte) bool {
	t, _ := tcpOf(packet, 0)
	return len(t) >= header.TCPMinimumSize && t[13]&uint8(header.TCPFlagSyn) != 0
}

// tcpOf is the TCP segment in a packet, or its beginning if that is a fragment,
// and the most that a segment may have where the MTU is as given: without the
// fixed headers (RFC 6691 §2). It is nil when there is none.
func tcpOf(packet []byte, mtu int) (segment []byte, most int) {
	switch {
	case len(packet) >= header.IPv4MinimumSize && packet[0]>>4 == 4:
		h := header.IPv4(packet)
		if n := int(h.HeaderLength()); h.TransportProtocol() == header.TCPProtocolNumber && h.FragmentOffset() == 0 && n >= header.IPv4MinimumSize && n <= len(packet) {
			return packet[n:], max(mtu-header.IPv4MinimumSize-header.TCPMinimumSize, 1)
		}
	case len(packet) >= header.IPv6MinimumSize && packet[0]>>4 == 6:
		if header.IPv6(packet).TransportProtocol() == header.TCPProtocolNumber {
			return packet[header.IPv6MinimumSize:], max(mtu-header.IPv6MinimumSize-header.TCPMinimumSize, 1)
		}
	}
	return nil, 0
}

// adjustChecksum is the Internet checksum sum after a 16-bit word has changed (RFC
// 1624 §3, equation 3). The word may lie across two of those that were summed
// up: odd.
func adjustChecksum(sum, was, is uint16, odd bool) uint16 {
	if odd {
		was, is = was>>8|was<<8, is>>8|is<<8
	}
	s := uint32(^sum) + uint32(^was) + uint32(is)
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return ^uint16(s)
}
