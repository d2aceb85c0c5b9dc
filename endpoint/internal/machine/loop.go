package machine

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// PendingMax is how many packets of one machine may wait for its loop; further
// ones are dropped, so that one peer's flood stops no other session.
const PendingMax = 64

// A Loop is one goroutine that drives many machines, with one timer heap.
// Everything that a machine does happens on its loop's goroutine.
type Loop struct {
	mu     sync.Mutex
	inbox  []func(now time.Time)
	closed bool
	wake   chan struct{}
	done   chan struct{}

	timers timers // the goroutine's own
}

// NewLoop starts a loop.
func NewLoop() *Loop {
	l := &Loop{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run()
	return l
}

// Do has f called on the loop, after all that was posted before. It reports
// false, and f is never called, when the loop has been closed.
func (l *Loop) Do(f func(now time.Time)) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// Close ends the loop after what was posted before it, and waits for that.
// It must not be called on the loop itself.
func (l *Loop) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	<-l.done
}

func (l *Loop) run() {
	defer close(l.done)
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	var batch []func(time.Time)
	for {
		l.mu.Lock()
		batch, l.inbox = l.inbox, batch[:0]
		closed := l.closed
		l.mu.Unlock()
		for i, f := range batch {
			batch[i] = nil
			f(time.Now())
		}
		// Timers take their turn after every round of the inbox: neither a
		// flood of packets nor a flood of expiries starves the other.
		now := time.Now()
		for n := len(l.timers); n > 0 && len(l.timers) > 0 && !l.timers[0].at.After(now); n-- {
			l.timers[0].fire(now)
		}
		if closed && len(batch) == 0 {
			return
		}
		if len(batch) > 0 {
			continue
		}
		wait := time.Hour
		if len(l.timers) > 0 {
			wait = time.Until(l.timers[0].at)
		}
		alarm.Reset(wait)
		select {
		case <-l.wake:
		case <-alarm.C:
		}
	}
}

// A Runner drives one machine on a loop.
type Runner[E any] struct {
	loop    *Loop
	machine Machine[E]
	out     func(now time.Time, packet []byte, event E)
	pending atomic.Int32
	timer   timer
	stopped bool // the loop's own
}

// Drive puts a machine on a loop. out is called there with every packet (then
// event is the zero E) and every event; it may call Do of any runner, never
// wait for one.
func Drive[E any](l *Loop, m Machine[E], out func(now time.Time, packet []byte, event E)) *Runner[E] {
	r := &Runner[E]{loop: l, machine: m, out: out}
	r.timer.index = -1
	r.timer.fire = func(now time.Time) { r.step(now, r.machine.Expire) }
	return r
}

// Do has the command called on the machine's loop, in order; what the machine
// has to send and to tell follows at once. It reports false when the loop is
// closed; after Stop the command is not called.
func (r *Runner[E]) Do(command func(now time.Time)) bool {
	return r.loop.Do(func(now time.Time) { r.step(now, command) })
}

// DoNow has the command called at once, before it returns. It may only be called
// on the loop, from another machine's out or command.
func (r *Runner[E]) DoNow(now time.Time, command func(now time.Time)) { r.step(now, command) }

// Handle hands a copy of a packet to the machine. It reports false when the
// packet was dropped, because [PendingMax] others wait or the loop is closed.
func (r *Runner[E]) Handle(packet []byte) bool {
	if r.pending.Add(1) > PendingMax {
		r.pending.Add(-1)
		return false
	}
	p := append([]byte(nil), packet...)
	return r.loop.Do(func(now time.Time) {
		r.pending.Add(-1)
		r.step(now, func(now time.Time) { r.machine.Handle(now, p) })
	})
}

// Stop takes the machine off its loop: no command, packet or timer reaches it
// again. It is called on the loop, from out or a command.
func (r *Runner[E]) Stop() {
	r.stopped = true
	r.loop.timers.set(&r.timer, time.Time{})
}

func (r *Runner[E]) step(now time.Time, mutate func(now time.Time)) {
	if r.stopped {
		return
	}
	mutate(now)
	for !r.stopped {
		packet, event, ok := r.machine.Next()
		if !ok {
			r.loop.timers.set(&r.timer, r.machine.Deadline())
			return
		}
		r.out(now, packet, event)
	}
}

// timer is one machine's place in the heap; index -1: not in it.
type timer struct {
	at    time.Time
	fire  func(now time.Time)
	index int
}

type timers []*timer

func (h *timers) set(t *timer, at time.Time) {
	switch {
	case at.IsZero():
		if t.index >= 0 {
			heap.Remove(h, t.index)
		}
	case t.index < 0:
		t.at = at
		heap.Push(h, t)
	case !t.at.Equal(at):
		t.at = at
		heap.Fix(h, t.index)
	}
}

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timers) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
