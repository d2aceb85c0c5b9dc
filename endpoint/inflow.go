package endpoint

import (
	"slices"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// An inflow collects the IP packets that come in for one session in a row, for its
// sink to get them in one batch. The reader's alone; the packets lie where the
// socket has put them, and are handed on before it is read again.
type inflow struct {
	session *Session // whose they are; nil: there are none
	batch   *link.Batch
}

func (in *inflow) add(s *Session, packet []byte) {
	if in.session != s || len(in.batch.Frames) == link.BatchMax {
		in.flush()
	}
	in.session = s
	in.batch.Add(0, packet, nil)
}

// flush hands on what has been collected.
func (in *inflow) flush() {
	if in.session != nil {
		in.session.deliver(in.batch)
		in.batch.Reset()
		in.session = nil
	}
}

// deliver hands packets that have come in to the attached sink.
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

// await keeps packets for the first sink. When it comes meanwhile, await returns
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

// hasCome counts packets that are not dropped, and has them captured.
func (s *Session) hasCome(packets []link.Frame) {
	bytes := 0
	for i := range packets {
		bytes += packets[i].Len()
	}
	s.flow.packetsIn.Add(uint64(len(packets)))
	s.flow.bytesIn.Add(uint64(bytes))
	s.tunnel.ep.inner(pcapng.Inbound, packets)
}
