package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A connectionRow is what the control connection does in a state when it
// receives a message.
type connectionRow struct {
	in  []state
	on  []wire.MessageType
	act func(*Tunnel, time.Time, *wire.Message)
}

type states = []state
type messages = []wire.MessageType

// connectionTable is the table of RFC 2661 §7.2.1: its rows for messages that
// are received, in its order, each above what does it. The RFC's idle after
// Clean up is closing here, since reliable delivery must be allowed to run
// (§7.1). The other rows are Dial (idle, local open request), Call (established,
// local open request) and Close (established, admin tunnel close).
var connectionTable = []connectionRow{
	// State           Event                          Action               New State
	// -----           -----                          ------               ---------

	// idle            Receive SCCRQ, acceptable      Send SCCRP           wait-ctl-conn
	// idle            Receive SCCRQ, not acceptable  Send StopCCN         idle
	//                                                Clean up
	{states{idle}, messages{wire.SCCRQ}, (*Tunnel).receiveSCCRQ},

	// idle            Receive SCCRP                  Send StopCCN         idle
	//                                                Clean up
	{states{idle}, messages{wire.SCCRP}, (*Tunnel).improper},

	// idle            Receive SCCCN                  Clean up             idle
	{states{idle}, messages{wire.SCCCN}, (*Tunnel).cleanUp},

	// wait-ctl-reply  Receive SCCRP, acceptable      Send SCCCN, Send     established
	//                                                tunnel-open event to
	//                                                waiting sessions
	// wait-ctl-reply  Receive SCCRP, not acceptable  Send StopCCN,        idle
	//                                                Clean up
	{states{waitCtlReply}, messages{wire.SCCRP}, (*Tunnel).receiveSCCRP},

	// wait-ctl-reply  Receive SCCRQ,                 Clean up, Re-queue   idle
	//                 lose tie-breaker               SCCRQ for idle state
	//
	// The RFC means an SCCRQ that belongs to another tunnel, and the owner takes
	// it for one, since it names none of ours: see Collide. In the sequence of
	// this tunnel it is out of place.
	{states{waitCtlReply}, messages{wire.SCCRQ}, (*Tunnel).improper},

	// wait-ctl-reply  Receive SCCCN                  Send StopCCN         idle
	//                                                Clean up
	{states{waitCtlReply}, messages{wire.SCCCN}, (*Tunnel).improper},

	// wait-ctl-conn   Receive SCCCN, acceptable      Send tunnel-open     established
	//                                                event to waiting
	//                                                sessions
	// wait-ctl-conn   Receive SCCCN, not acceptable  Send StopCCN,        idle
	//                                                Clean up
	{states{waitCtlConn}, messages{wire.SCCCN}, (*Tunnel).receiveSCCCN},

	// wait-ctl-conn   Receive SCCRP, SCCRQ           Send StopCCN,        idle
	//                                                Clean up
	{states{waitCtlConn}, messages{wire.SCCRP, wire.SCCRQ}, (*Tunnel).improper},

	// established     Receive SCCRQ, SCCRP, SCCCN    Send StopCCN         idle
	//                                                Clean up
	{states{established}, messages{wire.SCCRQ, wire.SCCRP, wire.SCCCN}, (*Tunnel).improper},

	// idle,           Receive StopCCN                Clean up             idle
	// wait-ctl-reply,
	// wait-ctl-conn,
	// established
	{states{idle, waitCtlReply, waitCtlConn, established, closing}, messages{wire.StopCCN}, (*Tunnel).stop},

	// HELLO has no row in the RFC: to be acknowledged is all that it is for
	// (§6.5), but no tunnel begins with it.
	{states{idle}, messages{wire.HELLO}, (*Tunnel).cleanUp},
	{states{waitCtlReply, waitCtlConn, established}, messages{wire.HELLO}, (*Tunnel).ignore},
}

// receive looks a message of the control connection up in the table.
func (t *Tunnel) receive(now time.Time, m *wire.Message) {
	for _, row := range connectionTable {
		if slices.Contains(row.in, t.state) && slices.Contains(row.on, m.Type) {
			row.act(t, now, m)
			return
		}
	}
	panic(fmt.Sprintf("BUG: control: no row for %v in %v", m.Type, t.state))
}

func (t *Tunnel) ignore(time.Time, *wire.Message) {}

// improper clears the tunnel because of a message in an improper sequence,
// which is an invalid one (RFC 2661 §7.1).
func (t *Tunnel) improper(now time.Time, m *wire.Message) {
	t.refuse(now, m, wire.Result{Code: wire.StopFSM, Text: fmt.Sprintf("%v in state %v", m.Type, t.state)})
}

// refuse clears the tunnel because of a message of the peer's.
func (t *Tunnel) refuse(now time.Time, m *wire.Message, r wire.Result) {
	t.learnID(m)
	t.end(now, r, &RefusedError{m.Type, wire.StopCCN, r})
}

// cleanUp ends a tunnel that never was one: its first message was no SCCRQ.
func (t *Tunnel) cleanUp(now time.Time, m *wire.Message) {
	t.err = &RefusedError{Refused: m.Type, Sent: wire.StopCCN, Result: wire.Result{Text: "it is not SCCRQ"}}
	t.setState(now, gone)
}

