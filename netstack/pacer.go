package netstack

import (
	"sync/atomic"
	"time"
)

// A pacer says when something may be done again that others provoke: burst times at
// once, and then once in interval. The zero one has not been used. It is a
// token bucket of eight bytes, since there are ten thousand of them.
type pacer struct {
	next atomic.Int64 // when the bucket is full again, in ns since began
}

// began makes times comparable that a step of the clock must not change.
var began = time.Now()

func (p *pacer) allow(now time.Time, interval time.Duration, burst int) bool {
	n := int64(now.Sub(began))
	for {
		old := p.next.Load()
		full := max(old, n) + int64(interval)
		if full-n > int64(burst)*int64(interval) {
			return false
		}
		if p.next.CompareAndSwap(old, full) {
			return true
		}
	}
}
