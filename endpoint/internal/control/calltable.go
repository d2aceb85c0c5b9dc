package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A callRow is what a session does in a state when it receives a message.
type callRow struct {
	in  []sessionState
	on  []wire.MessageType
	act func(*Tunnel, time.Time, *session, *wire.Message)
}

type sessionStates = []sessionState

// callTables are the tables of RFC 2661 §7.4 and §7.5: their rows for messages
// that are received, in their order, each above what does it. In idle there is
// no session yet: its rows are receiveInIdle's.
var callTables = [...][]callRow{
	incomingLAC: incomingLACTable,
	incomingLNS: incomingLNSTable,
	outgoingLAC: outgoingLACTable,
	outgoingLNS: outgoingLNSTable,
}

// receiveCall takes a message for a session: the one with the id in the header,
// or, if that is 0, the one with the peer's id in the message.
func (t *Tunnel) receiveCall(now time.Time, header uint32, m *wire.Message) {
	s := t.findSession(header, m)
	switch {
	case m.Type == wire.WEN || m.Type == wire.SLI:
		t.receiveReport(s, m)
		return
	case s == nil:
		t.receiveInIdle(now, header, m)
		return
	}
	for _, row := range callTables[s.role] {
		if slices.Contains(row.in, s.state) && slices.Contains(row.on, m.Type) {
			row.act(t, now, s, m)
			return
		}
	}
	if outgoing := m.Type <= wire.OCCN; outgoing == (s.role >= outgoingLAC) {
		panic(fmt.Sprintf("BUG: control: no row for %v in %v", m.Type, s.state))
	}
	// What is said in incoming calls has no place in an outgoing one, in any
	// state, nor the other way round.
	t.outOfPlace(now, s, m)
}

// receiveReport hands up what a LAC reports of its line, and what an LNS wants
// of it. They change no state, and may come late.
func (t *Tunnel) receiveReport(s *session, m *wire.Message) {
	switch {
	case s == nil || s.state != callEstablished || s.role.lac() != (m.Type == wire.SLI) && t.version == 2:
		t.counters.IgnoredMessage++
	case m.Type == wire.SLI && t.version == 3:
		t.learnStatus(s, m)
	case m.Type == wire.WEN:
		t.Emit(WANError{s.id, m.CallErrors})
	default:
		t.Emit(LinkInfo{s.id, m.ACCM})
	}
}

// receiveInIdle takes a message for which there is no session.
func (t *Tunnel) receiveInIdle(now time.Time, header uint32, m *wire.Message) {
	switch {
	// §7.4.2  idle  Receive ICRQ, acceptable      Send ICRP           wait-connect
	//         idle  Receive ICRQ, not acceptable  Send CDN, Clean up  idle
	case m.Type == wire.ICRQ:
		t.receiveICRQ(now, m)

	// §7.5.1  idle  Receive OCRQ, acceptable      Send OCRP           wait-cs-answer
	//         idle  Receive OCRQ, not acceptable  Send CDN, Clean up  idle
	case m.Type == wire.OCRQ:
		t.receiveOCRQ(now, m)

	// §7.4.1  idle  Receive ICRP                  Clean up            idle
	// §7.4.2  idle  Receive ICRP                  Send CDN, Clean up  idle
	// §7.5.1  idle  Receive OCRP                  Send CDN, Clean up  idle
	// §7.5.2  idle  Receive OCRP                  Clean up            idle
	//
	// Clean up is for one who has just hung up: that CDN is on its way.
	case (m.Type == wire.ICRP || m.Type == wire.OCRP) && !t.lingers(header):
		t.refuseCall(now, m, wire.Result{Code: wire.CallError, Error: wire.ErrorSessionID, Text: "no call of ours"})

	// §7.4    idle  Receive ICCN, CDN             Clean up            idle
	// §7.5    idle  Receive OCCN, CDN             Clean up            idle
	default:
		t.counters.IgnoredMessage++
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
	if t.version == 3 {
		r.Code, r.Error = wire.CallFSM, wire.ErrorNone
	}
	t.clearCall(now, s, r, &RefusedError{m.Type, wire.CDN, r})
}

// forget ends a session because of a message that shows that the peer has
// another notion of it, without a word, as the RFC has it.
func (t *Tunnel) forget(now time.Time, s *session, m *wire.Message) {
	t.endCall(now, s, &RefusedError{Refused: m.Type, Sent: wire.CDN, Result: wire.Result{Text: fmt.Sprintf("%v in state %v", m.Type, s.state)}})
}

func (t *Tunnel) receiveCDN(now time.Time, s *session, m *wire.Message) {
	t.endCall(now, s, &PeerError{wire.CDN, s.state != callEstablished, m.Result, m.Q931Cause, m.DisconnectCause})
}

// learnSession takes the peer's id for a session of ours from ICRP or OCRP. It
// reports false, and the session ends, when another one has it.
func (t *Tunnel) learnSession(now time.Time, s *session, m *wire.Message) bool {
	if t.calls.byPeer[m.AssignedSessionID] != nil {
		// s.peer stays 0: the peer must find the session by our id.
		r := wire.Result{Code: wire.CallError, Error: wire.ErrorSessionID, Text: "another session has this Assigned Session ID"}
		t.clearCall(now, s, r, &RefusedError{m.Type, wire.CDN, r})
		return false
	}
	s.peer = m.AssignedSessionID
	t.calls.byPeer[s.peer] = s
	return true
}

// receiveConnected takes the LAC's ICCN or OCCN.
func (t *Tunnel) receiveConnected(now time.Time, s *session, m *wire.Message) {
	s.line.learn(m)
	if !t.learnPseudowire(now, s, m) {
		return
	}
	t.setSessionState(now, s, callEstablished)
}
