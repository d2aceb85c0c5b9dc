package control

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A Pseudowire is what one end of a session of L2TPv3 tells the other of it (RFC 3931
// §5.4.4). Cookie, Sublayer and Sequencing say what that end wants to receive.
type Pseudowire struct {
	Type        uint16 // of IANA's registry; told by the caller
	RemoteEndID []byte // which circuit is meant, in octets that both ends know; told by the caller
	Cookie      []byte // 0, 4 or 8 octets
	Sublayer    uint16 // a wire.Sublayer… constant
	Sequencing  uint16 // a wire.Sequencing… constant
	Status      uint16 // of its circuit: a mask of wire.Circuit… constants
	MTU         uint16 // bytes, of the circuit (RFC 4667); 0: not told
}

// ErrLostSessionTie ends a session that the peer was asking for as well: the other one
// goes first.
var ErrLostSessionTie = errors.New("the peer was asking for the same circuit, and its session goes first")

// ErrEqualSessionTie ends a session that the peer was asking for as well, with the same tie
// breaker: it may be asked for again.
var ErrEqualSessionTie = errors.New("the peer was asking for the same circuit, with the same tie breaker, so that neither session goes first")

// A PseudowireError tells that a session was not asked for, since the peer does not take
// its type.
type PseudowireError struct {
	Type       uint16
	Advertised []uint16 // by the peer
}

func (e *PseudowireError) Error() string {
	return fmt.Sprintf("the peer takes no pseudowires of type %d: it has told %d others", e.Type, len(e.Advertised))
}

func (p *Pseudowire) put(m *wire.Message) {
	m.PseudowireType, m.RemoteEndID = p.Type, p.RemoteEndID
	m.AssignedCookie, m.Sublayer, m.DataSequencing = p.Cookie, p.Sublayer, p.Sequencing
	m.CircuitStatus, m.InterfaceMTU = p.Status, p.MTU
}

func pseudowireOf(m *wire.Message) *Pseudowire {
	return &Pseudowire{m.PseudowireType, m.RemoteEndID, m.AssignedCookie, m.Sublayer, m.DataSequencing, m.CircuitStatus, m.InterfaceMTU}
}

// request completes an ICRQ or OCRQ by what L2TPv3 has in it.
func (t *Tunnel) request(m *wire.Message, p *Pseudowire, tieBreaker bool) {
	if p != nil {
		p.put(m)
	}
	if tieBreaker {
		t.random(m.TieBreaker[:])
		m.Set(wire.AVPTieBreaker)
	}
}

// noteRequest keeps what a request of ours has told.
func (s *session) noteRequest(m *wire.Message) {
	s.ours = pseudowireOf(m)
	s.told = s.ours.Status
	if m.Has(wire.AVPTieBreaker) {
		s.tieBreaker = &m.TieBreaker
	}
}

// reply is an ICRP or OCRP.
func (s *session) reply(t wire.MessageType) *wire.Message {
	m := &wire.Message{Type: t, AssignedSessionID: s.id}
	if s.ours != nil {
		s.ours.put(m)
		s.told = s.ours.Status
	}
	return m
}

// AcceptPseudowire takes the call that IncomingCall or OutgoingCallRequest has asked
// about, in a tunnel of L2TPv3. Type and Remote End ID are the caller's; a circuit with
// another MTU than the caller's is refused.
func (t *Tunnel) AcceptPseudowire(now time.Time, session uint32, ours Pseudowire) {
	s := t.calls.byID[session]
	if s == nil || s.state != ringing {
		return
	}
	ours.Type, ours.RemoteEndID = s.theirs.Type, s.theirs.RemoteEndID
	s.ours = &ours
	if r := s.mismatch(); r != (wire.Result{}) {
		t.clearCall(now, s, r, &RefusedError{wire.ICRQ, wire.CDN, r})
		return
	}
	if s.role == outgoingLAC {
		t.AcceptOutgoing(now, session)
	} else {
		t.AcceptCall(now, session)
	}
}

// SetStatus tells the peer that our circuit has changed: a mask of wire.Circuit…
// constants. It goes out in ICRQ or OCRQ, if that has not been sent yet, or else in an SLI, as
// soon as the session is established.
func (t *Tunnel) SetStatus(now time.Time, session uint32, status uint16) {
	s := t.calls.byID[session]
	switch {
	case s == nil:
	case s.request != nil:
		s.request.CircuitStatus = status
	case s.ours != nil && t.version == 3:
		s.ours.Status = status
		if s.state == callEstablished {
			t.tellStatus(now, s)
		}
	}
}

// tellStatus sends an SLI, if the peer knows another status of our circuit than it has.
func (t *Tunnel) tellStatus(now time.Time, s *session) {
	if s.ours == nil || t.version != 3 || s.told == s.ours.Status {
		return
	}
	s.told = s.ours.Status
	m := &wire.Message{Type: wire.SLI, AssignedSessionID: s.id, V3: wire.V3{CircuitStatus: s.told}}
	m.Set(wire.AVPCircuitStatus)
	t.sendMessage(now, s.peer, 0, m)
}

// learnStatus takes the peer's Circuit Status.
func (t *Tunnel) learnStatus(s *session, m *wire.Message) {
	if m.Has(wire.AVPCircuitStatus) && s.theirs != nil {
		s.theirs.Status = m.CircuitStatus
		t.Emit(CircuitStatus{s.id, m.CircuitStatus})
	}
}

// ableV3 tells why a session may not be asked for.
//
// RFC 3931 §5.4.4: "A peer MUST NOT request an incoming or outgoing call with a PW Type
// AVP specifying a value not advertised in the PW Capabilities List AVP it received".
func (t *Tunnel) ableV3(m *wire.Message) error {
	if slices.Contains(t.peer.Pseudowires, m.PseudowireType) {
		return nil
	}
	return &PseudowireError{m.PseudowireType, t.peer.Pseudowires}
}

// acceptable refuses a request that is not, and settles a tie.
func (t *Tunnel) acceptable(now time.Time, m *wire.Message) bool {
	if !slices.Contains(t.cfg.V3.Pseudowires, m.PseudowireType) {
		// "Attempts to do so MUST result in the call being rejected via a CDN with the
		// Result Code set to 14" (§5.4.4).
		t.refuseCall(now, m, wire.Result{Code: wire.CallPseudowireType, Error: wire.ErrorNone, Text: fmt.Sprintf("no pseudowires of type %d here", m.PseudowireType)})
		return false
	}
	if r := unsound(m); r != (wire.Result{}) {
		t.refuseCall(now, m, r)
		return false
	}
	return !t.tied(now, m)
}

// unsound is why what the peer wants to receive cannot be sent; zero: it can.
func unsound(m *wire.Message) wire.Result {
	switch {
	case m.Sublayer != wire.SublayerNone && m.Sublayer != wire.SublayerDefault:
		return wire.Result{Code: wire.CallError, Error: wire.ErrorValue, Text: fmt.Sprintf("L2-Specific Sublayer %d is not known", m.Sublayer)}
	case m.DataSequencing > wire.SequencingAll:
		return wire.Result{Code: wire.CallError, Error: wire.ErrorValue, Text: fmt.Sprintf("Data Sequencing %d is not known", m.DataSequencing)}
	case m.DataSequencing != wire.SequencingNone && m.Sublayer == wire.SublayerNone:
		// "If sequencing is requested without requesting a L2-Specific Sublayer AVP, the
		// session MUST be disconnected with a Result Code of 15" (§5.4.4).
		return wire.Result{Code: wire.CallSequencing}
	}
	return wire.Result{}
}

// learnPseudowire takes what the peer tells of its end in a reply, or in ICCN or OCCN,
// which may change it. It reports false, and the session ends, when that cannot be.
func (t *Tunnel) learnPseudowire(now time.Time, s *session, m *wire.Message) bool {
	if t.version != 3 {
		return true
	}
	if s.theirs == nil {
		s.theirs = &Pseudowire{Cookie: m.AssignedCookie, MTU: m.InterfaceMTU}
	}
	if m.Has(wire.AVPSublayer) {
		s.theirs.Sublayer = m.Sublayer
	}
	if m.Has(wire.AVPDataSequencing) {
		s.theirs.Sequencing = m.DataSequencing
	}
	if m.Has(wire.AVPCircuitStatus) {
		s.theirs.Status = m.CircuitStatus
	}
	wants := &wire.Message{V3: wire.V3{Sublayer: s.theirs.Sublayer, DataSequencing: s.theirs.Sequencing}}
	r := unsound(wants)
	if r == (wire.Result{}) {
		r = s.mismatch()
	}
	if r == (wire.Result{}) {
		return true
	}
	t.clearCall(now, s, r, &RefusedError{m.Type, wire.CDN, r})
	return false
}

// mismatch is why the two ends cannot be those of one circuit; zero: they can.
//
// RFC 4667 §4.3: the MTUs of both ends, where both tell them, must be the same.
func (s *session) mismatch() wire.Result {
	if ours, theirs := s.ours.MTU, s.theirs.MTU; ours != 0 && theirs != 0 && ours != theirs {
		return wire.Result{Code: wire.CallMTU, Error: wire.ErrorNone, Text: fmt.Sprintf("MTU %d here, %d there", ours, theirs)}
	}
	return wire.Result{}
}

// tied settles a tie, when the peer asks for the circuit that we are asking it for: it
// reports whether the peer's request is thereby dealt with. Requests without a Remote End
// ID name no circuit.
//
// RFC 3931 §5.4.4: "The LCCE with the lower value "wins" and MUST send a CDN with result
// code set to 13 […] in response to the losing ICRQ or OCRQ. In the case in which a tie
// is detected, tie breakers are sent by both sides, and the tie breaker values are equal,
// both sides MUST discard their sessions and restart session negotiation with new random
// tie breaker values. If a tie is detected but only one side sends a Session Tie Breaker AVP, the session initiator that included the Session Tie
// Breaker AVP "wins". If neither side issues a tie breaker, then both sides MUST tear
// down the session."
func (t *Tunnel) tied(now time.Time, m *wire.Message) bool {
	if len(m.RemoteEndID) == 0 {
		return false
	}
	rivals := t.inOrder(func(s *session) bool {
		return s.state == waitReply && bytes.Equal(s.ours.RemoteEndID, m.RemoteEndID)
	})
	if len(rivals) == 0 {
		return false
	}
	ours := rivals[0]
	lost := wire.Result{Code: wire.CallLostTie}
	outcome := Collide(ours.tieBreaker, PeerTieBreaker(m))
	switch {
	case outcome == OursWins:
		t.refuseCall(now, m, lost)
		return true
	case outcome == TheirsWins:
		// The winner's CDN for ours is on its way.
		t.endCall(now, ours, ErrLostSessionTie)
		return false
	}
	t.refuseCall(now, m, lost)
	if outcome == NoneWins {
		t.clearCall(now, ours, lost, ErrEqualSessionTie)
	} else {
		t.clearCall(now, ours, lost, ErrLostSessionTie)
	}
	return true
}

// callTimeout is the result code of a call that was not established in time.
func (t *Tunnel) callTimeout() uint16 {
	if t.version == 3 {
		return wire.CallFSM
	}
	return wire.CallTimeout
}
