package ppp

import "encoding/binary"

// Protocol numbers (RFC 1661 §2).
const (
	ProtocolIPv4 = 0x0021
	ProtocolIPv6 = 0x0057
	ProtocolMPPE = 0x00fd // "Compressed datagram"

	protocolIPCP   = 0x8021
	protocolIPV6CP = 0x8057
	protocolCCP    = 0x80fd
	protocolLCP    = 0xc021
	protocolPAP    = 0xc023
	protocolCHAP   = 0xc223
	protocolEAP    = 0xc227
)

// isNCP reports whether the protocol is a network control protocol: the numbers
// "in the '8***' to 'b***' range" (RFC 1661 §2).
func isNCP(protocol uint16) bool { return protocol>>14 == 2 }

// HeaderLen is the length of what a [Link] and a data frame have in front of
// the information: FF 03 and a protocol of two octets, never compressed.
const HeaderLen = 4

// PutHeader writes the header of a frame to b, which has at least [HeaderLen]
// octets.
func PutHeader(b []byte, protocol uint16) {
	b[0], b[1] = 0xff, 0x03
	binary.BigEndian.PutUint16(b[2:], protocol)
}

// ParseFrame is a frame's protocol and its information. FF 03 may be absent,
// and an odd first octet is a protocol of one octet, whatever was negotiated
// (RFC 1661 §6.5, §6.6). It reports false for a frame that ends before that.
func ParseFrame(frame []byte) (protocol uint16, information []byte, ok bool) {
	if len(frame) >= 2 && frame[0] == 0xff && frame[1] == 0x03 {
		frame = frame[2:]
	}
	switch {
	case len(frame) >= 1 && frame[0]&1 == 1:
		return uint16(frame[0]), frame[1:], true
	case len(frame) >= 2:
		return binary.BigEndian.Uint16(frame), frame[2:], true
	}
	return 0, nil, false
}

// A packet is what LCP, IPCP, PAP, CHAP and EAP have in common (RFC 1661 §5):
//
//	| Code 1 | Identifier 1 | Length 2 | Data |
type packet struct {
	code, id uint8
	data     []byte
}

const packetHeaderLen = 4

// parsePacket reads the packet in a frame's information. Octets after Length
// are padding; a packet longer than the information, or than its own header
// allows, is none.
func parsePacket(information []byte) (packet, bool) {
	if len(information) < packetHeaderLen {
		return packet{}, false
	}
	n := int(binary.BigEndian.Uint16(information[2:]))
	if n < packetHeaderLen || n > len(information) {
		return packet{}, false
	}
	return packet{information[0], information[1], information[packetHeaderLen:n]}, true
}

// appendTo appends the packet as it stands in a frame's information.
func (p packet) appendTo(b []byte) []byte {
	b = append(b, p.code, p.id)
	b = binary.BigEndian.AppendUint16(b, uint16(packetHeaderLen+len(p.data)))
	return append(b, p.data...)
}

// frame is the packet in a frame of its own.
func (p packet) frame(protocol uint16) []byte {
	b := make([]byte, HeaderLen, HeaderLen+packetHeaderLen+len(p.data))
	PutHeader(b, protocol)
	return p.appendTo(b)
}
