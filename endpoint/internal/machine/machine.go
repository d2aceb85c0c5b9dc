// Package machine has the shape of all our protocols, a [Machine] without I/O
// and without a clock, and the [Loop] that drives many of them on one
// goroutine from one timer heap.
//
//	packets, commands                          packets, events, questions
//	────────────────►  Runner.Do / Handle  ──►  out(now, packet, event)
//	                         │ one mutation, then drain Next, then read Deadline
//	                      Machine
package machine

import (
	"sync"
	"time"
)

// A Machine is a protocol that does no I/O and reads no clock. The owner calls
// one of its commands, or Handle or Expire; then Next until it reports !ok;
// then Deadline. E is the type of its events, of which the zero value means
// that Next returns a packet.
type Machine[E any] interface {
	// Handle takes a packet from the peer, valid during the call.
	Handle(now time.Time, packet []byte)
	// Expire tells that the deadline has passed. It may be called early and
	// does nothing then.
	Expire(now time.Time)
	// Deadline is when Expire is to be called; zero: never.
	Deadline() time.Time
	// Next is the next packet to send, valid until the next call of the
	// machine, or the next event, in the order in which they arose.
	Next() (packet []byte, event E, ok bool)
}

// An Output is the ordered queue behind [Machine.Next]: machines embed it,
// and send packets and emit events into it. The zero value is empty.
type Output[E any] struct {
	queue *queue // nil: it is empty, as most are most of the time
}

// A queue is what an Output has. Those that are empty are in a pool.
type queue struct {
	items []item
	next  int
}

// An item is a packet, or an event of the machine's type.
type item struct {
	packet []byte
	event  any
}

var queues = sync.Pool{New: func() any { return new(queue) }}

const itemsKept = 64 // of a queue that goes back

func (o *Output[E]) add(it item) {
	if o.queue == nil {
		o.queue = queues.Get().(*queue)
	}
	o.queue.items = append(o.queue.items, it)
}

// Send queues a packet. The queue keeps it: it is the caller's no longer.
func (o *Output[E]) Send(packet []byte) { o.add(item{packet: packet}) }

// Emit queues an event.
func (o *Output[E]) Emit(event E) { o.add(item{event: event}) }

// EmitBefore queues an event before the packet that was queued last, if that has not
// been taken: for an owner that must know before the peer does.
func (o *Output[E]) EmitBefore(event E) {
	o.Emit(event)
	q := o.queue
	if last := len(q.items) - 1; last > q.next && q.items[last-1].packet != nil {
		q.items[last-1], q.items[last] = q.items[last], q.items[last-1]
	}
}

// Next takes the oldest packet or event from the queue.
func (o *Output[E]) Next() (packet []byte, event E, ok bool) {
	q := o.queue
	if q == nil {
		return nil, event, false
	}
	if q.next == len(q.items) {
		o.queue = nil
		if q.items, q.next = q.items[:0], 0; cap(q.items) <= itemsKept {
			queues.Put(q)
		}
		return nil, event, false
	}
	it := q.items[q.next]
	q.items[q.next] = item{}
	q.next++
	if it.event != nil {
		event = it.event.(E)
	}
	return it.packet, event, true
}

// Earliest is the first of some deadlines, of which zero ones do not count.
func Earliest(deadlines ...time.Time) (first time.Time) {
	for _, d := range deadlines {
		if !d.IsZero() && (first.IsZero() || d.Before(first)) {
			first = d
		}
	}
	return first
}
