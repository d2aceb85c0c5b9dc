package netstack

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// timerLeast is the shortest time after which a timer of the stack goes off, unless it
// is to go off at once.
//
// What takes less is a probe for a lost tail (RFC 8985 §7.2: after two round trips) or
// the wait for reordered segments (§6.2, step 4), on a path where a round trip takes so
// little that it is the scheduling of either end that is measured. A probe that is sent
// too early counts as a loss: gVisor sends no DSACK (RFC 2883) that would tell its
// sender better, so the congestion window shrinks again and again where nothing is ever
// lost. Linux has two jiffies there, up to 20 ms, for the same reason.
const timerLeast = 20 * time.Millisecond

// A coarseClock is a clock whose timers are not more exact than need be.
type coarseClock struct{ tcpip.Clock }

func newClock() tcpip.Clock { return coarseClock{tcpip.NewStdClock()} }

// AfterFunc calls f after d, or after timerLeast if that is longer.
func (c coarseClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	return coarseTimer{c.Clock.AfterFunc(coarse(d), f)}
}

type coarseTimer struct{ tcpip.Timer }

func (t coarseTimer) Reset(d time.Duration) { t.Timer.Reset(coarse(d)) }

func coarse(d time.Duration) time.Duration {
	if d <= 0 {
		return d
	}
	return max(d, timerLeast)
}
