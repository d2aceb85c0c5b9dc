package control

import (
	"fmt"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A connectionRow is what the control connection does in a state when it
// receives a message.
type connectionRow struct {
	state   state
	message wire.MessageType
	act     func(*Tunnel, time.Time, *wire.Message)
}

// connectionTable is the table of RFC 2661 §7.2.1, its rows for messages that
// are received, in its order. "Send StopCCN" for what comes in an improper
// sequence is improper. Its other rows are Dial (idle, local open request),
// Call (established, local open request) and Close (established, admin tunnel
// close).
//
// The one departure: the RFC's wait-ctl-reply takes an SCCRQ as the other side
// of a collision. A peer's SCCRQ names no tunnel of ours, so here it is always
// another tunnel, and one that reaches this one anyway is out of sequence.
var connectionTable = []connectionRow{
	// State        Receive        Action                      in the RFC's words, New State
	{idle, wire.SCCRQ, (*Tunnel).receiveSCCRQ},         // acceptable: Send SCCRP, wait-ctl-conn; not: Send StopCCN, Clean up, idle
	{idle, wire.SCCRP, (*Tunnel).improper},             // Send StopCCN, Clean up, idle
	{idle, wire.SCCCN, (*Tunnel).cleanUp},              // Clean up, idle
	{waitCtlReply, wire.SCCRP, (*Tunnel).receiveSCCRP}, // acceptable: Send SCCCN, established; not: Send StopCCN, Clean up, idle
	{waitCtlReply, wire.SCCRQ, (*Tunnel).improper},     // (see above)
	{waitCtlReply, wire.SCCCN, (*Tunnel).improper},     // Send StopCCN, Clean up, idle
	{waitCtlConn, wire.SCCCN, (*Tunnel).receiveSCCCN},  // acceptable: established; not: Send StopCCN, Clean up, idle
	{waitCtlConn, wire.SCCRP, (*Tunnel).improper},      // Send StopCCN, Clean up, idle
	{waitCtlConn, wire.SCCRQ, (*Tunnel).improper},      // Send StopCCN, Clean up, idle
	{established, wire.SCCRQ, (*Tunnel).improper},      // Send StopCCN, Clean up, idle
	{established, wire.SCCRP, (*Tunnel).improper},      // Send StopCCN, Clean up, idle
	{established, wire.SCCCN, (*Tunnel).improper},      // Send StopCCN, Clean up, idle
	{idle, wire.StopCCN, (*Tunnel).stop},               // Clean up, idle
	{waitCtlReply, wire.StopCCN, (*Tunnel).stop},
	{waitCtlConn, wire.StopCCN, (*Tunnel).stop},
	{established, wire.StopCCN, (*Tunnel).stop},
	{closing, wire.StopCCN, (*Tunnel).stop},

	// HELLO has no row in the RFC: to be acknowledged is all that it is for
	// (§6.5).
	{idle, wire.HELLO, (*Tunnel).cleanUp},
	{waitCtlReply, wire.HELLO, (*Tunnel).ignore},
	{waitCtlConn, wire.HELLO, (*Tunnel).ignore},
	{established, wire.HELLO, (*Tunnel).ignore},
}

// receive looks a message of the control connection up in the table.
func (t *Tunnel) receive(now time.Time, m *wire.Message) {
	for _, row := range connectionTable {
		if row.state == t.state && row.message == m.Type {
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
func (t *Tunnel) stop(now time.Time, m *wire.Message) {
	t.learnID(m)
	if t.state < closing {
		t.err = &PeerError{wire.StopCCN, t.state < established, m.Result}
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
	t.end(now, wire.Result{Code: wire.StopClear, Error: wire.ErrorNone, Text: fmt.Sprintf("no %v came", err.Awaited)}, err)
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
	}
}

func (t *Tunnel) sendSCCRQ(now time.Time) {
	t.challengePeer()
	t.setState(now, waitCtlReply)
	t.sendMessage(now, 0, 0, t.hello(wire.SCCRQ))
}

func (t *Tunnel) receiveSCCRQ(now time.Time, m *wire.Message) {
	if !t.learn(now, m) {
		return
	}
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
		t.reliable.tunnel = m.AssignedTunnelID
	}
}

// learn takes what SCCRQ or SCCRP tells of the peer, and reports whether it is
// acceptable.
func (t *Tunnel) learn(now time.Time, m *wire.Message) bool {
	t.learnID(m)
	t.peer.HostName, t.peer.VendorName, t.peer.FirmwareRevision = m.HostName, m.VendorName, m.FirmwareRevision
	t.peerFraming = m.FramingCapabilities
	if m.Has(wire.AVPReceiveWindowSize) {
		t.reliable.setWindow(int(m.ReceiveWindowSize))
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
