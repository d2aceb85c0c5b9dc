package bridge

import (
	"math"
	"sync/atomic"
	"time"
)

// A rate is how many frames a second may pass, with a burst of as many as in one
// second. It is the token bucket in the form of ATM's GCRA: its one value is when it
// will be full again.
type rate struct {
	interval int64 // nanoseconds a frame; 0: no limit
	full     atomic.Int64
}

// set takes a limit as it stands in a [PortConfig].
func (r *rate) set(perSecond int) {
	switch {
	case perSecond == 0:
		perSecond = defaultFlood
	case perSecond < 0:
		return
	}
	r.interval = int64(time.Second) / int64(min(perSecond, int(time.Second)))
}

func (r *rate) allow(now int64) bool {
	if r.interval == 0 {
		return true
	}
	for {
		was := r.full.Load()
		then := max(was, now) + r.interval
		if then-now > int64(time.Second) {
			return false
		}
		if r.full.CompareAndSwap(was, then) {
			return true
		}
	}
}

// longest is a time that is set: 0 is the default, and what is negative forever.
func longest(set, otherwise time.Duration) int64 {
	switch {
	case set == 0:
		return int64(otherwise)
	case set < 0:
		return math.MaxInt64
	}
	return int64(set)
}

// most is the same for a number.
func most(set, otherwise int) int {
	switch {
	case set == 0:
		return otherwise
	case set < 0:
		return math.MaxInt
	}
	return set
}
