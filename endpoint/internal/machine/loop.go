package machine

import (
	"sync"
	"sync/atomic"
	"time"
)

// PendingMax is how many packets of one machine may wait for its loop; further
// ones are dropped, so that one peer's flood stops no other session.
const PendingMax = 64

// A Loop is one goroutine that drives many machines, with one timer heap.
// Everything that a machine does happens on its loop's goroutine, in rounds: of all that
// was posted during the last one, and of the timers that are due.
type Loop struct {
	roundEnds func()

	mu     sync.Mutex
	inbox  *inbox // of the next round; nil: there is nothing
	asleep bool
	closed bool
	wake   chan struct{}
	done   chan struct{}

	timers timers // the goroutine's own
}

// NewLoop starts a loop. roundEnds, unless it is nil, is called on it whenever a round has
// ended: there machines' packets may be sent together.
func NewLoop(roundEnds func()) *Loop {
	l := &Loop{roundEnds: roundEnds, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.timers.began = time.Now()
	go l.run()
	return l
}

// A post is a command, or as many of the inbox's bytes as size says.
type post struct {
	to      driven // nil: the loop
	command func(now time.Time)
	size    int
}

// driven is a Runner of any kind.
type driven interface {
	command(now time.Time, f func(now time.Time))
	packet(now time.Time, p []byte)
}

// An inbox is what has been posted, in its order. Those of loops that have nothing to do
// are in a pool.
type inbox struct {
	posts []post
	bytes []byte // of packets, one behind the other
}

var inboxes = sync.Pool{New: func() any { return new(inbox) }}

// What of an inbox is used again.
const (
	postsKept = 1 << 12
	bytesKept = 1 << 18
)

func (in *inbox) free() {
	if cap(in.posts) > postsKept || cap(in.bytes) > bytesKept {
		return // there was a flood
	}
	clear(in.posts)
	clear(in.bytes) // machines have no business with them any more, and passwords none here
	in.posts, in.bytes = in.posts[:0], in.bytes[:0]
	inboxes.Put(in)
}

// Do has f called on the loop, after all that was posted before. It reports
// false, and f is never called, when the loop has been closed.
func (l *Loop) Do(f func(now time.Time)) bool { return l.post(post{command: f}, nil) }

// post copies the packet, if there is one.
func (l *Loop) post(p post, packet []byte) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	if l.inbox == nil {
		l.inbox = inboxes.Get().(*inbox)
	}
	l.inbox.posts = append(l.inbox.posts, p)
	l.inbox.bytes = append(l.inbox.bytes, packet...)
	l.rouse()
	l.mu.Unlock()
	return true
}

// rouse wakes the goroutine if it sleeps. mu is held.
func (l *Loop) rouse() {
	if l.asleep {
		l.asleep = false
		l.wake <- struct{}{}
	}
}

// Close ends the loop after what was posted before it, and waits for that.
// It must not be called on the loop itself.
func (l *Loop) Close() {
	l.mu.Lock()
	l.closed = true
	l.rouse()
	l.mu.Unlock()
	<-l.done
}

func (l *Loop) run() {
	defer close(l.done)
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		l.mu.Lock()
		in, closed := l.inbox, l.closed
		l.inbox = nil
		l.mu.Unlock()
		if in != nil {
			in.open()
			in.free()
		}
		// Timers take their turn after every round of the inbox: neither a
		// flood of packets nor a flood of expiries starves the other.
		expired := l.timers.expire(time.Now())
		if l.roundEnds != nil && (in != nil || expired) {
			l.roundEnds()
		}
		switch {
		case in != nil:
		case closed:
			return
		default:
			l.sleep(alarm)
		}
	}
}

// open does what has been posted.
func (in *inbox) open() {
	bytes := in.bytes
	for i := range in.posts {
		p := &in.posts[i]
		now := time.Now()
		switch {
		case p.to == nil:
			p.command(now)
		case p.command != nil:
			p.to.command(now, p.command)
		default:
			p.to.packet(now, bytes[:p.size:p.size])
			bytes = bytes[p.size:]
		}
	}
}

