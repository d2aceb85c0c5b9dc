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

// name is the AVP in words.
func (a AVP) name() string {
	if a.Vendor != 0 {
		return fmt.Sprintf("AVP %d of vendor %d", uint16(a.Type), a.Vendor)
	}
	return a.Type.String()
}

// known reports whether the attribute table has a row for the AVP.
//
//	"An AVP received with a reserved bit set to 1 MUST be treated as an
//	unrecognized AVP." (RFC 2661 §4.1)
func (a AVP) known() bool { return a.Vendor == 0 && a.Reserved == 0 && a.Type.known() }

// unknown is the error that the AVP causes if it is not known and has the M bit.
func (a AVP) unknown() *Error {
	reason := "unknown " + a.name() + " with the M bit set"
	if a.Reserved != 0 {
		reason = a.name() + ": reserved bits and the M bit set"
	}
	return &Error{Vendor: a.Vendor, Attribute: a.Type, Mandatory: true, Code: ErrorUnknownAVP, Reason: reason}
}

// fault is the error that the AVP causes if it may not be skipped.
func (a AVP) fault(code uint16, reason string) *Error {
	return &Error{Vendor: a.Vendor, Attribute: a.Type, Mandatory: a.Mandatory, Code: code, Reason: a.name() + ": " + reason}
}

// appendAVP appends the AVP of an IETF attribute, with the value that put appends.
func appendAVP(b []byte, t AVPType, mandatory bool, v value) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(t))
	b = v.append(b)
	n := len(b) - start
	if n > maskLength {
		panic(fmt.Sprintf("BUG: wire: %v of %d octets, an AVP takes %d", t, n-avpHeaderLen, maxValue))
	}
	bits := uint16(n)
	if mandatory {
		bits |= bitM
	}
	binary.BigEndian.PutUint16(b[start:], bits)
	return b
}
