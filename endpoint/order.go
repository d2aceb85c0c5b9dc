package endpoint

import (
	"sync"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/order"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// An ordering hands a session's frames on in their order (RFC 3931 §4.6.1). Frames come
// to it on the reader; those that have waited for others until their time is over are
// handed on by the loop, for which it is a machine of which nothing but the timer is
// of use.
type ordering struct {
	session *Session
	waits   bool // frames wait for others
	runner  *machine.Runner[struct{}]

	mu    sync.Mutex // held while frames are handed on
	queue *order.Queue
	out   [][]byte
	armed bool // the loop knows that there is a deadline
}

var _ machine.Machine[struct{}] = (*ordering)(nil)

// keepOrder has the session's frames handed on in order, and those without a number
// dropped. With a timeout frames wait so long for others, as many as frames says at most.
func (s *Session) keepOrder(timeout time.Duration, frames int) {
	o := &ordering{session: s, waits: timeout > 0, queue: order.New(order.Config{
		Bits: wire.SequenceBits, Timeout: timeout, Frames: frames, Bytes: frames * orderBytes,
	})}
	if o.waits {
		o.runner = machine.Drive(s.tunnel.loop.Loop, o, func(time.Time, []byte, struct{}) {})
	}
	s.arrival.order = o
}

// orderBytes is how many bytes of a frame that waits are counted on.
const orderBytes = 2 << 10

// receive takes a frame with its number, and reports whether it is not late or a
// duplicate. On the reader.
func (o *ordering) receive(number uint32, frame []byte, in *inflow) (timely bool) {
	in.enter(o.session, o)
	was := o.queue.Counters().Discarded
	var now time.Time
	if o.waits {
		now = time.Now()
	}
	o.out = o.queue.Add(now, number, frame, o.out[:0])
	o.handOn(in)
	if o.waits && !o.armed && !o.queue.Deadline().IsZero() {
		o.armed = true
		o.runner.Do(func(time.Time) {}) // which has the deadline looked at
	}
	return o.queue.Counters().Discarded == was
}

// handOn hands on what the queue has let go, and counts. mu is held.
func (o *ordering) handOn(in *inflow) {
	for i, frame := range o.out {
		o.out[i] = nil
		o.session.receive(frame, in)
	}
	c := o.queue.Counters()
	f := &o.session.flow
	f.late.Store(c.Discarded)
	f.outOfSequence.Store(c.OutOfOrder)
}

// Handle is never called: frames come by receive.
func (o *ordering) Handle(time.Time, []byte) {}

// Expire hands on what has waited for long enough. On the loop.
func (o *ordering) Expire(now time.Time) {
	in := newInflow()
	defer in.batch.Free()
	in.enter(o.session, o)
	o.out = o.queue.Expire(now, o.out[:0])
	o.handOn(&in)
	in.flush()
}

// Deadline is when Expire is to be called. On the loop.
func (o *ordering) Deadline() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := o.queue.Deadline()
	o.armed = !at.IsZero()
	return at
}

// Next has nothing: frames are handed on by Expire.
func (o *ordering) Next() (packet []byte, event struct{}, ok bool) { return nil, event, false }
