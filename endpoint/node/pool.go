package node

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// A carver cuts a prefix into equal pieces and gives them away: the one after the
// one given last, so that a piece rests before it is used again. It has no lock.
type carver struct {
	whole netip.Prefix
	bits  int // of a piece
	count uint64
	next  uint64
	used  map[netip.Prefix]int // how many have it; pieces of others' prefixes may be here, too
}

// newCarver cuts whole, of at most 2^48 pieces, into pieces of bits.
func newCarver(whole netip.Prefix, bits int) (*carver, error) {
	if n := bits - whole.Bits(); n < 0 || n > 48 {
		return nil, fmt.Errorf("expected a prefix of %d to %d bits for pieces of %d bits, found %v", max(0, bits-48), bits, bits, whole)
	}
	return &carver{whole: whole.Masked(), bits: bits, count: 1 << (bits - whole.Bits()), used: map[netip.Prefix]int{}}, nil
}

// piece is the one with index i.
func (c *carver) piece(i uint64) netip.Prefix {
	if c.whole.Addr().Is4() {
		b := c.whole.Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(i<<(32-c.bits)))
		return netip.PrefixFrom(netip.AddrFrom4(b), c.bits)
	}
	b := c.whole.Addr().As16() // pieces are of 64 bits at most
	binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])+i<<(64-c.bits))
	return netip.PrefixFrom(netip.AddrFrom16(b), c.bits)
}

// take gives a piece that nobody has; ok is false when there is none.
func (c *carver) take() (p netip.Prefix, ok bool) {
	for range min(c.count, uint64(len(c.used))+1) { // so many may be in use
		p = c.piece(c.next)
		c.next = (c.next + 1) % c.count
		if c.used[p] == 0 {
			c.used[p]++
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// hold keeps the pieces that overlap p from being given away, until it is released.
// Pieces are compared one by one: p should not be much larger than one.
func (c *carver) hold(p netip.Prefix) { c.each(p, 1) }

// release takes back what take gave or hold has kept.
func (c *carver) release(p netip.Prefix) { c.each(p, -1) }

func (c *carver) each(p netip.Prefix, n int) {
	if !p.Overlaps(c.whole) {
		return
	}
	if p.Bits() >= c.bits { // in one piece
		c.count1(netip.PrefixFrom(p.Addr(), c.bits).Masked(), n)
		return
	}
	// p is in the whole, or has all of it; it is as many pieces as it says.
	first := p.Masked()
	if first.Bits() < c.whole.Bits() {
		first = c.whole
	}
	part := carver{whole: first, bits: c.bits}
	for i := range uint64(1) << min(c.bits-first.Bits(), maxHeld) {
		c.count1(part.piece(i), n)
	}
}

// maxHeld bounds the pieces that one prefix of a user's keeps, as a power of two.
const maxHeld = 16

func (c *carver) count1(p netip.Prefix, n int) {
	if c.used[p] += n; c.used[p] <= 0 {
		delete(c.used, p)
	}
}
