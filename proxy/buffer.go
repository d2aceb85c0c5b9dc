package proxy

import (
	"sync"
	"sync/atomic"
)

const (
	waitSize   = 2 << 10   // bytes that a direction holds while it waits
	middleSize = 32 << 10  // once a read has filled that
	busySize   = 256 << 10 // once several reads have filled those
	busyMax    = 64        // buffers of busySize that are out at once
	busyAfter  = 4         // reads in a row that filled the buffer of middleSize
)

var (
	middlePool = sync.Pool{New: func() any { return new([middleSize]byte) }}
	busyPool   = sync.Pool{New: func() any { return new([busySize]byte) }}
	busyOut    atomic.Int32
)

// A buffer is what one direction of a flow reads into, in one of three sizes.
type buffer struct {
	bytes []byte
	wait  []byte // the smallest one, which is its own
	full  int    // reads in a row that filled it
}

func newBuffer() *buffer {
	wait := make([]byte, waitSize)
	return &buffer{bytes: wait, wait: wait}
}

// borrowed tells whether the buffer is one from a pool.
func (b *buffer) borrowed() bool { return len(b.bytes) > waitSize }

// read tells how many bytes the last read had. A larger buffer takes this one's
// place, which must not be needed any more, when that is due.
func (b *buffer) read(n int) {
	if n < len(b.bytes) {
		b.full = 0
		return
	}
	b.full++
	switch {
	case len(b.bytes) == waitSize:
		b.bytes = middlePool.Get().(*[middleSize]byte)[:]
	case len(b.bytes) == middleSize && b.full >= busyAfter:
		if busyOut.Add(1) > busyMax {
			busyOut.Add(-1)
			return
		}
		b.release()
		b.bytes = busyPool.Get().(*[busySize]byte)[:]
	default:
		return
	}
	b.full = 0
}

// release gives a borrowed buffer back; the small one takes its place.
func (b *buffer) release() {
	switch len(b.bytes) {
	case middleSize:
		middlePool.Put((*[middleSize]byte)(b.bytes))
	case busySize:
		busyPool.Put((*[busySize]byte)(b.bytes))
		busyOut.Add(-1)
	}
	b.bytes = b.wait
}
