package wire

import (
	"encoding/binary"
	"fmt"
)

// The kinds of values that L2TPv3's attributes have.
type (
	id32          uint32   // four octets, never 0
	list16        []uint16 // two octets each
	cookie        []byte   // 0, 4 or 8 octets
	digests       []DigestType
	circuitErrors CallErrors
)

func (v *id32) isZero() bool { return *v == 0 }
func (v *id32) append(b []byte, _ int) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(*v))
}
func (v *id32) decode(b []byte) (uint16, string) {
	if len(b) != 4 {
		return wrongLength(b, "4")
	}
	*v = id32(binary.BigEndian.Uint32(b))
	if *v == 0 {
		return ErrorValue, "0 is not assigned"
	}
	return 0, ""
}

func (v *list16) isZero() bool { return len(*v) == 0 }
func (v *list16) append(b []byte, room int) []byte {
	for _, n := range (*v)[:min(len(*v), room/2)] {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}
func (v *list16) decode(b []byte) (uint16, string) {
	if len(b)%2 != 0 {
		return wrongLength(b, "an even number")
	}
	*v = make(list16, len(b)/2)
	for i := range *v {
		(*v)[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return 0, ""
}

func (v *cookie) isZero() bool                  { return len(*v) == 0 }
func (v *cookie) append(b []byte, _ int) []byte { return append(b, *v...) }
func (v *cookie) decode(b []byte) (uint16, string) {
	if n := len(b); n != 0 && n != 4 && n != 8 {
		return wrongLength(b, "0, 4 or 8")
	}
	*v = append(cookie(nil), b...)
	return 0, ""
}

// decode takes the digest of either form: RFC 3931 §5.4.5 draws four counters and says
// that the AVP has 32 octets, which is room for L2TPv2's six.
func (c *circuitErrors) decode(b []byte) (uint16, string) {
	if len(b) != 18 {
		return (*CallErrors)(c).decode(b)
	}
	*c = circuitErrors{}
	for i, n := range []*uint32{&c.HardwareOverruns, &c.BufferOverruns, &c.Timeouts, &c.Alignment} {
		*n = binary.BigEndian.Uint32(b[2+4*i:])
	}
	return 0, ""
}
func (c *circuitErrors) isZero() bool                  { return (*CallErrors)(c).isZero() }
func (c *circuitErrors) append(b []byte, n int) []byte { return (*CallErrors)(c).append(b, n) }

func (v *digests) isZero() bool { return len(*v) == 0 }
func (v *digests) each() (all []single) {
	for _, t := range *v {
		all = append(all, noDigest(t))
	}
	return all
}
func (v *digests) decode(b []byte) (uint16, string) {
	if len(b) == 0 {
		return wrongLength(b, "17 or 21")
	}
	t := DigestType(b[0])
	if n := t.size(); n != 0 && len(b) != 1+n {
		return wrongLength(b, fmt.Sprint(1+n))
	}
	*v = append(*v, t)
	return 0, ""
}

// noDigest is a Message Digest that is not calculated yet.
type noDigest DigestType

func (d noDigest) append(b []byte, _ int) []byte {
	b = append(b, byte(d))
	return append(b, make([]byte, DigestType(d).size())...)
}
