package control

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// inCallState is a script whose session 1 is in a state, the peer's id for it
// being 9, with nothing in its lines.
func inCallState(t *testing.T, st sessionState, lac bool) *script {
	s := answered(t, Config{})
	if lac {
		s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
		if st == callEstablished {
			s.peer(1, icrp(9))
		}
	} else {
		s.peer(0, icrq(9))
		if st != ringing {
			s.do(func(now time.Time) { s.m.AcceptCall(now, 1) })
		}
		if st == callEstablished {
			s.peer(1, iccn())
		}
	}
	if got := s.m.calls.byID[1].state; got != st {
		t.Fatalf("the session is in %v, expected %v", got, st)
	}
	s.lines = nil
	return s
}

// RFC 2661 §7.4.1 and §7.4.2, row by row: those for messages that are received.
func TestCallTables(t *testing.T) {
	const (
		sendICCN = "ICCN"
		sendCDN  = "CDN"
		cleanUp  = ""
		lac, lns = true, false
	)
	down := wire.Result{Code: 1}
	for _, row := range []struct {
		role     bool
		state    sessionState
		header   uint32
		receive  *wire.Message
		action   string
		newState sessionState
	}{
		// LAC. idle is session 5, of which nobody knows.
		{lac, waitReply, 5, iccn(), cleanUp, waitReply},
		{lac, waitReply, 5, cdn(8, down), cleanUp, waitReply},
		{lac, waitReply, 1, icrp(9), sendICCN, callEstablished},
		{lac, waitReply, 1, icrq(9), sendCDN, callGone},
		{lac, waitReply, 1, cdn(9, down), cleanUp, callGone},
		{lac, waitReply, 1, iccn(), cleanUp, callGone},
		{lac, callEstablished, 1, cdn(9, down), cleanUp, callGone},
		{lac, callEstablished, 1, icrq(9), sendCDN, callGone},
		{lac, callEstablished, 1, icrp(9), sendCDN, callGone},
		{lac, callEstablished, 1, iccn(), sendCDN, callGone},
		// LNS. A call that rings is in the RFC's idle.
		{lns, ringing, 5, icrp(8), sendCDN, ringing},
		{lns, ringing, 5, iccn(), cleanUp, ringing},
		{lns, ringing, 1, icrp(9), sendCDN, callGone},
		{lns, ringing, 1, iccn(), cleanUp, callGone},
		{lns, waitConnect, 1, iccn(), cleanUp, callEstablished},
		{lns, waitConnect, 1, icrq(9), sendCDN, callGone},
		{lns, waitConnect, 1, icrp(9), sendCDN, callGone},
		{lns, ringing, 1, cdn(9, down), cleanUp, callGone},
		{lns, waitConnect, 1, cdn(9, down), cleanUp, callGone},
		{lns, callEstablished, 1, cdn(9, down), cleanUp, callGone},
		{lns, callEstablished, 1, icrq(9), sendCDN, callGone},
		{lns, callEstablished, 1, icrp(9), sendCDN, callGone},
		{lns, callEstablished, 1, iccn(), sendCDN, callGone},
		// §7.5's messages have no place in an incoming call. OCRP for nobody is
		// answered as ICRP is.
		{lac, callEstablished, 1, occn(), sendCDN, callGone},
		{lns, waitConnect, 1, ocrp(9), sendCDN, callGone},
		{lns, waitConnect, 5, ocrp(8), sendCDN, waitConnect},
		{lns, waitConnect, 5, occn(), cleanUp, waitConnect},
	} {
		t.Run(row.state.String()+" "+row.receive.Type.String(), func(t *testing.T) {
			s := inCallState(t, row.state, row.role)
			s.peer(row.header, row.receive)
			sent := ""
			for _, line := range s.lines {
				if name := strings.Fields(line)[1]; strings.Contains(line, " ns=") {
					sent += name
				}
			}
			if sent != row.action {
				t.Errorf("sent %q, expected %q", sent, row.action)
			}
			state := callGone
			if session := s.m.calls.byID[1]; session != nil {
				state = session.state
			}
			if state != row.newState {
				t.Errorf("new state %v, expected %v", state, row.newState)
			}
			s.wantState(established)
		})
	}
}

