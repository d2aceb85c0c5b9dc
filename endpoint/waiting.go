package endpoint

import (
	"slices"
	"sync"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// waitingMax is how many packets wait for the first Attach. The peer may begin as
// soon as PPP has settled, before whoever accepted or opened the session has
// attached anything, and to lose its first packet costs TCP a second.
const waitingMax = 16

// A waitingRoom keeps a session's packets until it has a sink for the first time.
type waitingRoom struct {
	mu      sync.Mutex
	packets [][]byte
	closed  bool
}

// keep keeps a copy of a packet, if there is room and nobody has been attached yet. It
// reports whether somebody has, so that the packet can be handed on after all.
func (w *waitingRoom) keep(packet []byte) (kept, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.packets) == waitingMax {
		return false, w.closed
	}
	w.packets = append(w.packets, slices.Clone(packet))
	return true, false
}

// leave hands what waits to a sink, and then calls attach, in one step for the
// reader. The sink is called without the lock: it may do whatever sinks do.
func (w *waitingRoom) leave(sink link.Sink, attach func()) {
	b := link.NewBatch()
	defer b.Free()
	for {
		w.mu.Lock()
		packets := w.packets
		w.packets = nil
		if len(packets) == 0 {
			w.closed = true
			attach()
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		for _, p := range packets {
			b.Add(0, p, nil)
		}
		sink.Put(b)
		b.Reset()
	}
}
