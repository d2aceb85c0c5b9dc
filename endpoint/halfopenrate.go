package endpoint

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// rates keep each source's SCCRQs to a rate, in memory that does not grow: of too
// many sources those are forgotten that have sent the least lately, so that whoever
// forges others' addresses frees them rather than locks them out.
type rates struct {
	interval time.Duration      // between two SCCRQs of a source; 0: any
	burst    time.Duration      // how much earlier they may come
	rows     *[rateRows]rateRow // nil: nothing has come yet
}

const rateRows = 1 << 13 // 512 KiB together

// A rateRow is a cache line.
type rateRow [8]rateCell

type rateCell struct {
	print uint32 // of the source's hash
	free  uint32 // microseconds: when the source will have made up for what it has sent
}

func newRates(l *Limits) rates {
	r := rates{interval: time.Second / time.Duration(l.RatePerSource)}
	r.burst = time.Duration(min(l.Burst, 1000*l.RatePerSource)) * r.interval
	return r
}

// allow tells whether a source, by its key, may send another SCCRQ now.
func (r *rates) allow(key uint64, now time.Duration) bool {
	interval, burst := uint32(r.interval/time.Microsecond), uint32(r.burst/time.Microsecond)
	if interval == 0 {
		return true
	}
	if r.rows == nil {
		r.rows = new([rateRows]rateRow)
	}
	row, print, clock := &r.rows[key%rateRows], uint32(key>>32), uint32(now/time.Microsecond)
	// The clock wraps after 71 minutes: what is further ahead than a burst lies in
	// the past.
	owes := func(c *rateCell) uint32 {
		if ahead := c.free - clock; ahead <= burst {
			return ahead
		}
		return 0
	}
	least := &row[0]
	for i := range row {
		c := &row[i]
		if c.print == print {
			least = c
			break
		}
		if owes(c) < owes(least) {
			least = c
		}
	}
	debt := uint32(0)
	if least.print == print {
		debt = owes(least)
	}
	if debt+interval > burst {
		return false
	}
	*least = rateCell{print, clock + debt + interval}
	return true
}

// A hasher makes keys, which nobody can foresee.
type hasher struct{ seed maphash.Seed }

// sccrq is the key of an SCCRQ: where it came from, and which id its sender has
// assigned. A hidden id serves as it is, since a repetition is the same octet by octet.
func (h hasher) sccrq(p peerID, hidden []byte) uint64 {
	addr, port, id := p.addr.Addr().As16(), p.addr.Port(), p.id
	var b [64]byte
	k := append(b[:0], addr[:]...)
	k = append(k, byte(port>>8), byte(port), byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	if p.v3 {
		k = append(k, 3)
	}
	k = append(k, hidden[:min(len(hidden), cap(k)-len(k))]...)
	return maphash.Bytes(h.seed, k)
}

// source is the key of what limits per source go by: an IPv4 address, or an IPv6 /64,
// of which whoever has it may use every address.
func (h hasher) source(peer netip.Addr) uint64 {
	a := peer.As16()
	if peer.Is4() {
		return maphash.Bytes(h.seed, a[:])
	}
	return maphash.Bytes(h.seed, a[:8])
}
