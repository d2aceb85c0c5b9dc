package order

import (
	"fmt"
	"slices"
	"time"
)

// What the zero values of a [Config] stand for.
const (
	DefaultFrames = 128
	DefaultBytes  = 256 << 10
	DefaultResync = 5
)

// resyncGap is one more than the numbers that may be missing between two that are in
// sequence among themselves.
const resyncGap = 8

// A Config says how a [Queue] orders. The zero value of each field but Bits is its
// default.
type Config struct {
	// Bits is the width of the numbers: 16 in L2TPv2 (Ns), 24 in the Default
	// L2-Specific Sublayer of L2TPv3.
	Bits int
	// Window is how many numbers, from the expected one on, are new. Default: half
	// of all.
	Window uint32
	// Timeout is how long a frame waits at most for those before it. Default: it
	// does not wait, and those that come later are dropped. RFC 3931 appendix C
	// wants it "at least an order of magnitude less" than the retransmission
	// timeouts of what is carried.
	Timeout time.Duration
	// Frames is how many frames wait at most. Default: [DefaultFrames].
	Frames int
	// Bytes is how many octets of frames wait at most. Default: [DefaultBytes].
	Bytes int
	// Resync is after how many old frames, in sequence among themselves and with
	// nothing new in between, the last of them becomes the start. Default:
	// [DefaultResync].
	Resync int
}

// Counters are what a [Queue] has counted.
type Counters struct {
	OutOfOrder uint64 // frames that came after a later one, and were put in their place
	Discarded  uint64 // frames that were dropped, as old or duplicates
	Missing    uint64 // numbers that were given up; their frames are discarded if they come after all
	Resyncs    uint64 // new starts after old frames, see [Config.Resync]
}

// A Queue orders the frames of one session. It is not safe for concurrent use.
type Queue struct {
	cfg     Config
	mask    uint32
	started bool
	next    uint32 // the expected number

	held     []held // by their numbers from next on; the first is never next itself
	bytes    int    // of held
	deadline time.Time

	// Old frames in sequence among themselves, since anything else came.
	oldNext uint32
	oldRun  int

	counters Counters
}

// held is a frame that waits for those before it.
type held struct {
	number uint32
	until  time.Time
	frame  []byte
}

// New is a queue that has seen nothing. It panics if the width of the numbers is not
// between 2 and 31 bits.
func New(cfg Config) *Queue {
	if cfg.Bits < 2 || cfg.Bits > 31 {
		panic(fmt.Sprintf("BUG: order: sequence numbers of %d bits", cfg.Bits))
	}
	half := uint32(1) << (cfg.Bits - 1)
	if cfg.Window == 0 || cfg.Window > half {
		cfg.Window = half
	}
	cfg.Frames = orDefault(cfg.Frames, DefaultFrames)
	cfg.Bytes = orDefault(cfg.Bytes, DefaultBytes)
	cfg.Resync = orDefault(cfg.Resync, DefaultResync)
	return &Queue{cfg: cfg, mask: half<<1 - 1}
}

