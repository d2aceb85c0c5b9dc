package control

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// inState is a script whose tunnel is in a state, with nothing in its lines.
func inState(t *testing.T, st state) *script {
	var s *script
	switch st {
	case idle:
		s = newScript(t, Answer, Config{})
	case waitCtlReply:
		s = newScript(t, Dial, Config{})
	case waitCtlConn:
		s = newScript(t, Answer, Config{})
		s.peer(0, sccrq())
	case established:
		s = answered(t, Config{})
	}
	s.wantState(st)
	s.lines = nil
	return s
}

// RFC 2661 §7.2.1, row by row: those for messages that are received.
func TestConnectionTable(t *testing.T) {
	const (
		sendSCCRP   = "SCCRP ns=0 nr=1"
		sendSCCCN   = "SCCCN ns=1 nr=1"
		sendStopCCN = "StopCCN"
		cleanUp     = "" // nothing is sent but acknowledgements
	)
	unacceptable := func(m *wire.Message) { m.ProtocolVersion = 0x0200 }
	for _, row := range []struct {
		state    state
		receive  *wire.Message
		action   string
		newState state
	}{
		{idle, sccrq(), sendSCCRP, waitCtlConn},
		{idle, sccrq(unacceptable), sendStopCCN, closing},
		{idle, sccrp(), sendStopCCN, closing},
		{idle, &wire.Message{Type: wire.SCCCN}, cleanUp, gone},
		{waitCtlReply, sccrp(), sendSCCCN, established},
		{waitCtlReply, sccrp(unacceptable), sendStopCCN, closing},
		{waitCtlReply, &wire.Message{Type: wire.SCCCN}, sendStopCCN, closing},
		{waitCtlReply, sccrq(), sendStopCCN, closing}, // in our sequence, so no collision
		{waitCtlConn, &wire.Message{Type: wire.SCCCN}, cleanUp, established},
		{waitCtlConn, sccrp(), sendStopCCN, closing},
		{waitCtlConn, sccrq(), sendStopCCN, closing},
		{established, sccrq(), sendStopCCN, closing},
		{established, sccrp(), sendStopCCN, closing},
		{established, &wire.Message{Type: wire.SCCCN}, sendStopCCN, closing},
		{idle, stopccn(wire.Result{Code: 1}), cleanUp, closing},
		{waitCtlReply, stopccn(wire.Result{Code: 1}), cleanUp, closing},
		{waitCtlConn, stopccn(wire.Result{Code: 1}), cleanUp, closing},
		{established, stopccn(wire.Result{Code: 1}), cleanUp, closing},
		// Not in the RFC's table: HELLO means nothing but its acknowledgement,
		{waitCtlReply, &wire.Message{Type: wire.HELLO}, cleanUp, waitCtlReply},
		{waitCtlConn, &wire.Message{Type: wire.HELLO}, cleanUp, waitCtlConn},
		{established, &wire.Message{Type: wire.HELLO}, cleanUp, established},
		{idle, &wire.Message{Type: wire.HELLO}, cleanUp, gone},
		// and "The Tunnel and corresponding Control Connection MUST be
		// established before an incoming or outgoing call is initiated" (§5).
		{idle, icrq(9), cleanUp, gone},
		{waitCtlReply, icrq(9), sendStopCCN, closing},
		{waitCtlConn, icrq(9), sendStopCCN, closing},
	} {
		t.Run(row.state.String()+" "+row.receive.Type.String(), func(t *testing.T) {
			s := inState(t, row.state)
			s.peer(0, row.receive)
			var sent []string
			for _, line := range s.lines {
				line = strings.TrimLeft(line, "0123456789ms ")
				if strings.Contains(line, " ns=") && !strings.HasPrefix(line, "ZLB") {
					sent = append(sent, line)
				}
			}
			if got := strings.Join(sent, ","); row.action == "" && got != "" || !strings.HasPrefix(got, row.action) {
				t.Errorf("sent %q, expected %q", got, row.action)
			}
			s.wantState(row.newState)
			s.run(time.Hour)
			if row.newState >= closing {
				s.wantState(gone)
			}
		})
	}
}

