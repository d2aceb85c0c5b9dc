package control

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// placing has the peer tell that it places calls, on lines of all kinds.
func placing(m *wire.Message) { m.BearerCapabilities = bearersAll }

// inOutgoingState is a script whose outgoing call, session 1, is in a state, the
// peer's id for it being 9, with nothing in its lines.
func inOutgoingState(t *testing.T, st sessionState, lac bool) *script {
	s := newScript(t, Answer, Config{PlacesCalls: true})
	s.peer(0, sccrq(placing))
	s.peer(0, &wire.Message{Type: wire.SCCCN})
	if lac {
		s.peer(0, ocrq(9))
		if st == callEstablished {
			s.do(func(now time.Time) { s.m.AcceptOutgoing(now, 1) })
		}
	} else {
		s.do(func(now time.Time) { s.m.PlaceCall(now, OutgoingCall{CalledNumber: "123"}) })
		if st != waitReply {
			s.peer(1, ocrp(9))
		}
		if st == callEstablished {
			s.peer(1, occn())
		}
	}
	if got := s.m.calls.byID[1].state; got != st {
		t.Fatalf("the session is in %v, expected %v", got, st)
	}
	s.zlb()
	s.lines = nil
	return s
}

// RFC 2661 §7.5.1 and §7.5.2, row by row: those for messages that are received.
func TestOutgoingCallTables(t *testing.T) {
	const (
		question = "OutgoingCallRequest"
		sendCDN  = "CDN"
		cleanUp  = ""
		none     = ""
		lac, lns = true, false
	)
	down := wire.Result{Code: 1}
	for _, row := range []struct {
		role     bool
		state    sessionState
		header   uint32
		receive  *wire.Message
		action   string
		newState sessionState // of session 1
	}{
		// LAC. idle is session 5, of which nobody knows, and what rings.
		{lac, ringing, 0, ocrq(8), question, ringing},
		{lac, ringing, 5, ocrp(8), sendCDN, ringing},
		{lac, ringing, 5, occn(), cleanUp, ringing},
		{lac, ringing, 5, cdn(8, down), cleanUp, ringing},
		{lac, ringing, 1, ocrq(9), sendCDN, callGone},
		{lac, ringing, 1, ocrp(9), sendCDN, callGone},
		{lac, ringing, 1, occn(), cleanUp, callGone},
		{lac, ringing, 1, cdn(9, down), cleanUp, callGone},
		{lac, callEstablished, 1, ocrq(9), sendCDN, callGone},
		{lac, callEstablished, 1, ocrp(9), sendCDN, callGone},
		{lac, callEstablished, 1, occn(), sendCDN, callGone},
		{lac, callEstablished, 1, cdn(9, down), cleanUp, callGone},
		// LNS.
		{lns, waitReply, 5, occn(), cleanUp, waitReply},
		{lns, waitReply, 1, ocrp(9), none, waitConnect},
		{lns, waitReply, 1, occn(), sendCDN, callGone},
		{lns, waitReply, 1, ocrq(9), sendCDN, callGone},
		{lns, waitReply, 1, cdn(9, down), cleanUp, callGone},
		{lns, waitConnect, 1, occn(), none, callEstablished},
		{lns, waitConnect, 1, ocrq(9), sendCDN, callGone},
		{lns, waitConnect, 1, ocrp(9), sendCDN, callGone},
		{lns, waitConnect, 1, cdn(9, down), cleanUp, callGone},
		{lns, callEstablished, 1, ocrq(9), sendCDN, callGone},
		{lns, callEstablished, 1, ocrp(9), sendCDN, callGone},
		{lns, callEstablished, 1, occn(), sendCDN, callGone},
		{lns, callEstablished, 1, cdn(9, down), cleanUp, callGone},
		// §7.4's messages have no place in an outgoing call.
		{lac, ringing, 1, iccn(), sendCDN, callGone},
		{lac, callEstablished, 1, icrp(9), sendCDN, callGone},
		{lns, waitReply, 1, icrp(9), sendCDN, callGone},
		{lns, waitConnect, 1, iccn(), sendCDN, callGone},
		{lns, callEstablished, 0, icrq(9), sendCDN, callGone},
	} {
		t.Run(row.state.String()+" "+row.receive.Type.String(), func(t *testing.T) {
			s := inOutgoingState(t, row.state, row.role)
			s.peer(row.header, row.receive)
			did := ""
			for _, line := range s.lines {
				if name := strings.Fields(line)[1]; strings.Contains(line, " ns=") || name == question {
					did += name
				}
			}
			if did != row.action {
				t.Errorf("did %q, expected %q", did, row.action)
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

// RFC 2661 §5.2.2: OCRQ, OCRP, OCCN and a ZLB, seen from both ends.
func TestOutgoingCall(t *testing.T) {
	s := newScript(t, Dial, Config{})
	s.do(func(now time.Time) {
		s.m.PlaceCall(now, OutgoingCall{CalledNumber: "123", SubAddress: "4", MinimumBPS: 9600, MaximumBPS: 64000, BearerType: 1, FramingType: 2})
	})
	s.peer(0, sccrp(placing))
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s SCCCN ns=1 nr=1", "0s TunnelUp peer=7 lns", "0s OCRQ ns=2 nr=1")
	if m := s.last; m.AssignedSessionID != 1 || !m.Has(wire.AVPCallSerialNumber) || m.CalledNumber != "123" || m.SubAddress != "4" ||
		m.MinimumBPS != 9600 || m.MaximumBPS != 64000 || m.BearerType != 1 || m.FramingType != 2 {
		t.Errorf("OCRQ is %+v", m)
	}
	reply := ocrp(9)
	reply.PhysicalChannelID = 5
	s.peer(1, reply)
	s.run(10 * time.Second) // it rings, far away
	s.want("100ms ZLB ns=3 nr=2")
	connected := &wire.Message{Type: wire.OCCN, TxConnectSpeed: 28800, RxConnectSpeed: 33600, FramingType: 2, SequencingRequired: true}
	s.m.Handle(s.now, packet(ourTunnel, 1, 2, 3, connected.Append(nil)))
	_, event, _ := s.m.Next()
	if want := (SessionUp{Session: 1, PeerSession: 9, LAC: false, Line: Line{PhysicalChannelID: 5, TxConnectSpeed: 28800, RxConnectSpeed: 33600, FramingType: 2, SequencingRequired: true}}); !reflect.DeepEqual(event, want) {
		t.Errorf("event %+v, expected %+v", event, want)
	}

	s = answered(t, Config{PlacesCalls: true})
	s.m.Handle(s.now, packet(ourTunnel, 0, 2, 1, ocrq(9, func(m *wire.Message) {
		m.CallSerialNumber, m.SubAddress, m.MinimumBPS = 77, "4", 9600
	}).Append(nil)))
	_, event, _ = s.m.Next()
	if want := (OutgoingCallRequest{1, 9, 77, OutgoingCall{CalledNumber: "123", SubAddress: "4", MinimumBPS: 9600, MaximumBPS: 64000, BearerType: 1, FramingType: 1}}); event != want {
		t.Errorf("event %+v, expected %+v", event, want)
	}
	s.do(func(now time.Time) {
		s.m.AcceptCall(now, 1) // it is not this question's answer
		s.m.AcceptOutgoing(now, 1)
		s.m.AcceptOutgoing(now, 1) // again
	})
	s.want("100ms OCRP ns=1 nr=3 session=9", "100ms OCCN ns=2 nr=3 session=9", "100ms SessionUp 1 peer=9")
	if m := s.last; m.TxConnectSpeed != 64000 || m.FramingType != wire.FramingSync || m.Has(wire.AVPRxConnectSpeed) || m.Has(wire.AVPSequencingRequired) {
		t.Errorf("OCCN is %+v", m)
	}
	s.zlb()
	s.do(func(now time.Time) { s.m.Hangup(now, 1, wire.Result{Code: wire.CallLostCarrier}) })
	s.want("100ms CDN ns=3 nr=3 session=9 result=1/0", "100ms SessionDown 1 <nil>")
}

// Who is LAC is in SessionUp, whoever has begun: and what the LAC told is there
// for both ends.
func TestSessionUpTellsWhoIsLAC(t *testing.T) {
	for name, tc := range map[string]struct {
		begin func(p *pair)
		lac   int // the end that is it
	}{
		"Call":      {func(p *pair) { p.call(p.ends[0]) }, 0},
		"PlaceCall": {func(p *pair) { p.place(p.ends[0]) }, 1},
	} {
		p := newPair(t, 1, Config{}, Config{PlacesCalls: true})
		tc.begin(p)
		p.run(time.Second)
		for i, e := range p.ends {
			if len(e.order) != 1 || !e.sessions[e.order[0]].up {
				t.Fatalf("%s: %s has no session", name, e.name)
			}
			if got := e.sessions[e.order[0]].lac; got != (i == tc.lac) {
				t.Errorf("%s: %s is LAC: %v", name, e.name, got)
			}
		}
	}
}

// RFC 2661 §7.5.1: "idle, Receive OCRQ, not acceptable: Send CDN, Clean up".
func TestOutgoingCallIsRefused(t *testing.T) {
	s := answered(t, Config{})
	s.peer(0, ocrq(9))
	s.want("100ms CDN ns=1 nr=3 session=9 result=5/0")

	s = answered(t, Config{PlacesCalls: true, MaxSessions: 1})
	s.peer(0, ocrq(9))
	s.peer(0, ocrq(10))
	s.do(func(now time.Time) { s.m.Hangup(now, 1, wire.Result{Code: wire.CallBusy}) })
	s.want("100ms OutgoingCallRequest 1 peer=9 123", "100ms CDN ns=1 nr=4 session=10 result=4/4",
		"100ms CDN ns=2 nr=4 session=9 result=8/0", "100ms SessionDown 1 <nil>")
	s.do(func(now time.Time) { s.m.AcceptOutgoing(now, 1) }) // too late
	s.want()
}

// RFC 2661 §4.4.3, Bearer Capabilities: "This AVP MUST be present if the sender
// can place outgoing calls when requested."
func TestBearerCapabilities(t *testing.T) {
	for _, places := range []bool{false, true} {
		dialler := newScript(t, Dial, Config{PlacesCalls: places})
		answerer := newScript(t, Answer, Config{PlacesCalls: places})
		answerer.peer(0, sccrq())
		for _, m := range []*wire.Message{dialler.last, answerer.last} {
			if m.Has(wire.AVPBearerCapabilities) != places || places && m.BearerCapabilities != 3 {
				t.Errorf("%v of one who places calls (%v): %+v", m.Type, places, m)
			}
		}
	}
}

// RFC 2661 §6.9: "An LNS MUST have received a Bearer Capabilities AVP during
// tunnel establishment from an LAC in order to request an outgoing call to that
// LAC." §4.4.4: "Bits […] MUST only be set by the LNS for an OCRQ if it was set in
// the Bearer Capabilities AVP received from the LAC".
func TestOutgoingCallNeedsCapabilities(t *testing.T) {
	for _, tc := range []struct {
		bearers, framings uint32 // the peer's
		call              OutgoingCall
		want              string // "": it is asked
	}{
		{0, 3, OutgoingCall{}, "the peer places no calls: it has told no Bearer Capabilities"},
		// "An LNS that cannot act as an LAC as well […] should therefore set the A
		// and D bits of this AVP to 0, or should not send the AVP at all" (§4.4.3).
		{1 << 31, 3, OutgoingCall{}, "the peer places no calls: it has told no Bearer Capabilities"},
		{1, 3, OutgoingCall{}, ""},
		{1, 3, OutgoingCall{BearerType: 2}, "the peer cannot place this call: its Bearer Capabilities are 0x1, it needs 0x2"},
		{2, 3, OutgoingCall{BearerType: 2}, ""},
		{3, 1, OutgoingCall{FramingType: 3}, "the peer cannot place this call: its Framing Capabilities are 0x1, it needs 0x3"},
		{3, 0, OutgoingCall{}, "the peer places no calls: it has told no Framing Capabilities"},
	} {
		s := newScript(t, Dial, Config{})
		s.peer(0, sccrp(func(m *wire.Message) { m.BearerCapabilities, m.FramingCapabilities = tc.bearers, tc.framings }))
		s.zlb()
		s.lines = nil
		s.do(func(now time.Time) { s.m.PlaceCall(now, tc.call); s.m.Call(now, CallConfig{}) }) // the next one goes its way
		if tc.want != "" {
			s.want("0s SessionDown 1 "+tc.want, "0s ICRQ ns=2 nr=1")
			continue
		}
		if s.lines[0] != "0s OCRQ ns=2 nr=1" {
			t.Errorf("%+v: did %q", tc, s.lines)
		}
	}
	var e *CapabilityError
	if !errors.As(error(&CapabilityError{Attribute: wire.AVPBearerCapabilities}), &e) {
		t.Error("a CapabilityError is none")
	}
	// Without wishes, all that the peer can will do.
	s := newScript(t, Dial, Config{})
	s.peer(0, sccrp(func(m *wire.Message) { m.BearerCapabilities, m.FramingCapabilities = 2, 3 }))
	s.zlb()
	s.do(func(now time.Time) { s.m.PlaceCall(now, OutgoingCall{}) })
	if m := s.last; m.BearerType != 2 || m.FramingType != 3 || m.MaximumBPS != connectSpeed || !m.Has(wire.AVPCalledNumber) {
		t.Errorf("OCRQ is %+v", m)
	}
}

// A LAC that acknowledges OCRQ and says no more, and one whose call rings for
// ever.
func TestOutgoingCallTimeouts(t *testing.T) {
	s := inOutgoingState(t, waitReply, false)
	s.run(31 * time.Second)
	if got := strings.Join(s.lines, ", "); !strings.Contains(got, "30s CDN") || !strings.Contains(got, "the peer did not answer OCRQ: no OCRP within 30s") {
		t.Errorf("did %s", got)
	}
	s = inOutgoingState(t, waitConnect, false)
	s.run(31 * time.Second)
	if got := strings.Join(s.lines, ", "); !strings.Contains(got, "30s CDN") || !strings.Contains(got, "the peer did not answer OCRQ: no OCCN within 30s") {
		t.Errorf("did %s", got)
	}
}

// Two sessions of one peer's cannot have one id: as for incoming calls.
func TestOutgoingCallDuplicatePeerSession(t *testing.T) {
	s := inOutgoingState(t, waitConnect, false)
	s.do(func(now time.Time) { s.m.PlaceCall(now, OutgoingCall{}) })
	s.lines = nil
	s.peer(2, ocrp(9))
	if got := strings.Join(s.lines, ", "); !strings.Contains(got, "CDN") || !strings.Contains(got, "SessionDown 2") {
		t.Errorf("did %s, expected the second call to be cleared", got)
	}
}
