package control

import (
	"fmt"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A callRow is what a session does in a state when it receives a message.
type callRow struct {
	state   sessionState
	message wire.MessageType
	act     func(*Tunnel, time.Time, *session, *wire.Message)
}

// callTable is the tables of RFC 2661 §7.4.1 and §7.4.2, their rows for messages
// that are received, in their order. Their rows for a session in idle, of which
// there is no state, are receiveCall's. The other rows are Call (bearer ring),
// startCalls (tunnel-open) and Hangup (local close request, bearer line drop).
//
// Outgoing calls (§7.5) are not taken, so their messages are out of sequence in
// every state.
var callTable = []callRow{
	// State      Receive        Action                       in the RFC's words, New State

	// §7.4.1, LAC
	{waitReply, wire.ICRP, (*Tunnel).receiveICRP},      // acceptable: Send ICCN, established; not: Send CDN, Clean up, idle
	{waitReply, wire.ICRQ, (*Tunnel).outOfPlace},       // Send CDN, Clean up, idle
	{waitReply, wire.CDN, (*Tunnel).receiveCDN},        // Clean up, idle
	{waitReply, wire.ICCN, (*Tunnel).forget},           // Clean up, idle
	{callEstablished, wire.CDN, (*Tunnel).receiveCDN},  // Clean up, idle
	{callEstablished, wire.ICRQ, (*Tunnel).outOfPlace}, // Send CDN, Clean up, idle
	{callEstablished, wire.ICRP, (*Tunnel).outOfPlace},
	{callEstablished, wire.ICCN, (*Tunnel).outOfPlace},

	// §7.4.2, LNS; what is in idle there is ringing here, until the owner has
	// found ICRQ acceptable
	{ringing, wire.ICRQ, (*Tunnel).outOfPlace},      // (of another call, with an id that this one has)
	{ringing, wire.ICRP, (*Tunnel).outOfPlace},      // Send CDN, Clean up, idle
	{ringing, wire.ICCN, (*Tunnel).forget},          // Clean up, idle
	{waitConnect, wire.ICCN, (*Tunnel).receiveICCN}, // acceptable: established
	{waitConnect, wire.ICRQ, (*Tunnel).outOfPlace},  // Send CDN, Clean up, idle
	{waitConnect, wire.ICRP, (*Tunnel).outOfPlace},  // Send CDN, Clean up, idle
	{ringing, wire.CDN, (*Tunnel).receiveCDN},       // Clean up, idle
	{waitConnect, wire.CDN, (*Tunnel).receiveCDN},
}

// receiveCall takes a message for a session: the one with the id in the header,
// or, if that is 0, the one with the peer's id in the message.
func (t *Tunnel) receiveCall(now time.Time, header uint32, m *wire.Message) {
	switch m.Type {
	case wire.WEN, wire.SLI:
		// About a modem's line, of which we have none: to be acknowledged is
		// all that they get.
		t.counters.IgnoredMessage++
		return
	}
	if s := t.findSession(header, m); s != nil {
		for _, row := range callTable {
			if row.state == s.state && row.message == m.Type {
				row.act(t, now, s, m)
				return
			}
		}
		t.outOfPlace(now, s, m)
		return
	}
	switch {
	case m.Type == wire.ICRQ:
		t.receiveICRQ(now, m)
	case m.Type == wire.OCRQ:
		// RFC 2661 §7.5.1: "idle, Receive OCRQ, not acceptable: Send CDN"
		t.refuseCall(now, m, wire.Result{Code: wire.CallNoFacilitiesEver,
			Error: wire.ErrorNone, Text: "no calls are placed here"})
	case m.Type == wire.ICRP && !t.lingers(header):
		// §7.4.2: "idle, Receive ICRP: Send CDN". If we have just hung up, that
		// CDN is on its way.
		t.refuseCall(now, m, wire.Result{Code: wire.CallError, Error: wire.ErrorSessionID, Text: "no call of ours"})
	default:
		t.counters.IgnoredMessage++ // §7.4.1: "idle, Receive ICCN, ICRP, CDN: Clean up"
	}
}

// findSession is the session that a message is for, or nil.
func (t *Tunnel) findSession(header uint32, m *wire.Message) *session {
	if header == 0 {
		return t.calls.byPeer[m.AssignedSessionID]
	}
	if s := t.calls.byID[header]; s != nil && s.state != waitTunnel {
		return s
	}
	return nil // or the peer cannot know of it
}

// malformedCall ends the session that a malformed message is for, or refuses
// the one that it asks for.
func (t *Tunnel) malformedCall(now time.Time, header uint32, m *wire.Message, r wire.Result) {
	switch s := t.findSession(header, m); {
	case s != nil && m.Type == wire.CDN:
		t.receiveCDN(now, s, m) // it can hardly mean anything else
	case s != nil:
		t.clearCall(now, s, r, &RefusedError{m.Type, wire.CDN, r})
	case (m.Type == wire.ICRQ || m.Type == wire.OCRQ) && m.AssignedSessionID != 0:
		t.refuseCall(now, m, r)
	default:
		t.counters.IgnoredMessage++
	}
}

// refuseCall answers a message that no session is for with CDN. The Assigned
// Session ID in it must not be 0, so it is one that nobody has.
func (t *Tunnel) refuseCall(now time.Time, m *wire.Message, r wire.Result) {
	t.counters.RefusedCall++
	t.sendMessage(now, m.AssignedSessionID, 0, &wire.Message{Type: wire.CDN, Result: r, AssignedSessionID: t.newSessionID(now)})
}

// outOfPlace ends a session because of a message that its state does not have.
func (t *Tunnel) outOfPlace(now time.Time, s *session, m *wire.Message) {
	r := wire.Result{Code: wire.CallError, Error: wire.ErrorSessionID, Text: fmt.Sprintf("%v in state %v", m.Type, s.state)}
	t.clearCall(now, s, r, &RefusedError{m.Type, wire.CDN, r})
}

// forget ends a session because of a message that shows that the peer has
// another notion of it, without a word, as the RFC has it.
func (t *Tunnel) forget(now time.Time, s *session, m *wire.Message) {
	t.endCall(now, s, &RefusedError{Refused: m.Type, Sent: wire.CDN, Result: wire.Result{Text: fmt.Sprintf("%v in state %v", m.Type, s.state)}})
}

func (t *Tunnel) receiveCDN(now time.Time, s *session, m *wire.Message) {
	t.endCall(now, s, &PeerError{wire.CDN, s.state != callEstablished, m.Result})
}

func (t *Tunnel) receiveICRQ(now time.Time, m *wire.Message) {
	if s := t.calls.byPeer[m.AssignedSessionID]; s != nil {
		t.outOfPlace(now, s, m)
		return
	}
	if len(t.calls.byID) >= t.cfg.MaxSessions {
		t.refuseCall(now, m, wire.Result{Code: wire.CallNoFacilities, Error: wire.ErrorResources, Text: "too many sessions"})
		return
	}
	s := t.addSession(t.newSessionID(now), m.AssignedSessionID, ringing)
	t.Emit(IncomingCall{s.id, s.peer, m.CallSerialNumber, m.CalledNumber, m.CallingNumber, m.SubAddress})
}

func (t *Tunnel) receiveICRP(now time.Time, s *session, m *wire.Message) {
	if t.calls.byPeer[m.AssignedSessionID] != nil {
		// s.peer stays 0: the peer must find the session by our id.
		r := wire.Result{Code: wire.CallError, Error: wire.ErrorSessionID, Text: "another session has this Assigned Session ID"}
		t.clearCall(now, s, r, &RefusedError{m.Type, wire.CDN, r})
		return
	}
	s.peer = m.AssignedSessionID
	t.calls.byPeer[s.peer] = s
	reply := &wire.Message{Type: wire.ICCN, TxConnectSpeed: connectSpeed, FramingType: wire.FramingSync}
	if t.peerFraming&wire.FramingSync == 0 && t.peerFraming&wire.FramingAsync != 0 {
		reply.FramingType = wire.FramingAsync
	}
	if t.sendMessage(now, s.peer, s.id, reply) {
		t.setSessionState(now, s, callEstablished)
		t.Emit(SessionUp{Session: s.id, PeerSession: s.peer})
	}
}

// connectSpeed is the (Tx) Connect Speed that we tell, in bits per second. There
// is no line whose speed it could be.
const connectSpeed = 1_000_000_000

func (t *Tunnel) receiveICCN(now time.Time, s *session, m *wire.Message) {
	t.setSessionState(now, s, callEstablished)
	t.Emit(SessionUp{s.id, s.peer, m.SequencingRequired})
}
