package control

import (
	"cmp"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// role is which of the tables of RFC 2661 §7.4 and §7.5 a call follows.
type role uint8

const (
	incomingLAC role = iota // Call
	incomingLNS             // IncomingCall
	outgoingLAC             // OutgoingCallRequest
	outgoingLNS             // PlaceCall
)

// lac reports whether we are the LAC of the call.
func (r role) lac() bool { return r == incomingLAC || r == outgoingLAC }

// sessionState is where a call is (RFC 2661 §7.4 and §7.5).
type sessionState uint8

const (
	waitTunnel      sessionState = iota // ours: ICRQ or OCRQ waits for the tunnel, or for room in its queue
	waitReply                           // ours: ICRQ or OCRQ was sent
	ringing                             // the peer's: the owner is asked; in the RFC still idle
	waitConnect                         // the LNS: ICRP was sent, or OCRP came
	callEstablished                     // the RFC's established
	callGone                            // the RFC's idle
)

var sessionStateNames = [...]string{"wait-tunnel", "wait-reply", "idle", "wait-connect", "established", "idle"}

func (s sessionState) String() string { return sessionStateNames[s] }

// A session is a call.
type session struct {
	role    role
	state   sessionState
	id      uint32        // ours
	peer    uint32        // the peer's; 0: not known yet
	number  int           // in the order in which they came
	request *wire.Message // ICRQ or OCRQ, in waitTunnel
	line    Line
	setupAt time.Time

	ours, theirs *Pseudowire // L2TPv3: what either end has told; nil: nothing yet
	told         uint16      // our Circuit Status, as the peer knows it
	tieBreaker   *[8]byte    // of our request; nil: none
}

// calls are a tunnel's sessions.
type calls struct {
	byID      map[uint32]*session // by our id
	byPeer    map[uint32]*session // by the peer's
	waiting   []*session          // in waitTunnel, first come first
	lingering []lingering         // oldest first
	number    int
	serial    uint32 // of the next call
}

// lingering is the id of a session that has ended. The peer's messages for it
// may still come, and are not for another.
type lingering struct {
	id    uint32
	until time.Time
}

// lingeringMax bounds what a peer that calls and hangs up all the time costs;
// when there are more, the oldest are forgotten early.
const lingeringMax = 256

func newCalls(serial uint32) calls {
	return calls{byID: make(map[uint32]*session), byPeer: make(map[uint32]*session), serial: serial}
}

// begin begins a call of ours: its request is sent when the tunnel is there. It
// returns our session id.
func (t *Tunnel) begin(now time.Time, r role, request *wire.Message, line Line) uint32 {
	id := t.newSessionID(now)
	switch {
	case t.state >= closing:
		t.Emit(SessionDown{id, ErrTunnelClosed})
	case len(t.calls.byID) >= t.cfg.MaxSessions:
		t.Emit(SessionDown{id, ErrTooManySessions})
	default:
		s := t.addSession(r, id, 0, waitTunnel)
		s.request, s.line = request, line
		t.calls.waiting = append(t.calls.waiting, s)
		t.startCalls(now)
	}
	return id
}

// ring takes a call of the peer's, as far as it is known that the owner is to be
// asked. It returns nil when the call was refused.
func (t *Tunnel) ring(now time.Time, r role, m *wire.Message) *session {
	if s := t.calls.byPeer[m.AssignedSessionID]; s != nil {
		t.outOfPlace(now, s, m)
		return nil
	}
	if len(t.calls.byID) >= t.cfg.MaxSessions {
		t.refuseCall(now, m, wire.Result{Code: wire.CallNoFacilities, Error: wire.ErrorResources, Text: "too many sessions"})
		return nil
	}
	return t.addSession(r, t.newSessionID(now), m.AssignedSessionID, ringing)
}

// Hangup ends a session, established or not, or refuses the call that
// IncomingCall or OutgoingCallRequest has asked about: CDN with the result, zero meaning
// administrative reasons. If it has ended already, nothing happens.
func (t *Tunnel) Hangup(now time.Time, session uint32, r wire.Result) {
	if r == (wire.Result{}) {
		r.Code = wire.CallAdministrative
	}
	if s := t.calls.byID[session]; s != nil {
		t.clearCall(now, s, r, nil)
	}
}

// newSessionID is an id that no session has, nor had until recently.
func (t *Tunnel) newSessionID(now time.Time) uint32 {
	for len(t.calls.lingering) > 0 && !now.Before(t.calls.lingering[0].until) {
		t.calls.lingering = slices.Delete(t.calls.lingering, 0, 1)
	}
	// At most half of the ids are taken, so this ends soon, even if the random
	// source repeats itself.
	mask := uint32(0xffff)
	if t.version == 3 {
		mask = 0xffffffff
	}
	for id := t.random32() & mask; ; id = (id + 1) & mask {
		if id != 0 && t.calls.byID[id] == nil && !t.lingers(id) && (t.cfg.SessionTaken == nil || !t.cfg.SessionTaken(id)) {
			return id
		}
	}
}

func (t *Tunnel) lingers(id uint32) bool {
	return slices.ContainsFunc(t.calls.lingering, func(l lingering) bool { return l.id == id })
}

func (t *Tunnel) addSession(r role, id, peer uint32, st sessionState) *session {
	t.calls.number++
	s := &session{role: r, state: st, id: id, peer: peer, number: t.calls.number}
	t.calls.byID[id] = s
	if peer != 0 {
		t.calls.byPeer[peer] = s
	}
	return s
}

// setSessionState enters a state, and arms what ends it.
func (t *Tunnel) setSessionState(now time.Time, s *session, st sessionState) {
	s.state = st
	s.setupAt = time.Time{}
	switch st {
	case waitReply, waitConnect:
		// The wait for the answer begins when our message has been acknowledged,
		// unless it has been answered already: OCCN follows OCRP.
		if s.role == outgoingLNS && st == waitConnect {
			s.setupAt = now.Add(t.cfg.SetupTimeout)
		}
	case callEstablished:
		t.Emit(SessionUp{s.id, s.peer, s.role.lac(), s.line, s.ours, s.theirs})
		t.tellStatus(now, s)
		s.line = Line{} // it may be long, and is the owner's now
	case callGone:
		delete(t.calls.byID, s.id)
		if t.calls.byPeer[s.peer] == s {
			delete(t.calls.byPeer, s.peer)
		}
		if len(t.calls.lingering) == lingeringMax {
			t.calls.lingering = slices.Delete(t.calls.lingering, 0, 1)
		}
		t.calls.lingering = append(t.calls.lingering, lingering{s.id, now.Add(t.cfg.cycle())})
	default:
		panic("BUG: control: no session goes back to " + st.String())
	}
}

// startCalls sends the requests of calls that wait, if the tunnel is there and
// its queue has room.
func (t *Tunnel) startCalls(now time.Time) {
	for t.state == established && len(t.calls.waiting) > 0 && len(t.reliable.queue) < t.cfg.SendQueue/2 { // what is under way comes first
		s := t.calls.waiting[0]
		m := s.request
		if err := t.able(m); err != nil {
			t.endCall(now, s, err)
			continue
		}
		t.calls.waiting = slices.Delete(t.calls.waiting, 0, 1)
		s.request = nil
		m.AssignedSessionID, m.CallSerialNumber = s.id, t.calls.serial
		if t.version == 3 {
			s.noteRequest(m)
		}
		t.calls.serial++
		t.setSessionState(now, s, waitReply)
		t.sendMessage(now, 0, s.id, m)
	}
}

// clearCall ends a session: CDN, and clean up.
//
// RFC 2661 §5.3: "For the cases where a Session ID has not yet been assigned by
// the peer […], the Session ID field MUST be sent as 0, and the Assigned Session
// ID AVP within the message MUST be used to identify the session."
func (t *Tunnel) clearCall(now time.Time, s *session, r wire.Result, err error) {
	if s.state == waitTunnel || // it has not heard of this one
		t.sendMessage(now, s.peer, 0, &wire.Message{Type: wire.CDN, Result: r, AssignedSessionID: s.id}) {
		t.endCall(now, s, err)
	}
}

// endCall cleans up after a session.
func (t *Tunnel) endCall(now time.Time, s *session, err error) {
	if s.state == waitTunnel {
		t.calls.waiting = slices.DeleteFunc(t.calls.waiting, func(w *session) bool { return w == s })
	}
	t.setSessionState(now, s, callGone)
	t.Emit(SessionDown{s.id, err})
}

// callsDown ends all sessions with the tunnel.
//
// RFC 2661 §6.4: "all active sessions are implicitly cleared (without sending
// any explicit call control messages)."
func (t *Tunnel) callsDown(now time.Time, err error) {
	for _, s := range t.inOrder(func(*session) bool { return true }) {
		t.endCall(now, s, err)
	}
}

// inOrder is the sessions that are wanted, oldest first.
func (t *Tunnel) inOrder(want func(*session) bool) (found []*session) {
	for _, s := range t.calls.byID {
		if want(s) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *session) int { return cmp.Compare(a.number, b.number) })
	return found
}

