package endpoint

import (
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// flow counts a session's IP packets.
type flow struct {
	packetsIn, bytesIn, droppedIn, packetsOut, bytesOut, droppedOut atomic.Uint64
}

// receive takes the payload of one data message: IP packets go straight to the
// attached sink, the rest is PPP's own business. On the reader.
func (s *Session) receive(frame []byte, batch *link.Batch) {
	protocol, packet, ok := ppp.ParseFrame(frame)
	if !ok || protocol != ppp.ProtocolIPv4 {
		if !s.runner.Handle(frame) {
			s.flow.droppedIn.Add(1)
		}
		return
	}
	sink := s.sink.Load()
	if sink == nil || !s.open.Load() {
		s.flow.droppedIn.Add(1)
		return
	}
	s.flow.packetsIn.Add(1)
	s.flow.bytesIn.Add(uint64(len(packet)))
	batch.Add(0, packet, nil)
	(*sink).Put(batch)
	batch.Reset()
}

// Put sends IP packets to the peer. What is no IPv4 packet, is longer than the
// MTU, or comes while PPP is not up, is dropped and counted.
func (s *Session) Put(b *link.Batch) {
	if !s.open.Load() {
		s.flow.droppedOut.Add(uint64(len(b.Frames)))
		return
	}
	m := b.Mark()
	defer b.Restore(m)
	kept, bytes := b.Frames[:0], 0
	mtu := s.MTU()
	for _, f := range b.Frames {
		first := f.Peek(1)
		if first == nil || first[0]>>4 != 4 || f.Len() > mtu {
			s.flow.droppedOut.Add(1)
			continue
		}
		bytes += f.Len()
		ppp.PutHeader(f.Push(ppp.HeaderLen), ppp.ProtocolIPv4)
		s.pushHeader(&f)
		kept = append(kept, f)
	}
	sent, err := s.tunnel.ep.sock.Send(kept, s.tunnel.path.Load())
	s.flow.packetsOut.Add(uint64(sent))
	s.flow.bytesOut.Add(uint64(bytes))
	if err != nil {
		s.flow.droppedOut.Add(uint64(len(kept) - sent))
		s.tunnel.ep.counters.socketErrors.Add(1)
	}
}

// pushHeader puts the data header in front. Sequence numbers are sent when the
// LAC asks for them (Sequencing Required AVP, RFC 2661 §4.4.6, §5.4), and not
// looked at: PPP without compression needs no order, and IP expects none.
func (s *Session) pushHeader(f *link.Frame) {
	if s.sequenced {
		wire.PutSequencedHeader(f.Push(wire.SequencedHeaderLen), s.peerTunnel, s.peerID, uint16(s.ns.Add(1)-1))
		return
	}
	wire.PutDataHeader(f.Push(wire.DataHeaderLen), s.peerTunnel, s.peerID)
}

// sendFrame sends one of PPP's own frames. On the loop.
func (s *Session) sendFrame(frame []byte) {
	b := link.NewBatch()
	defer b.Free()
	s.pushHeader(b.Add(0, frame, nil))
	if _, err := s.tunnel.ep.sock.Send(b.Frames, s.tunnel.path.Load()); err != nil {
		s.tunnel.ep.counters.socketErrors.Add(1)
	}
}
