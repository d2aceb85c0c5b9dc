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

// callTable is the tables of RFC 2661 §7.4.1 and §7.4.2: their rows for messages
// that are received, in their order, each above what does it. In idle there is
// no session yet: its rows are receiveInIdle's. The other rows are Call (idle,
// bearer ring), startCalls (wait-tunnel, tunnel-open) and Hangup (local close
// request, bearer line drop).
var callTable = []callRow{
	// §7.4.1, LAC
	//
	// State         Event                         Action              New State
	// -----         -----                         ------              ---------

	// wait-reply    Receive ICRP, acceptable      Send ICCN           established
	// wait-reply    Receive ICRP, not acceptable  Send CDN, Clean up  idle
	{sessionStates{waitReply}, messages{wire.ICRP}, (*Tunnel).receiveICRP},

	// wait-reply    Receive ICRQ                  Send CDN, Clean up  idle
	{sessionStates{waitReply}, messages{wire.ICRQ}, (*Tunnel).outOfPlace},

	// wait-reply    Receive CDN, ICCN             Clean up            idle
	{sessionStates{waitReply}, messages{wire.CDN}, (*Tunnel).receiveCDN},
	{sessionStates{waitReply}, messages{wire.ICCN}, (*Tunnel).forget},

	// established   Receive CDN                   Clean up            idle
	// established   Receive ICRQ, ICRP, ICCN      Send CDN, Clean up  idle
	//
	// as for the LNS, below.

	// §7.4.2, LNS. Until the owner has found ICRQ acceptable, idle is ringing.
	//
	// State         Event                         Action              New State
	// -----         -----                         ------              ---------

	// idle          Receive ICRP                  Send CDN, Clean up  idle
	{sessionStates{ringing}, messages{wire.ICRP}, (*Tunnel).outOfPlace},

	// idle          Receive ICCN                  Clean up            idle
	{sessionStates{ringing}, messages{wire.ICCN}, (*Tunnel).forget},

	// wait-connect  Receive ICCN, acceptable      Prepare for data    established
	{sessionStates{waitConnect}, messages{wire.ICCN}, (*Tunnel).receiveICCN},

	// wait-connect  Receive ICRQ, ICRP            Send CDN, Clean up  idle
	{sessionStates{waitConnect, ringing}, messages{wire.ICRQ}, (*Tunnel).outOfPlace},
	{sessionStates{waitConnect}, messages{wire.ICRP}, (*Tunnel).outOfPlace},

	// idle,         Receive CDN                   Clean up            idle
	// wait-connect,
	// established
	{sessionStates{ringing, waitConnect, callEstablished}, messages{wire.CDN}, (*Tunnel).receiveCDN},

	// established   Receive ICRQ, ICRP, ICCN      Send CDN, Clean up  idle
	{sessionStates{callEstablished}, messages{wire.ICRQ, wire.ICRP, wire.ICCN}, (*Tunnel).outOfPlace},

	// §7.5: calls are not placed for a peer, so their messages have no place.
	{sessionStates{waitReply, ringing, waitConnect, callEstablished}, messages{wire.OCRQ, wire.OCRP, wire.OCCN}, (*Tunnel).outOfPlace},
}

// receiveCall takes a message for a session: the one with the id in the header,
// or, if that is 0, the one with the peer's id in the message.
func (t *Tunnel) receiveCall(now time.Time, header uint32, m *wire.Message) {
	s := t.findSession(header, m)
	switch {
	case m.Type == wire.WEN || m.Type == wire.SLI:
		// About a modem's line, of which we have none: to be acknowledged is
		// all that they get.
		t.counters.IgnoredMessage++
		return
	case s == nil:
		t.receiveInIdle(now, header, m)
		return
	}
	for _, row := range callTable {
		if slices.Contains(row.in, s.state) && slices.Contains(row.on, m.Type) {
			row.act(t, now, s, m)
			return
		}
	}
	panic(fmt.Sprintf("BUG: control: no row for %v in %v", m.Type, s.state))
}

// receiveInIdle takes a message for which there is no session.
func (t *Tunnel) receiveInIdle(now time.Time, header uint32, m *wire.Message) {
	switch {
	// §7.4.2  idle  Receive ICRQ, acceptable      Send ICRP           wait-connect
	//         idle  Receive ICRQ, not acceptable  Send CDN, Clean up  idle
	case m.Type == wire.ICRQ:
		t.receiveICRQ(now, m)

	// §7.4.1  idle  Receive ICRP                  Clean up            idle
	// §7.4.2  idle  Receive ICRP                  Send CDN, Clean up  idle
	//
	// Clean up is for one who has just hung up: that CDN is on its way.
	case m.Type == wire.ICRP && !t.lingers(header):
		t.refuseCall(now, m, wire.Result{Code: wire.CallError, Error: wire.ErrorSessionID, Text: "no call of ours"})

	// §7.5.1  idle  Receive OCRQ, not acceptable  Send CDN, Clean up  idle
	case m.Type == wire.OCRQ:
		t.refuseCall(now, m, wire.Result{Code: wire.CallNoFacilitiesEver, Text: "no calls are placed here"})

	// §7.4    idle  Receive ICCN, CDN             Clean up            idle
	// §7.5    idle  Receive OCRP, OCCN            Clean up            idle
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
