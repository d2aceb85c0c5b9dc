package wire

import (
	"encoding/binary"
	"fmt"
)

// A value is how the field of a [Message] stands in AVPs: a single in one, a
// series in as many as it has values.
type value interface {
	isZero() bool
	// decode reads the value of an AVP, of which it keeps nothing. Code is 0,
	// or the general error code (RFC 2661 §4.4.2) that goes with the reason.
	decode(b []byte) (code uint16, reason string)
}

type single interface {
	// append appends the value. There is room for so many octets: a text is
	// cut to them.
	append(b []byte, room int) []byte
}

type series interface {
	each() []single
}

// The kinds of values that several attributes share.
type (
	u16       uint16
	u32       uint32
	u64       uint64
	low       uint16 // two octets, of which the first is reserved
	id        uint32 // two octets, never 0
	text      string
	octets    []byte
	challenge []byte // at least one octet
	fixed     []byte // as many octets as it has: a slice of an array
	flag      bool   // no octets: the presence is the value
)

func (v *u16) isZero() bool                  { return *v == 0 }
func (v *u16) append(b []byte, _ int) []byte { return binary.BigEndian.AppendUint16(b, uint16(*v)) }
func (v *u16) decode(b []byte) (uint16, string) {
	if len(b) != 2 {
		return wrongLength(b, "2")
	}
	*v = u16(binary.BigEndian.Uint16(b))
	return 0, ""
}

func (v *u32) isZero() bool                  { return *v == 0 }
func (v *u32) append(b []byte, _ int) []byte { return binary.BigEndian.AppendUint32(b, uint32(*v)) }
func (v *u32) decode(b []byte) (uint16, string) {
	if len(b) != 4 {
		return wrongLength(b, "4")
	}
	*v = u32(binary.BigEndian.Uint32(b))
	return 0, ""
}

func (v *u64) isZero() bool                  { return *v == 0 }
func (v *u64) append(b []byte, _ int) []byte { return binary.BigEndian.AppendUint64(b, uint64(*v)) }
func (v *u64) decode(b []byte) (uint16, string) {
	if len(b) != 8 {
		return wrongLength(b, "8")
	}
	*v = u64(binary.BigEndian.Uint64(b))
	return 0, ""
}

func (v *low) isZero() bool                  { return *v == 0 }
func (v *low) append(b []byte, _ int) []byte { return append(b, 0, byte(*v)) }
func (v *low) decode(b []byte) (uint16, string) {
	if len(b) != 2 {
		return wrongLength(b, "2")
	}
	*v = low(b[1])
	return 0, ""
}

func (v *id) isZero() bool { return *v == 0 }
func (v *id) append(b []byte, _ int) []byte {
	return binary.BigEndian.AppendUint16(b, id16(uint32(*v)))
}
func (v *id) decode(b []byte) (uint16, string) {
	if len(b) != 2 {
		return wrongLength(b, "2")
	}
	*v = id(binary.BigEndian.Uint16(b))
	if *v == 0 {
		return ErrorValue, "0 is not assigned"
	}
	return 0, ""
}

func (v *text) isZero() bool                     { return *v == "" }
func (v *text) append(b []byte, room int) []byte { return append(b, cut(string(*v), room)...) }
func (v *text) decode(b []byte) (uint16, string) { *v = text(b); return 0, "" }

func (v *octets) isZero() bool                  { return len(*v) == 0 }
func (v *octets) append(b []byte, _ int) []byte { return append(b, *v...) }
func (v *octets) decode(b []byte) (uint16, string) {
	*v = append(octets(nil), b...)
	return 0, ""
}

func (v *challenge) isZero() bool                  { return len(*v) == 0 }
func (v *challenge) append(b []byte, _ int) []byte { return append(b, *v...) }
func (v *challenge) decode(b []byte) (uint16, string) {
	if len(b) == 0 {
		return wrongLength(b, "1 or more")
	}
	*v = append(challenge(nil), b...)
	return 0, ""
}

func (v fixed) isZero() bool {
	for _, octet := range v {
		if octet != 0 {
			return false
		}
	}
	return true
}
func (v fixed) append(b []byte, _ int) []byte { return append(b, v...) }
func (v fixed) decode(b []byte) (uint16, string) {
	if len(b) != len(v) {
		return wrongLength(b, fmt.Sprint(len(v)))
	}
	copy(v, b)
	return 0, ""
}

func (v *flag) isZero() bool                  { return !bool(*v) }
func (v *flag) append(b []byte, _ int) []byte { return b }
func (v *flag) decode(b []byte) (uint16, string) {
	if len(b) != 0 {
		return wrongLength(b, "0")
	}
	*v = true
	return 0, ""
}

// A Q931Cause is the value of a Q.931 Cause Code AVP (RFC 2661 §4.4.4).
type Q931Cause struct {
	Code     uint16 // as in ITU-T Q.931 (Q.850)
	Message  uint8  // the Q.931 message that carried it
	Advisory string // ASCII
}

func (q *Q931Cause) isZero() bool { return *q == Q931Cause{} }
func (q *Q931Cause) append(b []byte, room int) []byte {
	b = binary.BigEndian.AppendUint16(b, q.Code)
	b = append(b, q.Message)
	return append(b, cut(q.Advisory, room-3)...)
}
func (q *Q931Cause) decode(b []byte) (uint16, string) {
	if len(b) < 3 {
		return wrongLength(b, "3 or more")
	}
	*q = Q931Cause{Code: binary.BigEndian.Uint16(b), Message: b[2], Advisory: string(b[3:])}
	return 0, ""
}

// CallErrors is the value of a Call Errors AVP (RFC 2661 §4.4.6): counters
// since the call was established.
type CallErrors struct {
	CRC, Framing, HardwareOverruns, BufferOverruns, Timeouts, Alignment uint32
}

func (c *CallErrors) isZero() bool { return *c == CallErrors{} }
func (c *CallErrors) append(b []byte, _ int) []byte {
	b = append(b, 0, 0) // reserved
	for _, n := range []uint32{c.CRC, c.Framing, c.HardwareOverruns, c.BufferOverruns, c.Timeouts, c.Alignment} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}
func (c *CallErrors) decode(b []byte) (uint16, string) {
	if len(b) != 26 {
		return wrongLength(b, "26")
	}
	for i, n := range []*uint32{&c.CRC, &c.Framing, &c.HardwareOverruns, &c.BufferOverruns, &c.Timeouts, &c.Alignment} {
		*n = binary.BigEndian.Uint32(b[2+4*i:])
	}
	return 0, ""
}

// An ACCM is the value of an ACCM AVP (RFC 2661 §4.4.6): the async control
// character maps that the LNS has negotiated, as the LAC is to use them.
type ACCM struct{ Send, Receive uint32 }

func (a *ACCM) isZero() bool { return *a == ACCM{} }
func (a *ACCM) append(b []byte, _ int) []byte {
	b = append(b, 0, 0) // reserved
	b = binary.BigEndian.AppendUint32(b, a.Send)
	return binary.BigEndian.AppendUint32(b, a.Receive)
}
func (a *ACCM) decode(b []byte) (uint16, string) {
	if len(b) != 10 {
		return wrongLength(b, "10")
	}
	*a = ACCM{Send: binary.BigEndian.Uint32(b[2:]), Receive: binary.BigEndian.Uint32(b[6:])}
	return 0, ""
}

func wrongLength(b []byte, want string) (uint16, string) {
	return ErrorLength, fmt.Sprintf("%d octets, expected %s", len(b), want)
}

// cut is a text as far as it fits into n octets.
func cut(s string, n int) string { return s[:min(n, len(s))] }