// callAcknowledged begins the wait for the answer to ICRQ, ICRP or OCRQ.
func (t *Tunnel) callAcknowledged(now time.Time, o outgoing) {
	s := t.calls.byID[o.session]
	if s != nil && s.setupAt.IsZero() && (s.state == waitReply || s.state == waitConnect) {
		s.setupAt = now.Add(t.cfg.SetupTimeout)
	}
}

// expireCalls ends the calls that were not answered in time.
func (t *Tunnel) expireCalls(now time.Time) {
	for _, s := range t.inOrder(func(s *session) bool { return !s.setupAt.IsZero() && !now.Before(s.setupAt) }) {
		if t.state != established {
			return // the CDN of the one before found no room
		}
		err := &TimeoutError{Heard: true, After: t.cfg.SetupTimeout}
		switch {
		case s.role == incomingLAC:
			err.Sent, err.Awaited = wire.ICRQ, wire.ICRP
		case s.role == incomingLNS:
			err.Sent, err.Awaited = wire.ICRP, wire.ICCN
		case s.state == waitReply:
			err.Sent, err.Awaited = wire.OCRQ, wire.OCRP
		default:
			err.Sent, err.Awaited = wire.OCRQ, wire.OCCN
		}
		t.clearCall(now, s, wire.Result{Code: t.callTimeout()}, err)
	}
}

func (t *Tunnel) callDeadline() (first time.Time) {
	for _, s := range t.calls.byID {
		first = machine.Earliest(first, s.setupAt)
	}
	return first
}
