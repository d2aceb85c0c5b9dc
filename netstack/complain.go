package netstack

import (
	"encoding/binary"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// ICMP errors to one session (RFC 1812 §4.3.2.8, RFC 4443 §2.4(f)).
const (
	complaintInterval = 10 * time.Millisecond
	complaintBurst    = 50

	complaintMax4 = 576     // bytes of an ICMP error at most (RFC 1812 §4.3.2.3)
	complaintMax6 = minMTU6 // RFC 4443 §2.4(c)
	complaintLen  = 8       // of what stands before the packet complained of
)

// timeExceeded tells the session that its packet has been on the way for too long.
func (p *Port) timeExceeded(packet []byte) {
	if packet[0]>>4 == 4 {
		p.complain4(packet, header.ICMPv4TimeExceeded, 0, 0)
		return
	}
	p.complain6(packet, header.ICMPv6TimeExceeded, 0)
}

// tooBig tells the session that its packet is longer than the way beyond: RFC 1191 §4,
// RFC 4443 §3.2.
func (p *Port) tooBig(packet []byte, mtu int) {
	if packet[0]>>4 == 4 {
		p.complain4(packet, header.ICMPv4DstUnreachable, header.ICMPv4FragmentationNeeded, uint32(mtu))
		return
	}
	p.complain6(packet, header.ICMPv6PacketTooBig, uint32(mtu))
}

// complain4 sends an ICMP error about a packet, unless there must be none: about
// ICMP errors, and about fragments other than the first (RFC 1812 §4.3.2.7). Its
// addresses have been checked.
func (p *Port) complain4(packet header.IPv4, t header.ICMPv4Type, code header.ICMPv4Code, rest uint32) {
	gateway := p.router.gateway(netip.Addr.Is4)
	if !gateway.IsValid() || packet.FragmentOffset() != 0 || isICMPError4(packet) || !p.mayComplain() {
		return
	}
	p.send(icmpError4(toAddress(gateway), packet, t, code, rest, min(complaintMax4, p.mtu())))
}

// icmpError4 is an ICMP error about a packet, of most bytes or less.
func icmpError4(from tcpip.Address, packet header.IPv4, t header.ICMPv4Type, code header.ICMPv4Code, rest uint32, most int) []byte {
	about := packet[:min(len(packet), most-header.IPv4MinimumSize-complaintLen)]
	size := header.IPv4MinimumSize + complaintLen + len(about)
	c := make([]byte, size)
	h := header.IPv4(c)
	h.Encode(&header.IPv4Fields{
		TotalLength: uint16(size), TTL: echoHopLimit, Protocol: uint8(header.ICMPv4ProtocolNumber),
		SrcAddr: from, DstAddr: packet.SourceAddress(),
	})
	h.SetChecksum(^h.CalculateChecksum())
	m := header.ICMPv4(c[header.IPv4MinimumSize:])
	m.SetType(t)
	m.SetCode(code)
	binary.BigEndian.PutUint32(m[4:], rest)
	copy(m[complaintLen:], about)
	m.SetChecksum(header.ICMPv4Checksum(m, 0))
	return c
}

func isICMPError4(h header.IPv4) bool {
	m := h[h.HeaderLength():]
	if h.TransportProtocol() != header.ICMPv4ProtocolNumber {
		return false
	}
	if len(m) == 0 {
		return true // whatever it is
	}
	switch header.ICMPv4Type(m[0]) {
	case header.ICMPv4Echo, header.ICMPv4EchoReply, header.ICMPv4Timestamp, header.ICMPv4TimestampReply, header.ICMPv4InfoRequest, header.ICMPv4InfoReply:
		return false
	}
	return true
}

// complain6 sends an ICMPv6 error about a packet, unless that is one, or its
// beginning is not there to be looked at (RFC 4443 §2.4(e)).
func (p *Port) complain6(packet header.IPv6, t header.ICMPv6Type, rest uint32) {
	if isICMPError6(packet) || !p.mayComplain() {
		return
	}
	gateway := p.router.gateway(netip.Addr.Is6)
	if !gateway.IsValid() {
		gateway = p.v6.linkLocal
	}
	p.send(icmpError6(toAddress(gateway), packet, t, rest))
}

// icmpError6 is an ICMPv6 error about a packet.
func icmpError6(from tcpip.Address, packet header.IPv6, t header.ICMPv6Type, rest uint32) []byte {
	about := packet[:min(len(packet), complaintMax6-header.IPv6MinimumSize-complaintLen)]
	m := make([]byte, complaintLen, complaintLen+len(about))
	m[0] = byte(t)
	binary.BigEndian.PutUint32(m[4:], rest)
	return icmpv6Packet(fromAddress(from), fromAddress(packet.SourceAddress()), echoHopLimit, append(m, about...))
}

// isICMPError6 reports whether h is an ICMPv6 error, or might be one.
func isICMPError6(h header.IPv6) bool {
	const destination, routing = 60, 43
	next, rest := h.NextHeader(), []byte(h.Payload())
	for range 4 {
		switch next {
		case uint8(header.ICMPv6ProtocolNumber):
			return len(rest) == 0 || rest[0] < 128
		case header.IPv6FragmentHeader:
			if len(rest) < 8 || binary.BigEndian.Uint16(rest[2:])&^7 != 0 {
				return true
			}
			next, rest = rest[0], rest[8:]
		case hopByHop, destination, routing:
			if len(rest) < 8 || len(rest) < (int(rest[1])+1)*8 {
				return true
			}
			next, rest = rest[0], rest[(int(rest[1])+1)*8:]
		default:
			return false
		}
	}
	return true
}

func (p *Port) mayComplain() bool {
	return p.complaints.allow(time.Now(), complaintInterval, complaintBurst)
}