// Every message that there is has a row in every state.
func TestTablesAreComplete(t *testing.T) {
	for m := wire.MessageType(1); m < 1000; m++ {
		if !m.Known() {
			continue
		}
		for _, st := range []state{idle, waitCtlReply, waitCtlConn, established} {
			inState(t, st).peer(0, &wire.Message{Type: m, AssignedTunnelID: 9, AssignedSessionID: 9})
		}
		for _, st := range []sessionState{waitReply, callEstablished} {
			inCallState(t, st, true).peer(1, &wire.Message{Type: m, AssignedTunnelID: 9, AssignedSessionID: 9})
		}
		for _, st := range []sessionState{ringing, waitConnect, callEstablished} {
			inCallState(t, st, false).peer(1, &wire.Message{Type: m, AssignedTunnelID: 9, AssignedSessionID: 9})
		}
	}
}

// RFC 2661 appendix B.1: lock-step tunnel establishment, seen from both ends.
func TestLockStepEstablishment(t *testing.T) {
	s := newScript(t, Dial, Config{HostName: "we", VendorName: "us"})
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0")
	if m := s.last; m.HostName != "we" || m.VendorName != "us" || m.AssignedTunnelID != ourTunnel ||
		m.ProtocolVersion != 0x0100 || m.FramingCapabilities != 3 || m.ReceiveWindowSize != 16 || m.Has(wire.AVPChallenge) {
		t.Errorf("SCCRQ is %+v", m)
	}
	s.peer(0, sccrp(func(m *wire.Message) { m.VendorName, m.FirmwareRevision = "them", 0x690 }))
	s.want("0s SCCCN ns=1 nr=1", "0s TunnelUp peer=7 lns")
	if s.m.PeerID() != peerTunnel || !reflect.DeepEqual(s.m.peer, TunnelUp{Version: 2, PeerID: peerTunnel, HostName: "lns", VendorName: "them", FirmwareRevision: 0x690}) {
		t.Errorf("learnt %+v", s.m.peer)
	}
	s.zlb()
	s.run(time.Minute - time.Second)
	s.want()

	s = newScript(t, Answer, Config{HostName: "we"})
	s.peer(0, sccrq())
	s.want("0s SCCRP ns=0 nr=1")
	s.run(10 * time.Millisecond)
	s.peer(0, &wire.Message{Type: wire.SCCCN})
	s.want("10ms TunnelUp peer=7 lac")
	s.run(time.Second)
	s.want("110ms ZLB ns=1 nr=2")
}

// RFC 2661 §4.4.2: "The protocol version of the requester is not supported.
// Error Code indicates highest version supported". Another revision will do.
func TestProtocolVersion(t *testing.T) {
	s := newScript(t, Answer, Config{})
	s.peer(0, sccrq(func(m *wire.Message) { m.ProtocolVersion = 0x0203 }))
	s.want("0s StopCCN ns=0 nr=1 result=5/256",
		"0s TunnelDown we ended the tunnel because of the peer's SCCRQ: expected protocol version 1, found 2.3")

	s = newScript(t, Answer, Config{})
	s.peer(0, sccrq(func(m *wire.Message) { m.ProtocolVersion = 0x0107 }))
	s.want("0s SCCRP ns=0 nr=1")
}

// RFC 2661 §6.5: "Keepalives for the tunnel MAY be implemented by sending a
// HELLO if a period of time (a recommended default is 60 seconds, but SHOULD be
// configurable) has passed without receiving any message (data or control) from
// the peer." §5.5: "if the Hello message is not reliably delivered then the
// tunnel is declared down and is reset."
func TestHello(t *testing.T) {
	s := answered(t, Config{})
	s.run(30 * time.Second)
	s.peer(0, &wire.Message{Type: wire.HELLO})
	s.run(time.Minute)
	s.want("30.2s ZLB ns=1 nr=3", "1m30.1s HELLO ns=1 nr=3")
	s.zlb()
	s.run(time.Minute)
	s.want("2m30.1s HELLO ns=2 nr=3")
	s.run(time.Hour)
	s.want(
		"2m31.1s HELLO ns=2 nr=3",
		"2m33.1s HELLO ns=2 nr=3",
		"2m37.1s HELLO ns=2 nr=3",
		"2m45.1s HELLO ns=2 nr=3",
		"2m53.1s HELLO ns=2 nr=3",
		"3m1.1s TunnelDown the peer stopped answering: no acknowledgement of HELLO within 31s",
		"3m1.1s Gone",
	)

	s = answered(t, Config{HelloInterval: 5 * time.Second})
	s.run(5 * time.Second)
	s.want("5s HELLO ns=1 nr=2")
	s = answered(t, Config{HelloInterval: -1})
	s.run(24 * time.Hour)
	s.want()
}

