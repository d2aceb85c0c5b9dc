package wire

import "encoding/binary"

// An Opening is what a control message that names no tunnel tells of itself at a
// glance.
type Opening struct {
	Type MessageType
	// TunnelID is the Assigned Tunnel ID, or L2TPv3's Assigned Control Connection ID; 0
	// when it is hidden, and only [ParseMessage] with the secret knows it.
	TunnelID uint32
	// Hidden is the hidden value of that AVP, part of the message;
	// nil when it is not hidden.
	Hidden []byte
}

// ParseOpening reads the Message Type and the Assigned Tunnel ID of an SCCRQ, SCCRP
// or StopCCN, and nothing else: a flood of them is to cost next to nothing. It
// reports false for other messages, and for those in which [ParseMessage] would not
// find both. What follows the Assigned Tunnel ID is not looked at.
func ParseOpening(avps []byte) (o Opening, ok bool) { return parseOpening(avps, AVPAssignedTunnelID) }

// ParseOpeningV3 is ParseOpening for a message of L2TPv3, which has an Assigned Control
// Connection ID.
func ParseOpeningV3(avps []byte) (o Opening, ok bool) {
	return parseOpening(avps, AVPAssignedConnectionID)
}

// OffersV3 reports whether an SCCRQ of L2TPv2 is of a peer that goes on in L2TPv3 when it
// is answered so (RFC 3931 §4.7.3): it has an Assigned Control Connection ID.
func OffersV3(avps []byte) bool {
	o, ok := ParseOpeningV3(avps)
	return ok && o.Type == SCCRQ
}

// parseOpening looks for the attribute with the identifier, which has two octets in
// L2TPv2 and four in L2TPv3.
func parseOpening(avps []byte, identifier AVPType) (o Opening, ok bool) {
	be := binary.BigEndian
	isV3 := identifier == AVPAssignedConnectionID
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
		ietf := (isV3 || bits&maskReserved == 0) && vendor == 0
		if isV3 && vendor == vendorCisco && attributesCisco[attribute] == identifier {
			ietf, attribute = true, identifier
		}
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
		case !ietf || attribute != identifier:
		case bits&bitH != 0:
			o.Hidden = value
			return o, true
		case isV3:
			if len(value) != 4 {
				return o, false
			}
			o.TunnelID = be.Uint32(value)
			return o, o.TunnelID != 0
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
