package link

import (
	"encoding/binary"
	"math/bits"
)

// sum is the Internet checksum of b before its complement is taken: the ones'
// complement sum of its 16-bit words, the last of which is padded with zero
// (RFC 1071 §1).
func sum(b []byte) uint16 {
	// The sum does not depend on the width of the words, and depends on their
	// byte order only by a swap of the result (RFC 1071 §2(B), §2(C)): eight
	// bytes at a time, in the order that the machine likes.
	var a, carry uint64
	for len(b) >= 64 {
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(b[0:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(b[8:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(b[16:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(b[24:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(b[32:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(b[40:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(b[48:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(b[56:]), carry)
		b = b[64:]
	}
	for len(b) >= 8 {
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	var rest uint64
	for i, c := range b {
		rest |= uint64(c) << (8 * i)
	}
	a, carry = bits.Add64(a, rest, carry)
	a, carry = bits.Add64(a, carry, 0)
	a += carry
	return bits.ReverseBytes16(fold(a))
}

// sum2 is the sum of a followed by b.
func sum2(a, b []byte) uint16 {
	s := sum(b)
	if len(a)%2 != 0 { // b's bytes are in the other halves of their words
		s = bits.ReverseBytes16(s)
	}
	return fold(uint64(sum(a)) + uint64(s))
}

// fold brings a sum of 16-bit words back to 16 bits by adding what was carried
// out of them.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}