// RFC 2661 §5.2.1: ICRQ, ICRP, ICCN and a ZLB, seen from both ends.
func TestIncomingCall(t *testing.T) {
	s := dialled(t, Config{}, 0)
	s.zlb()
	s.do(func(now time.Time) {
		if id := s.m.Call(now, CallConfig{}); id != 1 {
			t.Errorf("session %d, expected 1", id)
		}
	})
	s.want("0s ICRQ ns=2 nr=1")
	if s.last.AssignedSessionID != 1 || !s.last.Has(wire.AVPCallSerialNumber) {
		t.Errorf("ICRQ is %+v", s.last)
	}
	s.peer(1, icrp(9))
	s.want("0s ICCN ns=3 nr=2 session=9", "0s SessionUp 1 peer=9")
	if s.last.TxConnectSpeed == 0 || s.last.FramingType != wire.FramingSync || s.last.Has(wire.AVPRxConnectSpeed) {
		t.Errorf("ICCN is %+v", s.last)
	}
	s.zlb()
	s.m.cfg.HelloInterval = 0
	s.run(24 * time.Hour)
	s.want() // a day of quiet

	s = answered(t, Config{})
	s.peer(0, icrq(9))
	s.want("100ms IncomingCall 1 peer=9")
	s.run(20 * time.Second) // somebody thinks
	s.want("200ms ZLB ns=1 nr=3")
	s.do(func(now time.Time) { s.m.AcceptCall(now, 1) })
	s.want("20.1s ICRP ns=1 nr=3 session=9")
	s.do(func(now time.Time) { s.m.AcceptCall(now, 1) }) // again
	s.peer(1, iccn())
	s.want("20.1s SessionUp 1 peer=9")
	s.run(time.Second)
	s.want("20.2s ZLB ns=2 nr=4")
	s.m.cfg.HelloInterval = 0
	s.run(24 * time.Hour)
	s.want()
}

// What the LAC says of a call reaches the owner.
func TestIncomingCallEvent(t *testing.T) {
	s := answered(t, Config{})
	m := &wire.Message{Type: wire.ICRQ, AssignedSessionID: 9, CallSerialNumber: 77, CalledNumber: "123", CallingNumber: "456", SubAddress: "7"}
	s.m.Handle(s.now, packet(ourTunnel, 0, 2, 1, m.Append(nil)))
	_, event, _ := s.m.Next()
	if want := (IncomingCall{Session: 1, PeerSession: 9, CallSerialNumber: 77, CalledNumber: "123", CallingNumber: "456", SubAddress: "7"}); event != want {
		t.Errorf("event %+v, expected %+v", event, want)
	}
	s.m.AcceptCall(s.now, 1)
	m = iccn()
	m.SequencingRequired = true
	s.m.Handle(s.now, packet(ourTunnel, 1, 3, 2, m.Append(nil)))
	s.m.Next()
	_, event, _ = s.m.Next()
	if want := (SessionUp{Session: 1, PeerSession: 9, LAC: false, Line: Line{TxConnectSpeed: 1, FramingType: 1, SequencingRequired: true}}); !reflect.DeepEqual(event, want) {
		t.Errorf("event %+v, expected %+v", event, want)
	}
}

// RFC 2661 §4.4.3: "A peer MUST NOT request an incoming or outgoing call with a
// Framing Type AVP specifying a value not advertised in the Framing Capabilities
// AVP it received".
func TestFramingType(t *testing.T) {
	for capabilities, want := range map[uint32]uint32{0: 1, 1: 1, 2: 2, 3: 1} {
		s := newScript(t, Dial, Config{})
		s.peer(0, sccrp(func(m *wire.Message) { m.FramingCapabilities = capabilities }))
		s.zlb()
		s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
		s.peer(1, icrp(9))
		if s.last.Type != wire.ICCN || s.last.FramingType != want {
			t.Errorf("framing %d for a peer with capabilities %d, expected %d", s.last.FramingType, capabilities, want)
		}
	}
}

