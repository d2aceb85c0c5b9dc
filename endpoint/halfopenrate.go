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
	interval time.Duration // between two SCCRQs of a source; 0: any
	burst    time.Duration // how much earlier they may come
	seed     maphash.Seed
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
	r := rates{seed: maphash.MakeSeed(), interval: time.Second / time.Duration(l.RatePerSource)}
	r.burst = time.Duration(min(l.Burst, 1000*l.RatePerSource)) * r.interval
	return r
}

// allow tells whether a source may send another SCCRQ now.
func (r *rates) allow(source netip.Addr, now time.Duration) bool {
	interval, burst := uint32(r.interval/time.Microsecond), uint32(r.burst/time.Microsecond)
	if interval == 0 {
		return true
	}
	if r.rows == nil {
		r.rows = new([rateRows]rateRow)
	}
	a := source.As16()
	key := maphash.Bytes(r.seed, a[:])
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

// sourceOf is what limits per source go by: an IPv4 address, or an IPv6 /64, of which
// whoever has it may use every address.
func sourceOf(peer netip.Addr) netip.Addr {
	if peer.Is4() {
		return peer
	}
	p, _ := peer.WithZone("").Prefix(64)
	return p.Addr()
}
