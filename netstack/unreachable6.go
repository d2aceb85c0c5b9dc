package netstack

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// actOnUnreachable makes sure that gVisor takes notice of an ICMPv6 Destination
// Unreachable message. It knows two codes, no route and port unreachable, and
// would go on dialling for minutes where a router says that the address is
// unreachable or prohibited. RFC 4443 §3.1 has all of them reported alike: "a node
// receiving the ICMPv6 Destination Unreachable message MUST notify the upper-layer
// process". The packet is ours to change.
func actOnUnreachable(packet []byte) {
	p := header.IPv6(packet)
	m := header.ICMPv6(p.Payload())
	if p.TransportProtocol() != header.ICMPv6ProtocolNumber || len(m) < header.ICMPv6DstUnreachableMinimumSize || m.Type() != header.ICMPv6DstUnreachable {
		return
	}
	switch m.Code() {
	case header.ICMPv6NetworkUnreachable, header.ICMPv6PortUnreachable:
		return
	}
	// RFC 1624 §3: HC' = ~(~HC + ~m + m'), for the word that has the code.
	was := binary.BigEndian.Uint16(m)
	m.SetCode(header.ICMPv6NetworkUnreachable)
	sum := uint32(^m.Checksum()) + uint32(^was) + uint32(binary.BigEndian.Uint16(m))
	sum = sum>>16 + sum&0xffff
	m.SetChecksum(^uint16(sum + sum>>16))
}