// RFC 2661 §7.4.1, wait-tunnel: "the session is waiting for either the control
// connection to be opened or for verification that the tunnel is already open."
// Calls that wait may be given up, and fail with the tunnel.
func TestCallsWaitForTheTunnel(t *testing.T) {
	s := newScript(t, Dial, Config{})
	s.do(func(now time.Time) {
		s.m.Call(now, CallConfig{})
		s.m.Call(now, CallConfig{})
		s.m.Call(now, CallConfig{})
	})
	s.do(func(now time.Time) { s.m.Hangup(now, 2, wire.Result{}) })
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s SessionDown 2 <nil>")
	s.peer(0, sccrp())
	s.want("0s SCCCN ns=1 nr=1", "0s TunnelUp peer=7 lns", "0s ICRQ ns=2 nr=1")
	serial := s.last.CallSerialNumber
	s.zlb()
	s.want("0s ICRQ ns=3 nr=1")
	if s.last.CallSerialNumber != serial+1 {
		t.Errorf("call serial numbers %d, %d", serial, s.last.CallSerialNumber)
	}

	s = newScript(t, Dial, Config{})
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.run(time.Minute)
	if got := s.lines[len(s.lines)-3:]; got[0] != "31s SessionDown 1 no answer to SCCRQ within 31s" {
		t.Errorf("did %q", got)
	}
	s.lines = nil
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.want("1m0s SessionDown 2 the tunnel is closed")
}

// RFC 2661 §7.4.1: "wait-reply, Local close request: Send CDN, Clean up". The
// peer's id is not known then: "the Session ID field MUST be sent as 0, and the
// Assigned Session ID AVP within the message MUST be used to identify the
// session" (§5.3). The ICRP that was under way finds nobody, and gets no answer,
// since CDN is one.
func TestHangupBeforeTheAnswer(t *testing.T) {
	s := inCallState(t, waitReply, true)
	s.do(func(now time.Time) { s.m.Hangup(now, 1, wire.Result{}) })
	s.want("100ms CDN ns=2 nr=2 result=3/0", "100ms SessionDown 1 <nil>")
	if s.last.AssignedSessionID != 1 {
		t.Errorf("CDN assigns %d, expected 1", s.last.AssignedSessionID)
	}
	s.peer(1, icrp(9))
	s.do(func(now time.Time) { s.m.Hangup(now, 1, wire.Result{}) })
	s.run(time.Second)
	s.want("200ms ZLB ns=3 nr=3")

	// The other side: CDN with session 0 is found by the peer's id.
	s = inCallState(t, waitConnect, false)
	s.peer(0, cdn(9, wire.Result{Code: 1}))
	s.want("100ms SessionDown 1 the peer refused the call: result 1: loss of carrier")
}

// Every way for a session to end: who is told what, and what for.
func TestSessionDown(t *testing.T) {
	s := inCallState(t, callEstablished, true)
	s.do(func(now time.Time) { s.m.Hangup(now, 1, wire.Result{Code: 2, Error: 4, Text: "full"}) })
	s.want("100ms CDN ns=3 nr=3 session=9 result=2/4", "100ms SessionDown 1 <nil>")
	s.do(func(now time.Time) { s.m.Hangup(now, 1, wire.Result{}) })
	s.want()

	s = inCallState(t, callEstablished, true)
	s.peer(1, cdn(9, wire.Result{Code: 3}))
	s.want("100ms SessionDown 1 the peer ended the call: result 3: disconnected for administrative reasons")

	s = inCallState(t, ringing, false)
	s.do(func(now time.Time) { s.m.Hangup(now, 1, wire.Result{Code: wire.CallBusy}) })
	s.want("100ms CDN ns=1 nr=3 session=9 result=8/0", "100ms SessionDown 1 <nil>")
	s.do(func(now time.Time) { s.m.AcceptCall(now, 1) }) // too late
	s.want()

	s = inCallState(t, callEstablished, false)
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) })
	s.want("100ms StopCCN ns=2 nr=4 result=1/0", "100ms SessionDown 1 <nil>", "100ms TunnelDown <nil>")
}

