package link

import "sync"

// BatchMax is the number of frames after which a producer hands a batch on:
// as many as one UDP_SEGMENT send takes (UDP_MAX_SEGMENTS, Linux).
const BatchMax = 64

// A Batch is frames for one [Sink], in order. The zero value is ready to use;
// [NewBatch] takes one with warm memory from a pool.
type Batch struct {
	Frames []Frame

	mem   []byte  // where heads and their room come from
	saved []Frame // what Mark has put aside
}

// A Sink takes frames. Put never blocks but in a socket: what cannot be taken
// is dropped and counted by the sink. It leaves the batch as it found it, so
// that a next sink can have it; the bytes are valid during the call only.
type Sink interface{ Put(*Batch) }

// A SinkFunc is a function as a [Sink].
type SinkFunc func(*Batch)

// Put calls f.
func (f SinkFunc) Put(b *Batch) { f(b) }

var batches = sync.Pool{New: func() any { return new(Batch) }}

// NewBatch is an empty batch from a pool; [Batch.Free] brings it back.
func NewBatch() *Batch { return batches.Get().(*Batch) }

// Free empties the batch and gives it back to the pool.
func (b *Batch) Free() {
	b.Reset()
	batches.Put(b)
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.Frames) // borrowed bytes must not be kept alive
	b.Frames = b.Frames[:0]
	b.mem = b.mem[:0]
}

// Add appends a frame with a head of n unwritten bytes, [Headroom] in front of
// it, and the pieces body and tail, which it borrows. The frame returned is
// valid until the next Add.
func (b *Batch) Add(n int, body, tail []byte) *Frame {
	need := Headroom + n
	if cap(b.mem)-len(b.mem) < need {
		// Frames that were added before keep the memory that they have.
		b.mem = make([]byte, 0, max(2*cap(b.mem), 8*need, 4096))
	}
	end := len(b.mem) + need
	buf := b.mem[len(b.mem):end:end]
	b.mem = b.mem[:end]
	b.Frames = append(b.Frames, Frame{buf: buf, off: Headroom, Body: body, Tail: tail})
	return &b.Frames[len(b.Frames)-1]
}

// Mark puts aside which frames the batch has and where each begins. A layer
// that strips, pushes or drops brackets its work: m := b.Mark(); …; b.Restore(m).
func (b *Batch) Mark() (m int) {
	m = len(b.saved)
	b.saved = append(b.saved, b.Frames...)
	return m
}

// Restore brings back what [Batch.Mark] put aside. Brackets nest.
func (b *Batch) Restore(m int) {
	n := copy(b.Frames[:cap(b.Frames)], b.saved[m:])
	b.Frames = b.Frames[:n]
	clear(b.saved[m:])
	b.saved = b.saved[:m]
}
