package endpoint

import (
	"slices"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// An inflow collects the frames that come in for one session in a row, for its sink to
// get them in one batch. The reader has one; the frames lie where the socket has put
// them, and are handed on before it is read again.
type inflow struct {
	session *Session // whose they are; nil: there are none
	batch   *link.Batch
	order   *ordering // of session, locked; nil: it has none
}

// inflowMax is how many frames are handed on as soon as a run of datagrams ends: several
// super-packets of the peer's stack, so that one acknowledgement is enough for them.
const inflowMax = 4 * link.BatchMax

func newInflow() inflow { return inflow{batch: link.NewBatch()} }

func (in *inflow) add(s *Session, frame []byte) {
	if in.session != s {
		in.flush()
		in.session = s
	} else if len(in.batch.Frames) == inflowMax+link.BatchMax {
		in.deliver()
	}
	in.batch.Add(0, frame, nil)
}

// runEnds is to be called where a run of datagrams ends. A batch ends there as well, since
// what one super-packet was cut into can be made one packet again (link.Merger) only
// within a batch.
func (in *inflow) runEnds() {
	if len(in.batch.Frames) >= inflowMax {
		in.deliver()
	}
}

// enter begins with the frames of a session that keeps them in order: until flush
// nobody else hands on any.
func (in *inflow) enter(s *Session, o *ordering) {
	if in.order == o {
		return
	}
	in.flush()
	o.mu.Lock()
	in.session, in.order = s, o
}

// flush hands on what has been collected.
func (in *inflow) flush() {
	if in.session == nil {
		return
	}
	in.deliver()
	in.session = nil
	if in.order != nil {
		in.order.mu.Unlock()
		in.order = nil
	}
}

func (in *inflow) deliver() {
	if len(in.batch.Frames) > 0 {
		in.session.deliver(in.batch)
		in.batch.Reset()
	}
}

// deliver hands frames that have come in to the attached sink.
func (s *Session) deliver(b *link.Batch) {
	sink := s.sink.Load()
	if sink == nil {
		sink = s.await(b)
	}
	if sink != nil {
		s.hasCome(b.Frames)
		(*sink).Put(b)
	}
}

// await keeps frames for the first sink. When it comes meanwhile, await returns
// it, and leaves it the rest.
func (s *Session) await(b *link.Batch) (sink *link.Sink) {
	n := 0
	for ; n < len(b.Frames); n++ {
		kept, closed := s.waiting.keep(b.Frames[n].Body)
		if closed {
			if sink = s.sink.Load(); sink != nil {
				break
			}
		}
		if kept {
			s.hasCome(b.Frames[n : n+1])
		} else {
			s.flow.droppedIn.Add(1)
		}
	}
	b.Frames = slices.Delete(b.Frames, 0, n)
	return sink
}

// hasCome counts frames that are not dropped, and has them captured.
func (s *Session) hasCome(frames []link.Frame) {
	bytes := 0
	for i := range frames {
		bytes += frames[i].Len()
	}
	s.flow.packetsIn.Add(uint64(len(frames)))
	s.flow.bytesIn.Add(uint64(bytes))
	s.captured(pcapng.Inbound, frames)
}