// What a peer acknowledges and does not answer does not wait for ever; the time
// begins with the acknowledgement, since until then the message itself is on
// its way.
func TestCallSetupTimeouts(t *testing.T) {
	s := inCallState(t, waitReply, true)
	s.run(500 * time.Millisecond)
	s.zlb()
	s.run(30 * time.Second)
	s.want("30.6s CDN ns=2 nr=2 result=10/0",
		"30.6s SessionDown 1 the peer did not answer ICRQ: no ICRP within 30s")

	s = inCallState(t, waitReply, true)
	s.zlb()
	s.run(20 * time.Second)
	s.peer(1, icrp(9)) // late, but not too late
	s.zlb()
	s.run(20 * time.Second)
	s.want("20.1s ICCN ns=2 nr=3 session=9", "20.1s SessionUp 1 peer=9")

	s = inCallState(t, waitConnect, false)
	s.zlb()
	s.run(30 * time.Second)
	s.want("30.1s CDN ns=2 nr=3 session=9 result=10/0",
		"30.1s SessionDown 1 the peer did not answer ICRP: no ICCN within 30s")
	var e *TimeoutError
	if !errors.As(error(&TimeoutError{}), &e) || !e.Timeout() {
		t.Errorf("a TimeoutError is no time-out")
	}
}

// RFC 2661 §4.1: "If the M bit is set on an unrecognized AVP within a message
// associated with a particular session, the session associated with this message
// MUST be terminated." Only this one.
func TestUnknownAVPInCallMessage(t *testing.T) {
	unknown := []byte{0x80, 8, 0, 0, 0, 99, 1, 2}
	s := inCallState(t, waitConnect, false)
	s.peer(0, icrq(8))
	s.lines = nil
	s.ns++
	s.peerAt(s.ns-1, s.nr, 1, append(iccn().Append(nil), unknown...))
	s.want("100ms CDN ns=2 nr=5 session=9 result=2/8",
		"100ms SessionDown 1 we ended the call because of the peer's ICCN: unknown AVP 99 with the M bit set")
	s.ns++
	s.peerAt(s.ns-1, s.nr, 0, append(icrq(10).Append(nil), unknown...))
	s.want("100ms CDN ns=3 nr=6 session=10 result=2/8")
	s.ns++
	s.peerAt(s.ns-1, s.nr, 5, append(iccn().Append(nil), unknown...)) // of nobody
	s.ns++
	s.peerAt(s.ns-1, s.nr, 5, append(cdn(77, wire.Result{Code: 1}).Append(nil), unknown...))
	s.ns++
	s.peerAt(s.ns-1, s.nr, 0, []byte{0x80, 8, 0, 0, 0, 0, 0, 10}) // an ICRQ without an id
	s.want()
	s.wantState(established)

	// A CDN that is broken can hardly mean anything else.
	s = inCallState(t, callEstablished, false)
	s.ns++
	s.peerAt(s.ns-1, s.nr, 1, []byte{0x80, 8, 0, 0, 0, 0, 0, 14})
	s.want("100ms SessionDown 1 the peer ended the call: result 0")
}

// Two calls of a peer's with one Assigned Session ID cannot both be answered:
// by the tables, "Receive ICRQ" in a state beyond idle is "Send CDN, Clean up",
// so that both sides agree that the id is free again.
func TestDuplicatePeerSession(t *testing.T) {
	s := inCallState(t, callEstablished, false)
	s.peer(0, icrq(9))
	s.want("100ms CDN ns=2 nr=5 session=9 result=2/5",
		"100ms SessionDown 1 we ended the call because of the peer's ICRQ: ICRQ in state established")

	s = inCallState(t, callEstablished, false)
	s.peer(5, icrq(9)) // whatever its header says
	s.want("100ms CDN ns=2 nr=5 session=9 result=2/5",
		"100ms SessionDown 1 we ended the call because of the peer's ICRQ: ICRQ in state established")

	// In the answers to two calls of ours, the second call is cleared, and the
	// first one stands.
	s = inCallState(t, callEstablished, true)
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.peer(2, icrp(9))
	s.want("100ms ICRQ ns=3 nr=3", "100ms CDN ns=4 nr=4 result=2/5",
		"100ms SessionDown 2 we ended the call because of the peer's ICRP: another session has this Assigned Session ID")
	if s.last.AssignedSessionID != 2 {
		t.Errorf("CDN assigns %d, expected 2", s.last.AssignedSessionID)
	}
	if id := s.m.calls.byID[1].peer; id != 9 {
		t.Errorf("the first call is gone")
	}
}

