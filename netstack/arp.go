package netstack

import (
	"encoding/binary"
	"net/netip"
)

// ARP for IPv4 over Ethernet (RFC 826).
const (
	arpLen     = 28
	arpRequest = 1
	arpReply   = 2
)

// An arpPacket is a packet of ARP for IPv4 over Ethernet.
type arpPacket struct {
	op                   uint16
	sender, target       mac
	senderAddr, wantAddr netip.Addr
}

// parseARP takes a packet apart. It reports false unless it is a request or a reply of
// IPv4 over Ethernet, from an address that one interface can have. What comes behind
// is padding.
func parseARP(p []byte) (a arpPacket, ok bool) {
	if len(p) < arpLen || binary.BigEndian.Uint16(p) != 1 || binary.BigEndian.Uint16(p[2:]) != etherIPv4 || p[4] != 6 || p[5] != 4 {
		return a, false
	}
	a = arpPacket{
		op:         binary.BigEndian.Uint16(p[6:]),
		sender:     mac(p[8:]),
		senderAddr: netip.AddrFrom4([4]byte(p[14:])),
		target:     mac(p[18:]),
		wantAddr:   netip.AddrFrom4([4]byte(p[24:])),
	}
	return a, (a.op == arpRequest || a.op == arpReply) && a.sender.isUnicast()
}

func (a arpPacket) bytes() []byte {
	p := make([]byte, arpLen)
	binary.BigEndian.PutUint16(p, 1)
	binary.BigEndian.PutUint16(p[2:], etherIPv4)
	p[4], p[5] = 6, 4
	binary.BigEndian.PutUint16(p[6:], a.op)
	copy(p[8:], a.sender[:])
	copy(p[14:], a.senderAddr.AsSlice())
	copy(p[18:], a.target[:])
	copy(p[24:], a.wantAddr.AsSlice())
	return p
}
