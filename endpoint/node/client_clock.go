package node

import (
	"context"
	"time"
)

const (
	clockInterval = 5 * time.Second
	// clockJump is how much more than that may pass on either clock before we take it
	// that the machine has slept.
	clockJump = 5 * time.Second
)

// A clock tells the time twice: as calendars have it, and as it has passed since some
// moment.
type clock func() (wall time.Time, monotonic time.Duration)

// systemClock is a clock of Go's. On Linux its monotonic part stands still while the
// machine sleeps, as timers do; elsewhere it may go on.
func systemClock() clock {
	start := time.Now()
	return func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(start)
	}
}

// watchClock tells woke when the machine seems to have slept: more time has passed from
// one tick to the next than from there to here, on one clock at least. The tunnel may
// have died meanwhile, and no timer of ours knows. A clock that was set looks the same,
// which does no harm.
func watchClock(ctx context.Context, read clock, woke chan<- struct{}) {
	tick := time.NewTicker(clockInterval)
	defer tick.Stop()
	wall, monotonic := read()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w, m := read()
		if w.Sub(wall) > clockInterval+clockJump || m-monotonic > clockInterval+clockJump {
			select {
			case woke <- struct{}{}:
			default:
			}
		}
		wall, monotonic = w, m
	}
}
