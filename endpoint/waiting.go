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
// reader.
func (w *waitingRoom) leave(sink link.Sink, attach func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.packets) > 0 {
		b := link.NewBatch()
		defer b.Free()
		for _, p := range w.packets {
			b.Add(0, p, nil)
		}
		sink.Put(b)
	}
	w.packets, w.closed = nil, true
	attach()
}
