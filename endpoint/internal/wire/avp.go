package wire

import (
	"encoding/binary"
	"fmt"
)

// The first 16 bits of an AVP (RFC 2661 §4.1).
const (
	bitM         = 0x8000
	bitH         = 0x4000
	maskReserved = 0x3c00
	maskLength   = 0x03ff

	avpHeaderLen = 6
	maxValue     = maskLength - avpHeaderLen // octets
)

// An AVP is an attribute-value pair as it is on the wire (RFC 2661 §4.1).
type AVP struct {
	Mandatory bool  // the M bit
	Hidden    bool  // the H bit: Value is hidden (RFC 2661 §4.3)
	Reserved  uint8 // the four reserved bits, which are to be 0
	Vendor    uint16
	Type      AVPType // of this vendor
	Value     []byte
}

// AVPs is an iterator over the AVPs of a control message:
//
//	d := NewAVPs(payload)
//	for d.Next() {
//		… d.AVP() …
//	}
//	if d.Err() != nil { … }
type AVPs struct {
	rest []byte
	avp  AVP
	err  *Error
}

// NewAVPs iterates over the AVPs that follow the header of a control message.
func NewAVPs(payload []byte) *AVPs { return &AVPs{rest: payload} }

// Next goes to the next AVP. It reports false at the end, and for good when
// what follows is no AVP.
func (d *AVPs) Next() bool {
	if d.err != nil || len(d.rest) == 0 {
		return false
	}
	if len(d.rest) < avpHeaderLen {
		d.err = &Error{Mandatory: true, Code: ErrorLength,
			Reason: fmt.Sprintf("%d octets after the last AVP", len(d.rest))}
		return false
	}
	bits := binary.BigEndian.Uint16(d.rest)
	d.avp = AVP{
		Mandatory: bits&bitM != 0,
		Hidden:    bits&bitH != 0,
		Reserved:  uint8(bits & maskReserved >> 10),
		Vendor:    binary.BigEndian.Uint16(d.rest[2:]),
		Type:      AVPType(binary.BigEndian.Uint16(d.rest[4:])),
	}
	n := int(bits & maskLength)
	switch {
	case n < avpHeaderLen:
		d.err = d.avp.fault(ErrorLength, fmt.Sprintf("AVP Length is %d, less than %d", n, avpHeaderLen))
		return false
	case n > len(d.rest):
		d.err = d.avp.fault(ErrorLength, fmt.Sprintf("AVP Length is %d, the message ends after %d", n, len(d.rest)))
		return false
	}
	d.avp.Value, d.rest = d.rest[avpHeaderLen:n:n], d.rest[n:]
	return true
}

// AVP is the current one. Its value is part of the message.
func (d *AVPs) AVP() AVP { return d.avp }

// Err is an [*Error] when the iteration ended before the message did.
func (d *AVPs) Err() error {
	if d.err == nil {
		return nil
	}
	return d.err
}

// vendorBroadbandForum, once the ADSL Forum, has the AVPs of RFC 5515 §5.
const vendorBroadbandForum = 3561

// vendors are those that are met in L2TP, by their number (IANA's Private
// Enterprise Numbers).
var vendors = map[uint16]string{
	vendorCisco:          "Cisco",
	43:                   "3Com",
	193:                  "Ericsson",
	311:                  "Microsoft",
	529:                  "Ascend",
	2352:                 "Redback",
	2636:                 "Juniper",
	vendorBroadbandForum: "Broadband Forum",
	4491:                 "CableLabs",
	14988:                "MikroTik",
}

// String is the AVP's name, or its number and vendor. The value is not in it.
func (a AVP) String() string {
	if row := rowOf(lineAttributes[:], a.Type); row != nil && a.Vendor == vendorBroadbandForum {
		return row.name
	}
	if a.Vendor == 0 {
		return a.Type.String()
	}
	s := fmt.Sprintf("AVP %d of vendor %d", uint16(a.Type), a.Vendor)
	if vendor := vendors[a.Vendor]; vendor != "" {
		s += " (" + vendor + ")"
	}
	return s
}

// unknown is the error that the AVP causes if it is not known and has the M bit.
func (a AVP) unknown() *Error {
	reason := "unknown " + a.String() + " with the M bit set"
	if a.Reserved != 0 {
		reason = a.String() + ": reserved bits and the M bit set"
	}
	return &Error{Vendor: a.Vendor, Attribute: a.Type, Mandatory: true, Code: ErrorUnknownAVP, Reason: reason}
}

// fault is the error that the AVP causes if it may not be skipped.
func (a AVP) fault(code uint16, reason string) *Error {
	return &Error{Vendor: a.Vendor, Attribute: a.Type, Mandatory: a.Mandatory, Code: code, Reason: a.String() + ": " + reason}
}

// append appends the AVP.
func (a AVP) append(b []byte) []byte {
	if len(a.Value) > maxValue {
		panic(fmt.Sprintf("BUG: wire: %v of %d octets, an AVP takes %d", a, len(a.Value), maxValue))
	}
	bits := uint16(avpHeaderLen + len(a.Value))
	if a.Mandatory {
		bits |= bitM
	}
	if a.Hidden {
		bits |= bitH
	}
	b = binary.BigEndian.AppendUint16(b, bits)
	b = binary.BigEndian.AppendUint16(b, a.Vendor)
	b = binary.BigEndian.AppendUint16(b, uint16(a.Type))
	return append(b, a.Value...)
}