// sleep waits for something to do.
func (l *Loop) sleep(alarm *time.Timer) {
	l.mu.Lock()
	l.asleep = l.inbox == nil && !l.closed
	asleep := l.asleep
	l.mu.Unlock()
	if !asleep {
		return
	}
	alarm.Reset(l.timers.wait(time.Now()))
	select {
	case <-l.wake:
		return
	case <-alarm.C:
	}
	l.mu.Lock()
	if !l.asleep { // somebody has just woken us
		<-l.wake
	}
	l.asleep = false
	l.mu.Unlock()
}

// A Runner drives one machine on a loop.
type Runner[E any] struct {
	loop    *Loop
	machine Machine[E]
	out     func(now time.Time, packet []byte, event E)
	pending atomic.Int32
	timer   timer
	stopped bool          // the loop's own, as those that follow
	held    time.Time     // since when the machine's clock stands still; zero: it goes
	behind  time.Duration // how far it is behind, for it has stood still before
}

// Drive puts a machine on a loop. out is called there with every packet (then
// event is the zero E) and every event; it may call Do of any runner, never
// wait for one.
func Drive[E any](l *Loop, m Machine[E], out func(now time.Time, packet []byte, event E)) *Runner[E] {
	r := &Runner[E]{loop: l, machine: m, out: out}
	r.timer.of = r
	return r
}

// Do has the command called on the machine's loop, in order, with the time by the
// machine's clock, which only [Runner.Hold] makes another; what the machine has to send and to tell follows at once. It reports false when the loop is
// closed; after Stop the command is not called.
func (r *Runner[E]) Do(command func(now time.Time)) bool {
	return r.loop.post(post{to: r, command: command}, nil)
}

// DoNow has the command called at once, before it returns. It may only be called
// on the loop, from another machine's out or command.
func (r *Runner[E]) DoNow(now time.Time, command func(now time.Time)) { r.command(now, command) }

// Handle hands a copy of a packet to the machine. It reports false when the
// packet was dropped, because [PendingMax] others wait or the loop is closed.
func (r *Runner[E]) Handle(packet []byte) bool {
	if r.pending.Add(1) > PendingMax {
		r.pending.Add(-1)
		return false
	}
	return r.loop.post(post{to: r, size: len(packet)}, packet)
}

// Hold stops the machine's clock: all its timers stand still until [Runner.Resume], while
// packets and commands reach it as ever, with the time at which it was stopped. It is
// called on the loop.
func (r *Runner[E]) Hold(now time.Time) {
	if r.held.IsZero() {
		r.held = now
		r.schedule()
	}
}

// Resume has the clock go on from where Hold has stopped it. It is called on the loop.
func (r *Runner[E]) Resume(now time.Time) {
	if !r.held.IsZero() {
		r.behind += max(0, now.Sub(r.held))
		r.held = time.Time{}
		r.schedule()
	}
}

// Held tells whether the clock stands still. It is called on the loop.
func (r *Runner[E]) Held() bool { return !r.held.IsZero() }

// clock is what the machine takes for the time.
func (r *Runner[E]) clock(now time.Time) time.Time {
	if r.Held() {
		now = r.held
	}
	return now.Add(-r.behind)
}

// schedule has the machine's deadline, which is by its clock, heeded.
func (r *Runner[E]) schedule() {
	if r.stopped {
		return
	}
	at := r.machine.Deadline()
	switch {
	case r.Held():
		at = time.Time{}
	case !at.IsZero():
		at = at.Add(r.behind)
	}
	r.loop.timers.set(&r.timer, at)
}

// Stop takes the machine off its loop: no command, packet or timer reaches it
// again. It is called on the loop, from out or a command.
func (r *Runner[E]) Stop() {
	r.stopped = true
	r.loop.timers.remove(&r.timer)
}

func (r *Runner[E]) command(now time.Time, f func(now time.Time)) {
	if !r.stopped {
		f(r.clock(now))
		r.drain(now)
	}
}

func (r *Runner[E]) packet(now time.Time, p []byte) {
	r.pending.Add(-1)
	if !r.stopped {
		r.machine.Handle(r.clock(now), p)
		r.drain(now)
	}
}

func (r *Runner[E]) expire(now time.Time) {
	r.machine.Expire(r.clock(now))
	r.drain(now)
}

// drain takes what the machine has to send and to tell.
func (r *Runner[E]) drain(now time.Time) {
	for !r.stopped {
		packet, event, ok := r.machine.Next()
		if !ok {
			r.schedule()
			return
		}
		r.out(now, packet, event)
	}
}
