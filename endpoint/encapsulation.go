package endpoint

import (
	"sync/atomic"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// An encapsulation is what the frames of a session have in front of them on their way
// out: octets that are the same for all, and perhaps a number. It is a value that both
// versions fill in, since a call of an interface for each frame costs more.
type encapsulation struct {
	version    uint8
	length     uint8 // of header, in octets
	sublayer   bool  // the Default L2-Specific Sublayer ends the header
	nonIP      bool  // of numbered frames those have no number that carry IP
	kind       PseudowireType
	peerTunnel uint32
	peerID     uint32 // the peer's session id
	header     [wire.V3DataHeaderMax]byte

	numbered atomic.Bool // frames have numbers
	next     uint32      // the next one's; under Session.sending
}

// v2 makes it L2TPv2's. Sequence numbers are sent when the LAC asks for them
// (Sequencing Required AVP, RFC 2661 §4.4.6, §5.4), and not looked at: PPP without
// compression needs no order, MPPE has its own, and IP expects none.
func (e *encapsulation) v2(peerTunnel, peerSession uint32, sequenced bool) {
	e.version, e.peerTunnel, e.peerID, e.length = 2, peerTunnel, peerSession, wire.DataHeaderLen
	wire.PutDataHeader(e.header[:], peerTunnel, peerSession)
	e.numbered.Store(sequenced)
}

// v3 makes it L2TPv3's, over UDP.
func (e *encapsulation) v3(peerSession uint32, cookie []byte, sublayer, sequenced bool) {
	e.version, e.sublayer, e.peerID = 3, sublayer, peerSession
	e.length = uint8(wire.V3DataLen(len(cookie), sublayer))
	wire.PutV3DataHeader(e.header[:], peerSession, cookie, sublayer, 0, false)
	e.numbered.Store(sequenced)
}

// overhead is the most octets that stand in front of a frame.
func (e *encapsulation) overhead() int {
	if e.version == 3 {
		return int(e.length)
	}
	return wire.SequencedHeaderLen
}

// push puts the header in front of a frame.
func (e *encapsulation) push(f *link.Frame) {
	copy(f.Push(int(e.length)), e.header[:e.length])
}

// pushNumbered puts the header with the next number in front of a frame, if it is to have
// one. Session.sending is held.
func (e *encapsulation) pushNumbered(f *link.Frame) {
	if e.nonIP && carriesIP(e.kind, f) {
		e.push(f)
		return
	}
	n := e.next
	e.next++
	if e.version == 2 {
		wire.PutSequencedHeader(f.Push(wire.SequencedHeaderLen), e.peerTunnel, e.peerID, uint16(n))
		return
	}
	cookie := e.header[wire.V3DataHeaderLen : e.length-wire.SublayerLen]
	wire.PutV3DataHeader(f.Push(int(e.length)), e.peerID, cookie, true, n, true)
}

// An arrival is what L2TPv3 has in front of the frames that come in.
type arrival struct {
	cookie   []byte // the one that the peer sends
	sublayer bool
	order    *ordering // nil: numbers are not looked at
	// negotiated: the peer has said whether it wants numbers.
	negotiated bool
}

// receiveV3 takes the rest of a data message of L2TPv3, from the cookie on, and reports
// whether it is the peer's. Nothing is learnt from one whose cookie or number is wrong,
// nor its frame delivered. On the reader.
func (s *Session) receiveV3(rest []byte, in *inflow) bool {
	a := &s.arrival
	frame, ok := wire.CutCookie(rest, a.cookie)
	if !ok {
		s.flow.cookieDiscards.Add(1)
		return false
	}
	if !a.sublayer {
		s.receive(frame, in)
		return true
	}
	sequenced, number, frame, ok := wire.ParseSublayer(frame)
	if !ok {
		s.flow.invalid.Add(1)
		return false
	}
	if sequenced && !a.negotiated && !s.encap.numbered.Load() {
		s.encap.numbered.Store(true) // who numbers may insist on it
	}
	switch {
	case a.order == nil:
		s.receive(frame, in)
	case sequenced:
		return a.order.receive(number, frame, in)
	default:
		s.flow.unnumbered.Add(1)
		return false
	}
	return true
}