// stop takes the peer's StopCCN. Nothing that waits for the peer means anything
// to it any more; StopCCN itself is acknowledged, now and as often as it comes.
// Another one does not put off the end.
func (t *Tunnel) stop(now time.Time, m *wire.Message) {
	if t.stopped {
		return
	}
	t.learnID(m)
	if t.state < closing {
		t.err = &PeerError{Message: wire.StopCCN, Refused: t.state < established, Result: m.Result}
	}
	t.stopped = true
	t.reliable.clear()
	t.reliable.ack()
	t.setState(now, closing)
}

// setupFailed ends a tunnel that did not get established in time.
func (t *Tunnel) setupFailed(now time.Time) {
	err := &TimeoutError{After: t.cfg.SetupTimeout, Heard: true}
	switch t.state {
	case idle:
		err.Awaited = wire.SCCRQ
	case waitCtlReply:
		err.Sent, err.Awaited = wire.SCCRQ, wire.SCCRP
	case waitCtlConn:
		err.Sent, err.Awaited = wire.SCCRP, wire.SCCCN
	default:
		panic("BUG: control: set-up failed in state " + t.state.String())
	}
	code := uint16(wire.StopClear)
	if t.version == 3 {
		code = wire.StopFSM // "or timeout" (RFC 3931 §5.4.2)
	}
	t.end(now, wire.Result{Code: code, Error: wire.ErrorNone, Text: fmt.Sprintf("no %v came", err.Awaited)}, err)
}

// hello is the part that SCCRQ and SCCRP have in common.
func (t *Tunnel) hello(m wire.MessageType) *wire.Message {
	return &wire.Message{
		Type:                m,
		ProtocolVersion:     wire.ProtocolVersion,
		FramingCapabilities: wire.FramingSync | wire.FramingAsync,
		HostName:            t.cfg.HostName,
		VendorName:          t.cfg.VendorName,
		AssignedTunnelID:    t.cfg.LocalID,
		ReceiveWindowSize:   uint16(t.cfg.ReceiveWindow),
		Challenge:           t.challenge,
		BearerCapabilities:  t.bearers(),
		V3:                  t.helloV3(),
	}
}

func (t *Tunnel) sendSCCRQ(now time.Time) {
	t.challengePeer()
	m := t.hello(wire.SCCRQ)
	t.addTieBreaker(m)
	t.setState(now, waitCtlReply)
	t.sendMessage(now, 0, 0, m)
}

func (t *Tunnel) receiveSCCRQ(now time.Time, m *wire.Message) {
	if !t.learn(now, m) {
		return
	}
	if t.cfg.Refusal != (wire.Result{}) {
		t.refuse(now, m, t.cfg.Refusal)
		return
	}
	t.peer.SingleTunnel = m.Has(wire.AVPTieBreaker)
	t.challengePeer()
	reply := t.hello(wire.SCCRP)
	if t.respond(now, m, reply) {
		t.setState(now, waitCtlConn)
		t.sendMessage(now, 0, 0, reply)
	}
}

func (t *Tunnel) receiveSCCRP(now time.Time, m *wire.Message) {
	reply := &wire.Message{Type: wire.SCCCN}
	if t.learn(now, m) && t.authenticate(now, m) && t.respond(now, m, reply) && t.sendMessage(now, 0, 0, reply) {
		t.setState(now, established)
	}
}

func (t *Tunnel) receiveSCCCN(now time.Time, m *wire.Message) {
	if t.authenticate(now, m) {
		t.setState(now, established)
	}
}

// learnID takes the peer's id from the first message that tells it, acceptable
// or not, so that it can be answered.
func (t *Tunnel) learnID(m *wire.Message) {
	if t.peer.PeerID == 0 {
		t.peer.PeerID = m.AssignedTunnelID
	}
}

// learn takes what SCCRQ or SCCRP tells of the peer, and reports whether it is
// acceptable.
func (t *Tunnel) learn(now time.Time, m *wire.Message) bool {
	t.learnID(m)
	t.peer.HostName, t.peer.VendorName, t.peer.FirmwareRevision = m.HostName, m.VendorName, m.FirmwareRevision
	t.peer.BearerCapabilities = m.BearerCapabilities
	t.peerFraming = m.FramingCapabilities
	if m.Has(wire.AVPReceiveWindowSize) {
		t.reliable.setWindow(int(m.ReceiveWindowSize))
	}
	t.open = false
	t.peer.Version = t.version
	if t.version == 3 {
		t.peer.RouterID, t.peer.Pseudowires = m.RouterID, m.Pseudowires
		return true
	}
	if t.cfg.retriesOfV3 {
		t.cfg.Retries = defaultRetries
	}
	if m.ProtocolVersion>>8 == wire.ProtocolVersion>>8 {
		return true
	}
	// RFC 2661 §4.4.2: "The protocol version of the requester is not
	// supported. Error Code indicates highest version supported"
	t.refuse(now, m, wire.Result{Code: wire.StopVersion, Error: wire.ProtocolVersion,
		Text: fmt.Sprintf("expected protocol version 1, found %d.%d", m.ProtocolVersion>>8, m.ProtocolVersion&0xff)})
	return false
}
