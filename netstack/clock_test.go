package netstack

import (
	"testing"
	"testing/synctest"
	"time"
)

// A probe for a lost tail, and the wait for what has been reordered, are not sooner than
// what scheduling makes of a round trip on one machine.
func TestTimersAreCoarse(t *testing.T) {
	for _, c := range []struct{ asked, is time.Duration }{
		{0, 0}, // what is to be done at once is not put off
		{1, timerLeast},
		{2 * time.Millisecond, timerLeast},
		{timerLeast, timerLeast},
		{200 * time.Millisecond, 200 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			off := make(chan time.Duration, 1)
			began := time.Now()
			timer := newClock().AfterFunc(c.asked, func() { off <- time.Since(began) })
			if took := <-off; took != c.is {
				t.Errorf("a timer of %v went off after %v, expected %v", c.asked, took, c.is)
			}
			began = time.Now()
			timer.Reset(c.asked)
			if took := <-off; took != c.is {
				t.Errorf("reset to %v it went off after %v, expected %v", c.asked, took, c.is)
			}
		})
	}
}