// RFC 2661 §5.7: "The receiver of a StopCCN MUST send a ZLB ACK to acknowledge
// receipt of the message and maintain enough control connection state to
// properly accept StopCCN retransmissions over at least a full retransmission
// cycle (in case the ZLB ACK is lost). The recommended time for a full
// retransmission cycle is 31 seconds".
func TestStopCCNReceived(t *testing.T) {
	s := answered(t, Config{})
	s.peer(0, icrq(9))
	s.do(func(now time.Time) { s.m.AcceptCall(now, 1) })
	s.want("100ms IncomingCall 1 peer=9", "100ms ICRP ns=1 nr=3 session=9")
	s.peer(0, stopccn(wire.Result{Code: 6, HasError: true, Text: "bye"}))
	s.want(
		"100ms ZLB ns=2 nr=4",
		"100ms SessionDown 1 the peer ended the tunnel: result 6: shutting down; \"bye\"",
		"100ms TunnelDown the peer ended the tunnel: result 6: shutting down; \"bye\"",
	)
	for range 3 { // the acknowledgement was lost
		s.run(7 * time.Second)
		s.peerAt(3, 2, 0, stopccn(wire.Result{Code: 6}).Append(nil))
	}
	s.run(time.Hour)
	s.want("7.2s ZLB ns=2 nr=4", "14.2s ZLB ns=2 nr=4", "21.2s ZLB ns=2 nr=4", "31.1s Gone")

	// What had not been acknowledged means nothing to the peer any more. The
	// id of the tunnel is the one that was told first.
	s = answered(t, Config{})
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}); s.m.Call(now, CallConfig{}) })
	m := stopccn(wire.Result{Code: 1})
	m.AssignedTunnelID = 8
	s.peerAt(2, 1, 0, m.Append(nil))
	s.lines = s.lines[2:] // the two ICRQs
	s.run(time.Hour)
	s.want(
		"100ms ZLB ns=3 nr=3",
		"100ms SessionDown 1 the peer ended the tunnel: result 1: control connection cleared on request",
		"100ms SessionDown 2 the peer ended the tunnel: result 1: control connection cleared on request",
		"100ms TunnelDown the peer ended the tunnel: result 1: control connection cleared on request",
		"31.1s Gone",
	)
}

// RFC 2661 §7.6: "The sender of this Notification should wait a finite period of
// time for the acknowledgment of this message before releasing the control
// information associated with the tunnel."
func TestStopCCNSent(t *testing.T) {
	s := answered(t, Config{})
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) })
	s.want("100ms StopCCN ns=1 nr=2 result=1/0", "100ms TunnelDown <nil>")
	if s.last.AssignedTunnelID != ourTunnel {
		t.Errorf("StopCCN assigns %d, expected the id that was assigned first, %d", s.last.AssignedTunnelID, ourTunnel)
	}
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) }) // again
	s.run(time.Second)
	s.zlb()
	s.want("1.1s StopCCN ns=1 nr=2 result=1/0", "1.1s Gone")
	s.run(time.Hour)
	s.want()

	s = answered(t, Config{})
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{Code: wire.StopShutdown}) })
	s.run(time.Hour)
	s.want(
		"100ms StopCCN ns=1 nr=2 result=6/0", "100ms TunnelDown <nil>",
		"1.1s StopCCN ns=1 nr=2 result=6/0",
		"3.1s StopCCN ns=1 nr=2 result=6/0",
		"7.1s StopCCN ns=1 nr=2 result=6/0",
		"15.1s StopCCN ns=1 nr=2 result=6/0",
		"23.1s StopCCN ns=1 nr=2 result=6/0",
		"31.1s Gone",
	)
}