// A call that waits for room in the queue is one of which the peer does not
// know, so nothing that it sends can be meant for it.
func TestCallsWaitForRoom(t *testing.T) {
	s := answered(t, Config{})
	for len(s.m.reliable.queue) < s.m.cfg.SendQueue/2 {
		s.m.sendMessage(s.now, 0, 0, &wire.Message{Type: wire.HELLO})
	}
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}); s.m.Call(now, CallConfig{}) })
	s.lines = nil
	s.peerAt(2, 1, 1, cdn(9, wire.Result{Code: 1}).Append(nil))
	s.want()
	s.peerAt(3, 2, 0, nil) // room for one
	if first, second := s.m.calls.byID[1].state, s.m.calls.byID[2].state; first != waitReply || second != waitTunnel {
		t.Errorf("the calls are in %v and %v, expected wait-reply and wait-tunnel", first, second)
	}
}

// When the peer does not acknowledge what we have to say about its calls, the
// tunnel ends, and each session once.
func TestOverrunWhileCallsTimeOut(t *testing.T) {
	s := answered(t, Config{})
	for id := range uint32(64) {
		s.peer(0, icrq(id+1))
		s.do(func(now time.Time) { s.m.AcceptCall(now, id+1) })
		s.zlb()
	}
	s.run(29 * time.Second)
	for range 10 {
		s.m.sendMessage(s.now, 0, 0, &wire.Message{Type: wire.HELLO})
	}
	s.lines = nil
	s.run(2 * time.Second)
	down := make(map[string]int)
	for _, line := range s.lines {
		if f := strings.Fields(line); strings.HasSuffix(f[1], "Down") {
			down[f[1]+f[2]]++
		}
	}
	for line, n := range down {
		if n != 1 {
			t.Errorf("%s was told %d times", line, n)
		}
	}
	if len(down) != 65 {
		t.Errorf("%d sessions and the tunnel are down, expected 65", len(down))
	}
	s.wantState(closing)
}

// At most MaxSessions, ours and the peer's together: further calls are refused,
// ours too, and the place of one that ends is free.
func TestMaxSessions(t *testing.T) {
	s := answered(t, Config{MaxSessions: 2})
	s.peer(0, icrq(9))
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.want("100ms IncomingCall 1 peer=9", "100ms ICRQ ns=1 nr=3")
	s.peer(0, icrq(10))
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.want("100ms CDN ns=2 nr=4 session=10 result=4/4",
		"100ms SessionDown 3 the tunnel has as many sessions as it may have")
	if id := s.last.AssignedSessionID; s.m.calls.byID[id] != nil {
		t.Errorf("CDN assigns %d, which is another session", id)
	}
	s.peer(1, cdn(9, wire.Result{Code: 1}))
	s.peer(0, icrq(10))
	s.want("100ms SessionDown 1 the peer refused the call: result 1: loss of carrier", "100ms IncomingCall 3 peer=10")
}

// The id of a session that has ended is not another's as long as messages for
// it may still come; then it may be.
func TestSessionIDsLinger(t *testing.T) {
	s := inCallState(t, callEstablished, false)
	s.peer(1, cdn(9, wire.Result{Code: 1}))
	s.peer(0, icrq(9))
	s.peer(0, icrq(10))
	s.want("100ms SessionDown 1 the peer ended the call: result 1: loss of carrier",
		"100ms IncomingCall 2 peer=9", "100ms IncomingCall 3 peer=10")
	s.run(31 * time.Second)
	s.lines = nil
	s.peer(0, icrq(11))
	s.want("31.1s IncomingCall 1 peer=11")
}

// Random session ids are what makes them hard to guess from off the path.
func TestSessionIDsAreRandom(t *testing.T) {
	s := answered(t, Config{Rand: chacha(1)})
	seen := make(map[uint32]bool)
	for range 50 {
		seen[s.m.Call(s.now, CallConfig{})] = true
	}
	neighbours := 0
	for id := range seen {
		if id == 0 || id > 0xffff {
			t.Errorf("session id %d", id)
		}
		if seen[id+1] {
			neighbours++
		}
	}
	if len(seen) != 50 || neighbours > 3 {
		t.Errorf("%d ids, %d of them neighbours", len(seen), neighbours)
	}
}
