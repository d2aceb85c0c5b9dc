package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/machine"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// state is where a control connection is (RFC 2661 §7.2.1). closing and gone
// are the RFC's idle again: the first while reliable delivery is still allowed
// to run (§7.1), the second for good.
type state uint8

const (
	idle         state = iota // waits for SCCRQ
	waitCtlReply              // SCCRQ was sent
	waitCtlConn               // SCCRP was sent
	established
	closing // StopCCN was sent or received
	gone
)

var stateNames = [...]string{"idle", "wait-ctl-reply", "wait-ctl-conn", "established", "closing", "gone"}

func (s state) String() string { return stateNames[s] }

// A Tunnel is a control connection with its calls: a [machine.Machine] of
// [Event]. Its commands are Call, PlaceCall, AcceptCall, AcceptOutgoing, Hangup
// Probe and Close, and where tunnels compete Yield, LoseTie, DrawTie and Superseded. Whoever
// owns it calls one method at a time.
type Tunnel struct {
	machine.Output[Event]

	cfg      Config
	version  uint8 // of L2TP: 2 or 3
	open     bool  // the version is the peer's to choose, with its first message
	v3       version3
	state    state
	reliable reliable
	counters Counters

	peer        TunnelUp // what the peer has told of itself
	peerFraming uint32   // its Framing Capabilities
	challenge   []byte   // ours; nil: the peer is not to prove anything
	tieBreaker  *[8]byte // of our SCCRQ; nil: none
	yielded     bool     // to a tunnel of the peer's
	stopped     bool     // the peer's StopCCN came
	err         error    // for TunnelDown

	begun uint64    // the sum of the SCCRQ that the peer began with
	upAt  time.Time // when the tunnel was established

	alive   keepalive
	setupAt time.Time // when the set-up fails; zero: it is not waited for
	goneAt  time.Time // when closing ends

	calls calls
}

// Dial is a tunnel that opens: it sends SCCRQ.
func Dial(now time.Time, cfg Config) *Tunnel {
	t := newTunnel(cfg)
	if v := t.cfg.V3; v != nil {
		t.beginV3()
		if t.open = v.Fallback; !v.Fallback {
			t.version = 3
		}
	}
	t.sendSCCRQ(now)
	return t
}

// Answer is a tunnel for someone who dials us: its first packet is SCCRQ.
func Answer(now time.Time, cfg Config) *Tunnel {
	t := newTunnel(cfg)
	if t.cfg.V3 != nil {
		t.beginV3()
		t.open = true
	}
	t.setupAt = now.Add(t.cfg.SetupTimeout)
	return t
}

func newTunnel(cfg Config) *Tunnel {
	t := &Tunnel{cfg: cfg.withDefaults(), version: 2}
	t.reliable = newReliable(&t.cfg, &t.counters, t.transmit, t.acknowledgement)
	t.calls = newCalls(t.random32())
	return t
}

// PeerID is the peer's Assigned Tunnel ID; 0 as long as it is not known.
func (t *Tunnel) PeerID() uint32 { return t.peer.PeerID }

// Counters are what has been counted so far.
func (t *Tunnel) Counters() Counters { return t.counters }

// Handle takes a control message of the peer's, a whole datagram. The owner has
// found the tunnel by the header's Tunnel ID, or if that is 0 by the peer's
// address and the Assigned Tunnel ID in the message.
func (t *Tunnel) Handle(now time.Time, datagram []byte) {
	if t.state == gone {
		return
	}
	h, avps, ok := t.read(datagram)
	if !ok {
		return
	}
	if t.restarted(now, h, avps) {
		t.Emit(PeerRestarted{slices.Clone(datagram)})
		return
	}
	acked, ok := t.reliable.acknowledge(now, h.Nr)
	if !ok {
		t.counters.InvalidNr++
		return
	}
	t.heard(now)
	cleared := false
	for _, o := range acked {
		cleared = cleared || o.message == wire.StopCCN
		t.acknowledged(now, o)
	}
	// A message without AVPs is a ZLB: its Ns means nothing, and it is never
	// answered. L2TPv3 has the ACK too, perhaps before the message that settles the
	// version.
	if len(avps) > 0 && !(h.Version == 3 && messageType(avps) == wire.ACK) {
		in := incoming{h.SessionID, avps}
		for ok := t.reliable.receive(now, h.Ns, in); ok && t.state != gone; in, ok = t.reliable.pop(now) {
			t.deliver(now, in)
		}
	}
	if cleared && !t.stopped && t.state == closing {
		t.reliable.ack()
		t.setState(now, gone)
	}
	t.reliable.flush(now)
	t.startCalls(now)
}

