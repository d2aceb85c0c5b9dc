package wire

import "encoding/binary"

// An Opening is what a control message that names no tunnel tells of itself at a
// glance.
type Opening struct {
	Type MessageType
	// TunnelID is the Assigned Tunnel ID; 0 when it is hidden, and only
	// [ParseMessage] with the secret knows it.
	TunnelID uint32
	// Hidden is the hidden value of the Assigned Tunnel ID, part of the message;
	// nil when it is not hidden.
	Hidden []byte
}

// ParseOpening reads the Message Type and the Assigned Tunnel ID of an SCCRQ, SCCRP
// or StopCCN, and nothing else: a flood of them is to cost next to nothing. It
// reports false for other messages, and for those in which [ParseMessage] would not
// find both. What follows the Assigned Tunnel ID is not looked at.
func ParseOpening(avps []byte) (o Opening, ok bool) {
	be := binary.BigEndian
	for first := true; len(avps) >= avpHeaderLen; first = false {
		bits, vendor, attribute := be.Uint16(avps), be.Uint16(avps[2:]), AVPType(be.Uint16(avps[4:]))
		n := int(bits & maskLength)
		if n < avpHeaderLen || n > len(avps) {
			return o, false
		}
		value := avps[avpHeaderLen:n:n]
		avps = avps[n:]
		// Attribute types mean something without reserved bits and in the IETF's
		// own space only (RFC 2661 §4.1).
		ietf := bits&maskReserved == 0 && vendor == 0
		switch {
		case first:
			// It "MUST be the first AVP in a message", and may not be hidden (§4.4.1).
			if !ietf || attribute != AVPMessageType || bits&bitH != 0 || len(value) != 2 {
				return o, false
			}
			o.Type = MessageType(be.Uint16(value))
			if o.Type != SCCRQ && o.Type != SCCRP && o.Type != StopCCN {
				return o, false
			}
		case !ietf || attribute != AVPAssignedTunnelID:
		case bits&bitH != 0:
			o.Hidden = value
			return o, true
		default:
			if len(value) != 2 {
				return o, false
			}
			o.TunnelID = uint32(be.Uint16(value))
			return o, o.TunnelID != 0
		}
	}
	return o, false
}