// Both sides close at once: each acknowledges the other's StopCCN, and does so
// again for as long as it may come again.
func TestStopCCNsCross(t *testing.T) {
	s := answered(t, Config{})
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) })
	s.peerAt(2, 1, 0, stopccn(wire.Result{Code: 1}).Append(nil))
	s.want("100ms StopCCN ns=1 nr=2 result=1/0", "100ms TunnelDown <nil>", "100ms ZLB ns=2 nr=3")
	s.peerAt(2, 2, 0, stopccn(wire.Result{Code: 1}).Append(nil))
	s.run(time.Hour)
	s.want("200ms ZLB ns=2 nr=3", "31.1s Gone")

	// The peer's StopCCN may acknowledge ours.
	s = answered(t, Config{})
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) })
	s.peerAt(2, 2, 0, stopccn(wire.Result{Code: 1}).Append(nil))
	s.run(time.Hour)
	s.want("100ms StopCCN ns=1 nr=2 result=1/0", "100ms TunnelDown <nil>", "100ms ZLB ns=2 nr=3", "31.1s Gone")
}

// To leave must not take long: StopCCN makes void what waits to be sent, and
// does not wait for slow start.
func TestCloseWithManyMessagesWaiting(t *testing.T) {
	s := dialled(t, Config{}, 0)
	for range 30 {
		s.m.Call(s.now, CallConfig{})
	}
	s.drain()
	s.want("0s ICRQ ns=2 nr=1")
	s.m.Close(s.now, wire.Result{})
	s.drain()
	if s.lines[0] != "0s StopCCN ns=3 nr=1 result=1/0" || len(s.lines) != 32 {
		t.Errorf("did %q, expected StopCCN next in sequence, 30 SessionDown and TunnelDown", s.lines)
	}
}

// RFC 2661 §4.4.3, Assigned Tunnel ID: "Before the Assigned Tunnel ID AVP is
// received from a peer, messages MUST be sent to that peer with a Tunnel ID value
// of 0 […]. In the StopCCN control message, the Assigned Tunnel ID AVP MUST be
// the same as the Assigned Tunnel ID AVP first sent to the receiving peer".
func TestCloseBeforeTheAnswer(t *testing.T) {
	s := newScript(t, Dial, Config{})
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) })
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s StopCCN ns=1 nr=0 tunnel=0 result=1/0", "0s TunnelDown <nil>")
	s.run(time.Second)
	s.want("1s SCCRQ ns=0 nr=0 tunnel=0") // the oldest alone, as always
	s.peer(0, sccrp())                    // it comes too late, and acknowledges both
	s.want("1s ZLB ns=2 nr=1 tunnel=0", "1s Gone")

	s = newScript(t, Dial, Config{})
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) })
	s.peerAt(0, 1, 0, nil) // SCCRQ came; that there is no answer to it is nobody's business any more
	s.run(time.Hour)
	s.wantState(gone)

	s = newScript(t, Answer, Config{})
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) })
	s.want("0s TunnelDown <nil>", "0s Gone")
}

// A peer that acknowledges SCCRQ and says no more, and one that dials and says
// no more, do not hold a tunnel for ever.
func TestSetupTimeouts(t *testing.T) {
	s := newScript(t, Dial, Config{})
	s.run(500 * time.Millisecond)
	s.peerAt(0, 1, 0, nil)
	s.run(30 * time.Second)
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0",
		"30.5s StopCCN ns=1 nr=0 tunnel=0 result=1/0",
		"30.5s TunnelDown the peer did not answer SCCRQ: no SCCRP within 30s")

	s = newScript(t, Answer, Config{})
	s.peer(0, sccrq())
	s.zlb()
	s.run(30 * time.Second)
	s.want("0s SCCRP ns=0 nr=1",
		"30s StopCCN ns=1 nr=1 result=1/0",
		"30s TunnelDown the peer did not answer SCCRP: no SCCCN within 30s")

	s = newScript(t, Answer, Config{})
	s.run(time.Hour)
	s.want("30s TunnelDown no SCCRQ within 30s", "30s Gone")
}

