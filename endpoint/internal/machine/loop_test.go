package machine

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// echo is a machine that answers each packet after a delay, twice, and tells
// of it.
type echo struct {
	Output[error]
	delay time.Duration
	due   time.Time
	held  []byte
}

func (e *echo) Handle(now time.Time, packet []byte) {
	e.held = append([]byte(nil), packet...)
	e.due = now.Add(e.delay)
}

func (e *echo) Expire(now time.Time) {
	if e.due.IsZero() || now.Before(e.due) {
		return
	}
	e.due = time.Time{}
	e.Send(e.held)
	e.Emit(fmt.Errorf("echoed %s", e.held))
	e.Send(e.held)
}

func (e *echo) Deadline() time.Time { return e.due }

func TestALoopDrivesManyMachinesByOneHeap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoop(nil)
		start := time.Now()
		var log []string
		say := func(who string) func(time.Time, []byte, error) {
			return func(now time.Time, packet []byte, event error) {
				log = append(log, fmt.Sprintf("%v %s %s %v", now.Sub(start), who, packet, event))
			}
		}
		a := Drive(l, &echo{delay: 2 * time.Second}, say("a"))
		b := Drive(l, &echo{delay: time.Second}, say("b"))
		c := Drive(l, &echo{delay: time.Second}, say("c"))
		a.Handle([]byte("x"))
		b.Handle([]byte("y"))
		c.Handle([]byte("z"))
		c.Do(func(time.Time) { c.Stop() })
		time.Sleep(time.Minute)
		b.Handle([]byte("again"))
		time.Sleep(time.Minute)
		l.Close()
		want := []string{
			"1s b y <nil>", "1s b  echoed y", "1s b y <nil>",
			"2s a x <nil>", "2s a  echoed x", "2s a x <nil>",
			"1m1s b again <nil>", "1m1s b  echoed again", "1m1s b again <nil>",
		}
		if !slices.Equal(log, want) {
			t.Errorf("got %q\nwant %q", log, want)
		}
		if a.Do(func(time.Time) { t.Error("called on a closed loop") }) {
			t.Error("a closed loop takes commands")
		}
	})
}

func TestAFloodForOneMachineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoop(nil)
		defer l.Close()
		flooded := Drive(l, &echo{}, func(time.Time, []byte, error) {})
		var answered atomic.Bool
		other := Drive(l, &echo{}, func(time.Time, []byte, error) { answered.Store(true) })
		gate := make(chan struct{})
		flooded.Do(func(time.Time) { <-gate })
		taken := 0
		for range 10 * PendingMax {
			if flooded.Handle([]byte("flood")) {
				taken++
			}
		}
		if taken != PendingMax {
			t.Errorf("%d packets wait, want %d", taken, PendingMax)
		}
		if !other.Handle([]byte("hello")) {
			t.Error("the other machine's packet was dropped")
		}
		close(gate)
		time.Sleep(time.Second)
		if !answered.Load() {
			t.Error("the other machine never answered")
		}
		if !flooded.Handle([]byte("after")) {
			t.Error("packets are dropped after the flood")
		}
	})
}

func TestAFloodOfPacketsDoesNotStopTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoop(nil)
		defer l.Close()
		fired := make(chan struct{})
		r := Drive(l, &echo{delay: time.Second}, func(_ time.Time, packet []byte, _ error) {
			if string(packet) == "x" {
				select {
				case <-fired:
				default:
					close(fired)
				}
			}
		})
		r.Handle([]byte("x"))
		// Each command posts the next: the inbox is never empty.
		var again func(time.Time)
		again = func(time.Time) {
			select {
			case <-fired:
			default:
				time.Sleep(time.Millisecond)
				l.Do(again)
			}
		}
		l.Do(again)
		<-fired
	})
}

// An event may overtake the last packet that has not been taken, and no more than that.
func TestEmitBefore(t *testing.T) {
	var o Output[string]
	order := func() (all string) {
		for {
			packet, event, ok := o.Next()
			if !ok {
				return all
			}
			all += string(packet) + event + " "
		}
	}
	o.Send([]byte("a"))
	o.Send([]byte("b"))
	o.EmitBefore("1")
	o.EmitBefore("2")
	if got := order(); got != "a 1 2 b " {
		t.Errorf("in the order %s", got)
	}
	o.Send([]byte("a"))
	o.Next()
	o.EmitBefore("1")
	if got := order(); got != "1 " {
		t.Errorf("in the order %s", got)
	}
}

// A machine whose clock stands still takes packets, and its timers wait for the rest of
// their time, however often that happens; those of others do not.
func TestAMachinesClockStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoop(nil)
		defer l.Close()
		start := time.Now()
		var log []string
		say := func(who string) func(time.Time, []byte, error) {
			return func(now time.Time, packet []byte, event error) {
				if packet == nil {
					log = append(log, fmt.Sprintf("%v %s %v", now.Sub(start), who, event))
				}
			}
		}
		a := Drive(l, &echo{delay: 10 * time.Second}, say("a"))
		b := Drive(l, &echo{delay: 10 * time.Second}, say("b"))
		hold := func(still bool) {
			l.Do(func(now time.Time) {
				if still {
					a.Hold(now)
				} else {
					a.Resume(now)
				}
				if a.Held() != still {
					t.Errorf("it is held: %v, want %v", a.Held(), still)
				}
			})
			synctest.Wait()
		}
		a.Handle([]byte("x"))
		b.Handle([]byte("y"))
		for range 2 { // 3 s of a's time pass in each
			time.Sleep(3 * time.Second)
			hold(true)
			hold(true)
			time.Sleep(time.Minute)
			a.Do(func(now time.Time) {
				if got := now.Sub(start); got != 3*time.Second && got != 6*time.Second {
					t.Errorf("a command got %v", got)
				}
			})
			hold(false)
			hold(false)
		}
		time.Sleep(time.Hour - time.Since(start))
		hold(true)
		a.Handle([]byte("z")) // its time begins when the clock goes on
		time.Sleep(time.Hour)
		hold(false)
		time.Sleep(time.Hour)
		hold(true)
		l.Do(func(now time.Time) { a.Stop(); a.Resume(now) })
		time.Sleep(time.Hour)
		if want := []string{"10s b echoed y", "2m10s a echoed x", "2h0m10s a echoed z"}; !slices.Equal(log, want) {
			t.Errorf("got %q\nwant %q", log, want)
		}
	})
}
