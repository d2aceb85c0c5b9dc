package endpoint

import (
	"errors"
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/pcapng"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// flow counts a session's frames, and PPP's own.
type flow struct {
	packetsIn, bytesIn, droppedIn, packetsOut, bytesOut, droppedOut atomic.Uint64
	ownIn, ownOut                                                   atomic.Uint64
	cookieDiscards, invalid, unnumbered, late, outOfSequence, muted atomic.Uint64 // in version 3
}

// A carriage is what a session carries at the moment: the loop replaces it as a
// whole, the data path reads it. What does not pass has MTU 0.
type carriage struct {
	mtu                      int // bytes, where no PPP ends
	mtu4, mtu6               int // bytes
	negotiated4, negotiated6 int // what PPP allows, which the path may not
	encryption               *ppp.Encryption
}

// mtuOf is the longest packet of the protocol, 0 when it is not carried.
func (c *carriage) mtuOf(protocol uint16) int {
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

// receive takes the frame of one data message, and adds what is to be handed on to in.
// On the reader, or in its place ([ordering]).
func (s *Session) receive(frame []byte, in *inflow) {
	switch {
	case s.ppp != nil:
		s.ppp.receive(frame, in)
		return
	case s.kind == PseudowireVLAN:
		var ok bool
		if frame, ok = untag(frame); !ok {
			s.flow.invalid.Add(1)
			return
		}
	case s.kind == PseudowireEthernet && len(frame) < ethernetHeaderLen,
		s.kind == PseudowireIP && (len(frame) == 0 || protocolOf(frame[0]) == 0),
		len(frame) == 0:
		s.flow.invalid.Add(1)
		return
	}
	in.add(s, frame)
}

// receive takes a frame: IP packets go straight to the attached sink, by in; the rest
// is PPP's own business.
func (p *pppEnd) receive(frame []byte, in *inflow) {
	s := p.session
	protocol, packet, ok := ppp.ParseFrame(frame)
	carries := s.carries.Load()
	switch {
	case !ok:
		s.flow.droppedIn.Add(1)
		return
	case protocol == ppp.ProtocolMPPE && carries.encryption != nil:
		var err error
		p.opening.Lock()
		protocol, packet, err = carries.encryption.Opener.Open(packet)
		p.opening.Unlock()
		if err != nil {
			s.flow.droppedIn.Add(1)
			if errors.Is(err, ppp.ErrOutOfStep) && !p.lostKeys.Swap(true) {
				p.runner.Do(p.link.OutOfStep)
			}
			return
		}
	case protocol != ppp.ProtocolIPv4 && protocol != ppp.ProtocolIPv6:
		s.flow.ownIn.Add(1)
		if !p.runner.Handle(frame) {
			s.flow.droppedIn.Add(1)
		}
		if p.silent.Load() && p.silent.Swap(false) {
			p.runner.Do(p.link.Open)
		}
		return
	case carries.encryption != nil: // in the clear
		s.flow.droppedIn.Add(1)
		return
	}
	if carries.mtuOf(protocol) == 0 || len(packet) == 0 || protocolOf(packet[0]) != protocol {
		s.flow.droppedIn.Add(1)
		return
	}
	in.add(s, packet)
}

// Put sends frames to the peer. An IP packet that is longer than the MTU, or of a
// protocol that PPP has not opened, is dropped and counted, and so is what is no frame
// of the session's type. Other frames may be longer than the MTU, up to what a datagram
// holds: whoever makes them is told the MTU, whoever bridges them cannot make them
// shorter, and in pieces they arrive after all.
func (s *Session) Put(b *link.Batch) {
	if s.mute.Load() {
		n := uint64(len(b.Frames))
		s.flow.muted.Add(n)
		s.flow.droppedOut.Add(n)
		return
	}
	m := b.Mark()
	defer b.Restore(m)
	carries := s.carries.Load()
	kept := b.Frames[:0]
	for _, f := range b.Frames {
		if !s.sends(&f, carries) {
			s.flow.droppedOut.Add(1)
			continue
		}
		kept = append(kept, f)
	}
	s.captured(pcapng.Outbound, kept)
	switch {
	case carries.encryption != nil:
		s.seal(kept, carries.encryption.Sealer)
	case s.ppp != nil:
		for i := range kept {
			f := &kept[i]
			protocol := protocolOf(f.Peek(1)[0])
			ppp.PutHeader(f.Push(ppp.HeaderLen), protocol)
		}
		s.encapsulate(kept, ppp.HeaderLen)
	case s.kind == PseudowireVLAN:
		s.sendTagged(kept)
	default:
		s.encapsulate(kept, 0)
	}
}

// sends tells whether the session carries a frame of the owner's.
func (s *Session) sends(f *link.Frame, carries *carriage) bool {
	switch {
	case s.ppp != nil:
		first := f.Peek(1)
		return first != nil && f.Len() <= carries.mtuOf(protocolOf(first[0]))
	case s.kind == PseudowireIP:
		first := f.Peek(1)
		return first != nil && protocolOf(first[0]) != 0 && f.Len() <= carries.mtu
	case s.ethernet():
		return f.Len() >= ethernetHeaderLen && f.Len() <= frameMax && carries.mtu > 0
	}
	return f.Len() > 0 && f.Len() <= frameMax && carries.mtu > 0
}

// frameMax is the longest frame that fits into a datagram of UDP over IPv4 with what
// stands in front of it, in bytes.
const frameMax = 65507 - wire.V3DataHeaderMax - vlanTagLen

// seal encrypts packets and sends them. What overtakes on the way is lost to the
// peer, so sealing and sending are one.
func (s *Session) seal(packets []link.Frame, sealer *ppp.Sealer) {
	b := link.NewBatch()
	defer b.Free()
	s.sending.Lock()
	defer s.sending.Unlock()
	for i := range packets {
		p := &packets[i]
		f := b.Add(p.Len()+ppp.EncryptionLen, nil, nil)
		sealer.Seal(f.Head()[:0], protocolOf(p.Peek(1)[0]), p.Head(), p.Body, p.Tail)
		ppp.PutHeader(f.Push(ppp.HeaderLen), ppp.ProtocolMPPE)
	}
	s.transmit(b.Frames, ppp.HeaderLen+ppp.EncryptionLen, s.encap.numbered.Load())
}

// encapsulate sends frames as the encapsulation has them, of which so many octets each
// are a layer's of ours. Numbering and sending are one, else the numbers of those who send
// at the same time would be out of order.
func (s *Session) encapsulate(frames []link.Frame, layer int) {
	numbered := s.encap.numbered.Load()
	if numbered {
		s.sending.Lock()
		defer s.sending.Unlock()
	}
	s.transmit(frames, layer, numbered)
}

// transmit puts the headers in front of frames and sends them. sending is held if they
// are numbered.
func (s *Session) transmit(frames []link.Frame, layer int, numbered bool) {
	if len(frames) == 0 {
		return
	}
	ours := layer - frames[0].Len()
	if numbered {
		for i := range frames {
			s.encap.pushNumbered(&frames[i])
		}
	} else {
		for i := range frames {
			s.encap.push(&frames[i])
		}
	}
	ours += frames[0].Len()
	path := s.path()
	sent, err := s.tunnel.ep.send(frames, path)
	s.heed(path)
	bytes := -sent * ours
	for i := range frames[:sent] {
		bytes += frames[i].Len()
	}
	s.flow.packetsOut.Add(uint64(sent))
	s.flow.bytesOut.Add(uint64(bytes))
	if err != nil {
		s.flow.droppedOut.Add(uint64(len(frames) - sent))
		s.tunnel.ep.counters.socketErrors.Add(1)
	}
}

// sendFrame sends one of PPP's own frames. On the loop.
func (s *Session) sendFrame(frame []byte) {
	if s.mute.Load() {
		return
	}
	s.flow.ownOut.Add(1)
	l, path := s.tunnel.loop, s.path()
	if !s.encap.numbered.Load() {
		f := l.out.add(path, len(frame))
		copy(f.Head(), frame)
		s.encap.push(f)
		return
	}
	// It must not get its number later than it is sent, nor overtake what was sent before.
	l.flush()
	b := link.NewBatch()
	defer b.Free()
	s.sending.Lock()
	defer s.sending.Unlock()
	s.encap.pushNumbered(b.Add(0, frame, nil))
	if _, err := s.tunnel.ep.send(b.Frames, path); err != nil {
		s.tunnel.ep.counters.socketErrors.Add(1)
	}
}

// sendFrameWhole is sendFrame for one that must go in one piece, or not at all. On the loop.
func (s *Session) sendFrameWhole(frame []byte) {
	if s.mute.Load() {
		return
	}
	s.flow.ownOut.Add(1)
	s.tunnel.loop.flush() // it would overtake what was sent before
	b := link.NewBatch()
	defer b.Free()
	f := b.Add(len(frame), nil, nil)
	copy(f.Head(), frame)
	if s.encap.numbered.Load() {
		s.sending.Lock()
		defer s.sending.Unlock()
		s.encap.pushNumbered(f)
	} else {
		s.encap.push(f)
	}
	s.tunnel.writeWhole(f.Head())
}