// acknowledged tells that the peer has received a message.
func (t *Tunnel) acknowledged(now time.Time, o outgoing) {
	switch {
	case o.message == wire.SCCRQ && t.state == waitCtlReply:
		t.setupAt = now.Add(t.cfg.SetupTimeout)
	case o.session != 0:
		t.callAcknowledged(now, o)
	}
}

// deliver handles a message in its turn.
func (t *Tunnel) deliver(now time.Time, in incoming) {
	t.meet(in.avps)
	m, err := t.parse(in.avps)
	if t.version == 3 {
		in.session = m.RemoteSessionID
	}
	if t.state == closing && m.Type != wire.StopCCN || m.Type == wire.CSUN || m.Type == wire.CSURQ {
		// The last two tell of the speed of a line (RFC 5515), without the M
		// bit: no harm is done when nobody heeds them.
		t.counters.IgnoredMessage++
		return
	}
	if err != nil {
		t.malformed(now, in.session, m, err.(*wire.Error))
		return
	}
	switch {
	case !t.known(m.Type) && m.MandatoryType:
		// RFC 2661 §4.4.1: "if the M-bit is set within the Message Type AVP
		// and the Message Type is unknown to the implementation, the tunnel
		// MUST be cleared."
		t.refuse(now, m, wire.Result{Code: wire.StopError, Error: wire.ErrorUnknownAVP,
			Text: fmt.Sprintf("unknown %v with the M bit set", m.Type)})
	case !t.known(m.Type):
		t.counters.IgnoredMessage++
	case t.ofTunnel(m.Type):
		if t.state == idle {
			t.begun = sum(in.avps)
		}
		t.receive(now, m)
	case t.state != established:
		// RFC 2661 §5: "The Tunnel and corresponding Control Connection MUST
		// be established before an incoming or outgoing call is initiated."
		t.improper(now, m)
	default:
		t.receiveCall(now, in.session, m)
	}
}

// malformed handles a message that cannot be accepted.
//
// RFC 2661 §7.1: "if a malformed AVP is received with the M-bit set, the
// session or tunnel should be terminated with a proper Result or Error Code
// sent."
func (t *Tunnel) malformed(now time.Time, session uint32, m *wire.Message, err *wire.Error) {
	result := wire.Result{Code: wire.StopError, Error: err.Code, Text: err.Reason}
	switch {
	case m.Type == wire.StopCCN:
		t.stop(now, m) // it can hardly mean anything else
	case t.ofTunnel(m.Type) || t.state != established:
		t.refuse(now, m, result)
	default:
		t.malformedCall(now, session, m, result)
	}
}

// ofTunnel reports whether a message, or one of unknown type, concerns the
// whole tunnel and not a session.
func (t *Tunnel) ofTunnel(m wire.MessageType) bool { return m <= wire.HELLO || !t.known(m) }

// Expire tells that the deadline has passed.
func (t *Tunnel) Expire(now time.Time) {
	switch {
	case t.state == gone:
		return
	case due(now, t.goneAt):
		t.setState(now, gone)
		return
	case !t.reliable.expireRetry(now, t.retries(now)):
		t.lost(now, t.cfg.waits(t.reliable.tries))
		return
	case !t.expireKeepalive(now):
		t.lost(now, t.alive.silence)
		return
	case due(now, t.setupAt):
		t.setupFailed(now)
	}
	t.expireCalls(now)
	t.reliable.expireAck(now)
}

// Deadline is when Expire is to be called; zero: never.
func (t *Tunnel) Deadline() time.Time {
	if t.state == gone {
		return time.Time{}
	}
	return machine.Earliest(t.reliable.deadline(), t.setupAt, t.goneAt, t.keepaliveDeadline(), t.callDeadline())
}

