package endpoint

import (
	"time"
)

// memory is what is remembered of SCCRQs under load: that they came, roughly when,
// and how often. It forgets the oldest of a row for a new one; a flood of 50,000 a
// second of ever different ones leaves each of them ten seconds. An honest peer
// sends its SCCRQ again after 1, 3 and 7 s (RFC 2661 §5.8).
type memory struct {
	rows *[memoryRows]memoryRow // nil: nothing was ever remembered
}

const (
	memoryRows  = 1 << 15         // 2 MiB together
	memoryTick  = time.Second / 8 // of a cell's clock, which has 8 bits
	memoryYoung = 4               // ticks: what comes again sooner has earned nothing
	memoryOld   = 128             // ticks: what comes again later is new
)

// A memoryRow is a cache line.
type memoryRow [16]memoryCell

// A memoryCell is, from the top: 20 bits of the SCCRQ's hash, never 0 with the rest;
// whether it was answered under load; how often it came, up to 7; the tick when it
// was counted last. Zero: empty.
type memoryCell uint32

const (
	cellAnswered memoryCell = 1 << 11
	cellCount               = 8 // where the count is
)

func (c memoryCell) print() uint32   { return uint32(c) >> 12 }
func (c memoryCell) count() int      { return int(c>>cellCount) & 7 }
func (c memoryCell) age(n int64) int { return int(uint8(n) - uint8(c)) }

// A sighting is an SCCRQ in the memory, until the next one is looked up.
type sighting struct {
	cell *memoryCell
	// times is how often it has come, the intervals being honest: 1 for one that is
	// new, 0 for one that came just now already.
	times    int
	answered bool // it was answered before, and nothing came of it
}

// see remembers an SCCRQ, of which key is the keyed hash.
func (m *memory) see(key uint64, now time.Duration) sighting {
	if m.rows == nil {
		m.rows = new([memoryRows]memoryRow)
	}
	row := &m.rows[key%memoryRows]
	print, tick := uint32(key>>44), int64(now/memoryTick)
	oldest, most := &row[0], -1
	for i := range row {
		c := &row[i]
		if *c == 0 {
			if most < 256 {
				oldest, most = c, 256
			}
			continue
		}
		age := c.age(tick)
		if c.print() == print {
			switch {
			case age < memoryYoung:
				return sighting{cell: c, answered: *c&cellAnswered != 0}
			case age <= memoryOld:
				times := min(c.count()+1, 7)
				*c = memoryCell(print)<<12 | *c&cellAnswered | memoryCell(times)<<cellCount | memoryCell(uint8(tick))
				return sighting{c, times, *c&cellAnswered != 0}
			}
			oldest, most = c, 257 // its own, from long ago
			break
		}
		if age > most {
			oldest, most = c, age
		}
	}
	*oldest = memoryCell(print)<<12 | 1<<cellCount | memoryCell(uint8(tick))
	return sighting{cell: oldest, times: 1}
}

// answer notes that the SCCRQ has been answered: it begins to earn anew.
func (s sighting) answer() {
	*s.cell = *s.cell&^(7<<cellCount) | 1<<cellCount | cellAnswered
}

// admission decides under load which SCCRQs are answered. There are as many answers
// in a second as there are records, and they go to those that have come often
// enough: twice; when there are too many of these, three times, or four, as an honest
// peer's has after seven seconds. Those that were answered already, in vain, get what
// the others leave.
type admission struct {
	rate    float64 // answers a second
	answers float64 // that are left
	at      time.Duration
	enough  int           // times; 0 is 2
	since   time.Duration // when that was changed
}

const (
	enoughMost  = 4
	raiseEnough = time.Second / 10 // after it was changed, at the earliest
	lowerEnough = time.Second      // likewise: an attack goes on
)

// admit takes one of the answers, if there is one for an SCCRQ that was seen so.
func (a *admission) admit(s sighting, now time.Duration) (admitted, enough bool) {
	most := max(a.rate/8, 1)
	a.answers = min(most, a.answers+a.rate*(now-a.at).Seconds())
	a.at = now
	if a.enough == 0 || a.answers >= most/2 && now-a.since >= lowerEnough {
		a.enough, a.since = max(a.enough-1, 2), now
	}
	if s.times < a.enough {
		return false, false
	}
	left := 1.
	if s.answered {
		left = max(most/2, 1)
	}
	if a.answers < left {
		if !s.answered && now-a.since >= raiseEnough {
			a.enough, a.since = min(a.enough+1, enoughMost), now
		}
		return false, true
	}
	a.answers--
	s.answer()
	return true, true
}