// RFC 2661 §4.4.1: "if the M-bit is set within the Message Type AVP and the
// Message Type is unknown to the implementation, the tunnel MUST be cleared. If
// the M-bit is not set, then the implementation may ignore an unknown message
// type."
func TestUnknownMessageType(t *testing.T) {
	for name, open := range map[string]func() *script{
		"established":    func() *script { return answered(t, Config{}) },
		"wait-ctl-reply": func() *script { return newScript(t, Dial, Config{}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open()
			before := s.m.state
			s.lines = nil
			s.ns++
			s.peerAt(s.ns-1, s.nr, 0, []byte{0, 8, 0, 0, 0, 0, 0, 99})
			s.wantState(before)
			s.run(100 * time.Millisecond)
			if len(s.lines) != 1 || !strings.Contains(s.lines[0], "ZLB") || s.m.Counters().IgnoredMessage != 1 {
				t.Errorf("did %q, expected an acknowledgement only", s.lines)
			}
			s.peerAt(s.ns, s.nr, 0, []byte{0x80, 8, 0, 0, 0, 0, 0, 99})
			s.wantState(closing)
			if r := s.last.Result; r.Code != 2 || r.Error != 8 || r.Text != "unknown message 99 with the M bit set" {
				t.Errorf("StopCCN with %+v", r)
			}
		})
	}
}

// RFC 2661 §4.1: "If the M bit is set on an unrecognized AVP within a message
// associated with the overall tunnel, the entire tunnel (and all sessions
// within) MUST be terminated. If the M bit is not set, an unrecognized AVP MUST
// be ignored."
func TestUnknownAVPInTunnelMessage(t *testing.T) {
	unknown := func(m *wire.Message, flags byte) []byte {
		return append(m.Append(nil), flags, 8, 0, 0, 0, 99, 1, 2)
	}
	s := newScript(t, Answer, Config{})
	s.peerAt(0, 0, 0, unknown(sccrq(), 0x80))
	s.want("0s StopCCN ns=0 nr=1 result=2/8",
		"0s TunnelDown we ended the tunnel because of the peer's SCCRQ: unknown AVP 99 with the M bit set")
	if !strings.Contains(s.last.Result.Text, "99") {
		t.Errorf("StopCCN says %q, expected the attribute to be named", s.last.Result.Text)
	}

	s = newScript(t, Dial, Config{})
	s.peerAt(0, 1, 0, unknown(sccrp(), 0x80))
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s StopCCN ns=1 nr=1 result=2/8",
		"0s TunnelDown we ended the tunnel because of the peer's SCCRP: unknown AVP 99 with the M bit set")

	s = newScript(t, Dial, Config{})
	s.peerAt(0, 1, 0, unknown(sccrp(), 0))
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s SCCCN ns=1 nr=1", "0s TunnelUp peer=7 lns")

	// An SCCRQ that does not even say to whom the StopCCN should go: silence.
	s = newScript(t, Answer, Config{})
	s.peerAt(0, 0, 0, []byte{0x80, 8, 0, 0, 0, 0, 0, 1})
	s.run(time.Hour)
	s.want("0s TunnelDown we ended the tunnel because of the peer's SCCRQ: Protocol Version is missing", "0s Gone")
}

// What a StopCCN says is what the user is told, in words, and quoted.
func TestPeersRefusalInWords(t *testing.T) {
	s := newScript(t, Dial, Config{})
	s.peer(0, stopccn(wire.Result{Code: 4, HasError: true, Text: "go\x1b[2Jaway"}))
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s ZLB ns=1 nr=1",
		`0s TunnelDown the peer refused the tunnel: result 4: not authorized to establish a control channel; "go\x1b[2Jaway"`)

	var e *PeerError
	if !errors.As(s.m.err, &e) || e.Message != wire.StopCCN || !e.Refused || e.Result.Code != 4 {
		t.Errorf("the error is %#v", s.m.err)
	}
	// One that is broken means the same.
	s = newScript(t, Dial, Config{})
	s.peerAt(0, 1, 0, []byte{0x80, 8, 0, 0, 0, 0, 0, 4})
	s.wantState(closing)
	if !errors.As(s.m.err, &e) {
		t.Errorf("the error is %#v", s.m.err)
	}
}
