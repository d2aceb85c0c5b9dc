package machine

import (
	"math/rand/v2"
	"testing"
	"time"
)

// alarms is a machine's side of a timer: it notes when it expired, and has another deadline
// then, or none.
type alarms struct {
	timer timer
	all   *timers
	next  func(now time.Time) time.Time
	at    time.Time // its deadline
	rang  int
}

func (a *alarms) expire(now time.Time) {
	a.rang++
	a.set(a.next(now))
}

func (a *alarms) set(at time.Time) {
	a.at = at
	a.all.set(&a.timer, at)
}

// However deadlines are put forward and off, taken back and met, what is due expires, and
// nothing else.
func TestTimersExpireWhenTheyAreDue(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 2))
		began := time.Now()
		all := &timers{began: began}
		now := began
		soon := func() time.Time { return now.Add(time.Duration(1 + r.IntN(1000))) }
		machines := make([]*alarms, 1+r.IntN(40))
		for i := range machines {
			a := &alarms{all: all}
			a.timer.of = a
			a.next = func(time.Time) time.Time {
				if r.IntN(3) == 0 {
					return time.Time{}
				}
				return soon()
			}
			machines[i] = a
		}
		for step := range 2000 {
			a := machines[r.IntN(len(machines))]
			switch r.IntN(4) {
			case 0:
				a.set(time.Time{})
			case 1:
				a.at = time.Time{}
				all.remove(&a.timer)
				if a.timer.place != 0 {
					t.Fatalf("seed %d, step %d: a timer that was removed is in the heap", seed, step)
				}
			default:
				a.set(soon())
			}
			if r.IntN(3) > 0 {
				continue
			}
			now = now.Add(time.Duration(r.IntN(500)))
			var due []*alarms
			for _, a := range machines {
				a.rang = 0
				if !a.at.IsZero() && !a.at.After(now) {
					due = append(due, a)
				}
			}
			if any := all.expire(now); any != (len(due) > 0) {
				t.Fatalf("seed %d, step %d: some were due: %v, with %d", seed, step, any, len(due))
			}
			rang := 0
			for _, a := range machines {
				rang += a.rang
			}
			for _, a := range due {
				if a.rang != 1 {
					t.Fatalf("seed %d, step %d: one that was due expired %d times", seed, step, a.rang)
				}
			}
			if rang != len(due) {
				t.Fatalf("seed %d, step %d: %d expired, %d were due", seed, step, rang, len(due))
			}
			first := time.Hour
			for _, a := range machines {
				if !a.at.IsZero() {
					first = min(first, a.at.Sub(now))
				}
			}
			if wait := all.wait(now); wait > first || wait < 1 {
				t.Fatalf("seed %d, step %d: waits for %v, the next is due in %v", seed, step, wait, first)
			}
		}
	}
}

// What has a deadline that is put off all the time does not stay in the heap in many
// places, and what has none leaves it at last.
func TestTheHeapOfTimersIsNoLongerThanThereAreMachines(t *testing.T) {
	all := &timers{began: time.Now()}
	a := &alarms{all: all, next: func(time.Time) time.Time { return time.Time{} }}
	a.timer.of = a
	for n := range 1000 {
		a.set(all.began.Add(time.Duration(1000 + n)))
		if len(all.heap) != 1 {
			t.Fatalf("%d entries of one machine", len(all.heap))
		}
	}
	a.set(time.Time{})
	if all.expire(all.began.Add(time.Hour)) || len(all.heap) != 0 {
		t.Errorf("%d entries of a machine without a deadline", len(all.heap))
	}
}