func orDefault(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// Add takes a frame by its number, of which only the low bits count, and appends to
// out the frames that are to be delivered now, in their order: none, it alone, or it
// and others that have waited.
//
// The frame itself is appended as it is. What waits is a copy, which becomes the
// caller's own when it is delivered. Now is not looked at while no frame waits or is
// to wait: the time at which a batch of frames was read will do.
func (q *Queue) Add(now time.Time, number uint32, frame []byte, out [][]byte) [][]byte {
	number &= q.mask
	if len(q.held) > 0 {
		out = q.Expire(now, out) // whatever the owner's timer is at
	}
	switch {
	case !q.started:
		q.started = true
		q.next = number
	case q.ahead(number) >= q.cfg.Window:
		return q.old(number, frame, out)
	}
	q.oldRun = 0
	switch {
	case number == q.next:
		if len(q.held) > 0 {
			q.counters.OutOfOrder++
		}
	case q.cfg.Timeout > 0:
		return q.hold(now, number, frame, out)
	default:
		q.counters.Missing += uint64(q.ahead(number))
	}
	out = append(out, frame)
	q.next = (number + 1) & q.mask
	if len(q.held) > 0 {
		out = q.release(0, out)
	}
	return out
}

// Expire gives up what frames have waited for long enough, and appends to out those
// that are to be delivered now. It does nothing before the deadline.
func (q *Queue) Expire(now time.Time, out [][]byte) [][]byte {
	if q.deadline.IsZero() || now.Before(q.deadline) {
		return out
	}
	n := 0 // the frames up to the last one whose time is over
	for i := range q.held {
		if !now.Before(q.held[i].until) {
			n = i + 1
		}
	}
	return q.release(n, out)
}

// Deadline is when [Queue.Expire] is to be called; zero: never. It changes with every
// call of Add and Expire.
func (q *Queue) Deadline() time.Time { return q.deadline }

// Counters are what the queue has counted so far.
func (q *Queue) Counters() Counters { return q.counters }

// ahead is how far a number lies after the expected one.
func (q *Queue) ahead(number uint32) uint32 { return (number - q.next) & q.mask }

// old takes a frame that is late or a duplicate: it is dropped, or becomes the start.
//
//	"one MUST inspect the sequence numbers of packets dropped due to being
//	classified as "old" and reset the expected sequence number accordingly" (RFC
//	3931 appendix C)
//
// Those may have lost frames among them, so each is a little after the one before. What
// comes late by far from here and there is not in sequence.
func (q *Queue) old(number uint32, frame []byte, out [][]byte) [][]byte {
	if q.oldRun > 0 && (number-q.oldNext)&q.mask < min(resyncGap, q.cfg.Window) {
		q.oldRun++
	} else {
		q.oldRun = 1
	}
	q.oldNext = (number + 1) & q.mask
	if q.oldRun < q.cfg.Resync {
		q.counters.Discarded++
		return out
	}
	out = q.release(len(q.held), out)
	q.counters.Resyncs++
	q.oldRun = 0
	q.next = q.oldNext
	return append(out, frame)
}

// hold has a frame wait for those before it.
func (q *Queue) hold(now time.Time, number uint32, frame []byte, out [][]byte) [][]byte {
	ahead, at := q.ahead(number), len(q.held)
	for at > 0 && q.ahead(q.held[at-1].number) >= ahead {
		at--
	}
	if at < len(q.held) {
		if q.held[at].number == number {
			q.counters.Discarded++
			return out
		}
		q.counters.OutOfOrder++
	}
	h := held{number: number, until: now.Add(q.cfg.Timeout), frame: slices.Clone(frame)}
	q.held = slices.Insert(q.held, at, h)
	q.bytes += len(frame)
	if q.deadline.IsZero() || h.until.Before(q.deadline) {
		q.deadline = h.until
	}
	for len(q.held) > q.cfg.Frames || q.bytes > q.cfg.Bytes {
		out = q.release(1, out)
	}
	return out
}

// release delivers the first n frames that wait, gives up what they have waited for,
// and delivers all that follow without a gap.
func (q *Queue) release(n int, out [][]byte) [][]byte {
	i := 0
	for ; i < len(q.held); i++ {
		h := &q.held[i]
		gap := q.ahead(h.number)
		if gap > 0 && i >= n {
			break
		}
		q.counters.Missing += uint64(gap)
		q.next = (h.number + 1) & q.mask
		q.bytes -= len(h.frame)
		out = append(out, h.frame)
	}
	if i == 0 {
		return out
	}
	q.held = slices.Delete(q.held, 0, i)
	q.deadline = time.Time{}
	for _, h := range q.held {
		if q.deadline.IsZero() || h.until.Before(q.deadline) {
			q.deadline = h.until
		}
	}
	return out
}