// Close ends the tunnel: StopCCN with the result, zero meaning a general
// request to clear. Then all sessions are down, without a message of their own.
func (t *Tunnel) Close(now time.Time, r wire.Result) {
	if r == (wire.Result{}) {
		r.Code = wire.StopClear
	}
	if t.state < closing {
		t.end(now, r, nil)
	}
}

// end sends StopCCN and cleans up. A peer that has not told its id, nor heard of
// us, is told nothing.
func (t *Tunnel) end(now time.Time, r wire.Result, err error) {
	t.err = err
	if t.state == idle && t.peer.PeerID == 0 {
		t.setState(now, gone)
		return
	}
	t.sendMessage(now, 0, 0, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: t.cfg.LocalID, Result: r})
	t.setState(now, closing)
}

// lost tells that the peer has not answered in that time.
//
// RFC 2661 §5.8: "If no peer response is detected after several
// retransmissions, […] the tunnel and all sessions within MUST be cleared."
func (t *Tunnel) lost(now time.Time, after time.Duration) {
	if t.state != closing {
		t.err = &TimeoutError{Sent: t.reliable.queue[0].message, Heard: t.peer.PeerID != 0, After: after, V3: t.version == 3, Fallback: t.open, Secret: t.v3.authenticates}
	}
	t.setState(now, gone)
}

// setState enters a state, arms what ends it and tells the owner.
func (t *Tunnel) setState(now time.Time, s state) {
	before := t.state
	t.state = s
	t.setupAt, t.goneAt = time.Time{}, time.Time{}
	t.stopKeepalive()
	switch s {
	case waitCtlReply:
		// The wait for SCCRP begins when SCCRQ has been acknowledged.
	case waitCtlConn:
		t.setupAt = now.Add(t.cfg.SetupTimeout)
	case established:
		t.upAt = now
		t.startKeepalive(now)
		t.Emit(t.peer)
	case closing, gone:
		if before < closing {
			t.callsDown(now, t.err)
			t.Emit(TunnelDown{t.err})
		}
		if s == gone {
			t.Emit(Gone{})
			break
		}
		// RFC 2661 §5.7: "maintain enough control connection state to properly
		// accept StopCCN retransmissions over at least a full retransmission
		// cycle".
		t.goneAt = now.Add(t.cfg.cycle())
	default:
		panic(fmt.Sprintf("BUG: control: no way from %v to %v", before, s))
	}
}

// sendMessage queues a message for the peer. When as many wait for it as may,
// it is not keeping up: the tunnel ends, and sendMessage reports false.
func (t *Tunnel) sendMessage(now time.Time, peerSession, session uint32, m *wire.Message) bool {
	packet := t.encode(peerSession, m)
	if t.reliable.push(now, outgoing{packet, m.Type, session}) {
		return true
	}
	t.end(now, wire.Result{Code: wire.StopError, Error: wire.ErrorResources,
		Text: "too many messages are not acknowledged"}, &OverrunError{len(t.reliable.queue)})
	return false
}

// encode makes a packet of a message, its AVPs hidden if that is wanted.
func (t *Tunnel) encode(peerSession uint32, m *wire.Message) (packet []byte) {
	hide := t.cfg.HideAVPs && m.Type > wire.SCCRP && m.Type != wire.StopCCN
	switch {
	case t.version == 3:
		packet = t.encodeV3(peerSession, m, hide)
	case t.open && m.Type == wire.SCCRQ:
		m.Digests = t.v3.digests
		packet = m.AppendFallback(wire.AppendControlHeader(nil, 0, 0, 0, 0), t.cfg.LocalID)
	case hide:
		packet = m.AppendHidden(wire.AppendControlHeader(nil, t.peer.PeerID, peerSession, 0, 0), t.cfg.Secret, t.cfg.Rand)
	default:
		packet = m.Append(wire.AppendControlHeader(nil, t.peer.PeerID, peerSession, 0, 0))
	}
	wire.SetLength(packet)
	return packet
}
