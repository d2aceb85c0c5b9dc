package endpoint

import (
	"errors"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// flow counts a session's IP packets, and PPP's own frames.
type flow struct {
	packetsIn, bytesIn, droppedIn, packetsOut, bytesOut, droppedOut atomic.Uint64
	ownIn, ownOut                                                   atomic.Uint64
}

// A carriage is what a session carries at the moment: the loop replaces it as a
// whole, the data path reads it. A protocol that PPP has not opened has MTU 0.
type carriage struct {
	mtu4, mtu6               int // bytes
	negotiated4, negotiated6 int // what PPP allows, which the path may not
	encryption               *ppp.Encryption
}

// mtu is the longest packet of the protocol, 0 when it is not carried.
func (c *carriage) mtu(protocol uint16) int {
	switch protocol {
	case ppp.ProtocolIPv4:
		return c.mtu4
	case ppp.ProtocolIPv6:
		return c.mtu6
	}
	return 0
}

// protocolOf is the PPP protocol of an IP packet by its first octet, 0 for what is
// none.
func protocolOf(first byte) uint16 {
	switch first >> 4 {
	case 4:
		return ppp.ProtocolIPv4
	case 6:
		return ppp.ProtocolIPv6
	}
	return 0
}

// receive takes the payload of one data message: IP packets go straight to the
// attached sink, by in; the rest is PPP's own business. On the reader, whose alone
// the Opener is.
func (s *Session) receive(frame []byte, in *inflow) {
	protocol, packet, ok := ppp.ParseFrame(frame)
	carries := s.carries.Load()
	switch {
	case !ok:
		s.flow.droppedIn.Add(1)
		return
	case protocol == ppp.ProtocolMPPE && carries.encryption != nil:
		var err error
		if protocol, packet, err = carries.encryption.Opener.Open(packet); err != nil {
			s.flow.droppedIn.Add(1)
			if errors.Is(err, ppp.ErrOutOfStep) && !s.lostKeys.Swap(true) {
				s.runner.Do(s.link.OutOfStep)
			}
			return
		}
	case protocol != ppp.ProtocolIPv4 && protocol != ppp.ProtocolIPv6:
		s.flow.ownIn.Add(1)
		if !s.runner.Handle(frame) {
			s.flow.droppedIn.Add(1)
		}
		return
	case carries.encryption != nil: // in the clear
		s.flow.droppedIn.Add(1)
		return
	}
	if carries.mtu(protocol) == 0 || len(packet) == 0 || protocolOf(packet[0]) != protocol {
		s.flow.droppedIn.Add(1)
		return
	}
	in.add(s, packet)
}

// Put sends IP packets to the peer. One of a protocol that PPP has not opened, or
// longer than the MTU, is dropped and counted.
func (s *Session) Put(b *link.Batch) {
	m := b.Mark()
	defer b.Restore(m)
	carries := s.carries.Load()
	kept, bytes := b.Frames[:0], 0
	for _, f := range b.Frames {
		first := f.Peek(1)
		if first == nil || f.Len() > carries.mtu(protocolOf(first[0])) {
			s.flow.droppedOut.Add(1)
			continue
		}
		bytes += f.Len()
		kept = append(kept, f)
	}
	s.tunnel.ep.inner(pcapng.Outbound, kept)
	if carries.encryption != nil {
		s.seal(kept, carries.encryption.Sealer)
	} else {
		for i := range kept {
			f := &kept[i]
			protocol := protocolOf(f.Peek(1)[0])
			ppp.PutHeader(f.Push(ppp.HeaderLen), protocol)
			s.pushHeader(f)
		}
		s.sendData(kept)
	}
	s.flow.bytesOut.Add(uint64(bytes))
}

// seal encrypts packets and sends them. What overtakes on the way is lost to the
// peer, so sealing and sending are one.
func (s *Session) seal(packets []link.Frame, sealer *ppp.Sealer) {
	b := link.NewBatch()
	defer b.Free()
	s.sealing.Lock()
	defer s.sealing.Unlock()
	for i := range packets {
		p := &packets[i]
		f := b.Add(p.Len()+ppp.EncryptionLen, nil, nil)
		sealer.Seal(f.Head()[:0], protocolOf(p.Peek(1)[0]), p.Head(), p.Body, p.Tail)
		ppp.PutHeader(f.Push(ppp.HeaderLen), ppp.ProtocolMPPE)
		s.pushHeader(f)
	}
	s.sendData(b.Frames)
}

func (s *Session) sendData(frames []link.Frame) {
	path := s.tunnel.path.Load()
	sent, err := s.tunnel.ep.send(frames, path)
	s.heed(path)
	s.flow.packetsOut.Add(uint64(sent))
	if err != nil {
		s.flow.droppedOut.Add(uint64(len(frames) - sent))
		s.tunnel.ep.counters.socketErrors.Add(1)
	}
}

// pushHeader puts the data header in front. Sequence numbers are sent when the
// LAC asks for them (Sequencing Required AVP, RFC 2661 §4.4.6, §5.4), and not
// looked at: PPP without compression needs no order, MPPE has its own, and IP
// expects none.
func (s *Session) pushHeader(f *link.Frame) {
	if s.sequenced {
		wire.PutSequencedHeader(f.Push(wire.SequencedHeaderLen), s.peerTunnel, s.peerID, uint16(s.ns.Add(1)-1))
		return
	}
	wire.PutDataHeader(f.Push(wire.DataHeaderLen), s.peerTunnel, s.peerID)
}

// sendFrame sends one of PPP's own frames. On the loop.
func (s *Session) sendFrame(frame []byte) {
	s.flow.ownOut.Add(1)
	b := link.NewBatch()
	defer b.Free()
	s.pushHeader(b.Add(0, frame, nil))
	if _, err := s.tunnel.ep.send(b.Frames, s.tunnel.path.Load()); err != nil {
		s.tunnel.ep.counters.socketErrors.Add(1)
	}
}
