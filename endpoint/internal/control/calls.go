package control

import (
	"cmp"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// sessionState is where a call is (RFC 2661 §7.4.1 and §7.4.2).
type sessionState uint8

const (
	waitTunnel      sessionState = iota // LAC: ICRQ waits for the tunnel, or for room in its queue
	waitReply                           // LAC: ICRQ was sent
	ringing                             // LNS: the owner is asked; in the RFC still idle
	waitConnect                         // LNS: ICRP was sent
	callEstablished                     // the RFC's established
	callGone                            // the RFC's idle
)

var sessionStateNames = [...]string{"wait-tunnel", "wait-reply", "idle", "wait-connect", "established", "idle"}

func (s sessionState) String() string { return sessionStateNames[s] }

// A session is a call.
type session struct {
	state   sessionState
	id      uint32 // ours
	peer    uint32 // the peer's; 0: not known yet
	number  int    // in the order in which they came
	setupAt time.Time
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

// callQueueMax is the number of messages waiting for the peer above which a new
// call does not begin.
const callQueueMax = queueMax / 2

func newCalls(serial uint32) calls {
	return calls{byID: make(map[uint32]*session), byPeer: make(map[uint32]*session), serial: serial}
}

// Call begins a call, as LAC, and returns our session id for it. It waits until
// the tunnel is established. SessionUp or SessionDown tells what became of it,
// SessionDown also when the tunnel has ended or has too many sessions.
func (t *Tunnel) Call(now time.Time) (session uint32) {
	switch id := t.newSessionID(now); {
	case t.state >= closing:
		t.Emit(SessionDown{id, ErrTunnelClosed})
		return id
	case len(t.calls.byID) >= t.cfg.MaxSessions:
		t.Emit(SessionDown{id, ErrTooManySessions})
		return id
	default:
		t.calls.waiting = append(t.calls.waiting, t.addSession(id, 0, waitTunnel))
		t.startCalls(now)
		return id
	}
}

// AcceptCall takes the call that IncomingCall has asked about. If it has ended
// meanwhile, nothing happens.
func (t *Tunnel) AcceptCall(now time.Time, session uint32) {
	if s := t.calls.byID[session]; s != nil && s.state == ringing {
		t.setSessionState(now, s, waitConnect)
		t.sendMessage(now, s.peer, s.id, &wire.Message{Type: wire.ICRP, AssignedSessionID: s.id})
	}
}

// Hangup ends a session, established or not, or refuses the call that
// IncomingCall has asked about: CDN with the result, zero meaning
// administrative reasons. If it has ended already, nothing happens.
func (t *Tunnel) Hangup(now time.Time, session uint32, r wire.Result) {
	if r == (wire.Result{}) {
		r.Code = wire.CallAdministrative
	}
	if s := t.calls.byID[session]; s != nil {
		t.clearCall(now, s, r, nil)
	}
}

// PeerSession is the peer's id of a session; false as long as it is not known.
func (t *Tunnel) PeerSession(session uint32) (uint32, bool) {
	if s := t.calls.byID[session]; s != nil && s.peer != 0 {
		return s.peer, true
	}
	return 0, false
}

// newSessionID is an id that no session has, nor had until recently.
func (t *Tunnel) newSessionID(now time.Time) uint32 {
	for len(t.calls.lingering) > 0 && !now.Before(t.calls.lingering[0].until) {
		t.calls.lingering = slices.Delete(t.calls.lingering, 0, 1)
	}
	// At most half of the ids are taken, so this ends soon, even if the random
	// source repeats itself.
	for id := t.random32() & 0xffff; ; id = (id + 1) & 0xffff {
		if id != 0 && t.calls.byID[id] == nil && !t.lingers(id) {
			return id
		}
	}
}

func (t *Tunnel) lingers(id uint32) bool {
	return slices.ContainsFunc(t.calls.lingering, func(l lingering) bool { return l.id == id })
}

func (t *Tunnel) addSession(id, peer uint32, st sessionState) *session {
	t.calls.number++
	s := &session{state: st, id: id, peer: peer, number: t.calls.number}
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
		// The wait for the answer begins when our message has been acknowledged.
	case callEstablished:
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

// startCalls sends ICRQ for calls that wait, if the tunnel is there and its
// queue has room.
func (t *Tunnel) startCalls(now time.Time) {
	for t.state == established && len(t.calls.waiting) > 0 && len(t.reliable.queue) < callQueueMax {
		s := t.calls.waiting[0]
		t.calls.waiting = slices.Delete(t.calls.waiting, 0, 1)
		t.setSessionState(now, s, waitReply)
		t.sendMessage(now, 0, s.id, &wire.Message{Type: wire.ICRQ, AssignedSessionID: s.id, CallSerialNumber: t.calls.serial})
		t.calls.serial++
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

// callAcknowledged begins the wait for the answer to ICRQ or ICRP.
func (t *Tunnel) callAcknowledged(now time.Time, o outgoing) {
	s := t.calls.byID[o.session]
	if s != nil && (s.state == waitReply || s.state == waitConnect) {
		s.setupAt = now.Add(t.cfg.SetupTimeout)
	}
}

// expireCalls ends the calls that were not answered in time.
func (t *Tunnel) expireCalls(now time.Time) {
	for _, s := range t.inOrder(func(s *session) bool { return !s.setupAt.IsZero() && !now.Before(s.setupAt) }) {
		if t.state != established {
			return // the CDN of the one before found no room
		}
		err := &TimeoutError{Sent: wire.ICRQ, Awaited: wire.ICRP, Heard: true, After: t.cfg.SetupTimeout}
		if s.state == waitConnect {
			err.Sent, err.Awaited = wire.ICRP, wire.ICCN
		}
		t.clearCall(now, s, wire.Result{Code: wire.CallTimeout}, err)
	}
}

func (t *Tunnel) callDeadline() (first time.Time) {
	for _, s := range t.calls.byID {
		first = machine.Earliest(first, s.setupAt)
	}
	return first
}
