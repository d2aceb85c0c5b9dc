package control

import (
	"bytes"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// What peers in the field do, by their names.

// xl2tpd acknowledges ICCN with a ZLB whose header has the session id, where RFC
// 2661 §5.8 has ZLBs be about the tunnel.
func TestXl2tpdZLBWithSessionID(t *testing.T) {
	s := inCallState(t, callEstablished, true)
	for _, session := range []uint32{1, 9, 77} {
		s.handle(packet(ourTunnel, session, s.ns, s.nr, nil))
	}
	if n := len(s.m.reliable.queue); n != 0 {
		t.Errorf("%d messages are not acknowledged, expected ICCN to be", n)
	}
	s.run(50 * time.Second)
	s.want() // no ZLB was answered, and nothing was sent again
}

// D-Link sends tunnel id 0 in messages to a tunnel whose id it knows. The owner
// finds the tunnel by the address; to the tunnel they are as good as others.
func TestDLinkTunnelIDZero(t *testing.T) {
	s := newScript(t, Dial, Config{})
	at := func(ns uint16, session uint32, m *wire.Message) {
		s.handle(packet(0, session, ns, s.nr, m.Append(nil)))
	}
	at(0, 0, sccrp())
	s.handle(packet(0, 0, 1, s.nr, nil))
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	at(1, 1, icrp(9))
	at(2, 1, cdn(9, wire.Result{Code: 1}))
	at(3, 0, stopccn(wire.Result{Code: 1}))
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s SCCCN ns=1 nr=1", "0s TunnelUp peer=7 lns", "0s ICRQ ns=2 nr=1",
		"0s ICCN ns=3 nr=2 session=9", "0s SessionUp 1 peer=9",
		"0s SessionDown 1 the peer ended the call: result 1: loss of carrier",
		"0s ZLB ns=4 nr=4", "0s TunnelDown the peer ended the tunnel: result 1: control connection cleared on request")
}

// RFC 2661 §5.3: "For the cases where a Session ID has not yet been assigned by the
// peer […], the Session ID field MUST be sent as 0, and the Assigned Session ID AVP
// within the message MUST be used to identify the session." So a LAC that gives up
// before ICRP has come, and so an LNS that has asked for an outgoing call.
func TestCDNWithSessionIDZero(t *testing.T) {
	s := inCallState(t, waitConnect, false)
	s.peer(0, cdn(9, wire.Result{Code: 3}))
	s.want("100ms SessionDown 1 the peer refused the call: result 3: disconnected for administrative reasons")
	s = inOutgoingState(t, ringing, true)
	s.peer(0, cdn(9, wire.Result{Code: 3}))
	s.want("0s SessionDown 1 the peer refused the call: result 3: disconnected for administrative reasons")
	s = inCallState(t, callEstablished, false)
	s.peer(0, cdn(10, wire.Result{Code: 3})) // another one's
	s.want()
}

// A StopCCN of a peer that has not heard our id yet has tunnel id 0 (§4.4.3), and
// the owner finds the tunnel by the Assigned Tunnel ID in it.
func TestStopCCNWithTunnelIDZero(t *testing.T) {
	s := newScript(t, Answer, Config{})
	s.peer(0, sccrq())
	s.handle(packet(0, 0, 1, 0, stopccn(wire.Result{Code: 6}).Append(nil)))
	s.want("0s SCCRP ns=0 nr=1", "0s ZLB ns=1 nr=2", "0s TunnelDown the peer refused the tunnel: result 6: shutting down")
}

// WatchGuard clears a call whose ICCN has Rx Connect Speed.
func TestWatchGuardAndRxConnectSpeed(t *testing.T) {
	dial := func(line Line) *script {
		s := dialled(t, Config{}, 0)
		s.do(func(now time.Time) { s.m.Call(now, CallConfig{Line: line}) })
		s.peer(1, icrp(9))
		if s.last.Has(wire.AVPRxConnectSpeed) {
			s.peer(1, cdn(9, wire.Result{Code: 2, Error: 6}))
		}
		s.run(time.Second)
		return s
	}
	if s := dial(Line{}); s.m.calls.byID[1] == nil {
		t.Errorf("WatchGuard has refused the call: %q", s.lines)
	}
	if s := dial(Line{RxConnectSpeed: 1e6}); s.m.calls.byID[1] != nil { // asked for
		t.Errorf("WatchGuard has taken the call: %q", s.lines)
	}
}

// SoftEther ignores a Challenge: whoever has a tunnel secret cannot use it, and is
// told why.
func TestSoftEtherIgnoresTheChallenge(t *testing.T) {
	s := newScript(t, Dial, Config{Secret: []byte("s")})
	s.peer(0, sccrp())
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s StopCCN ns=1 nr=1 result=4/0", "0s TunnelDown "+NoResponse.Error())
	if s.m.err != NoResponse {
		t.Errorf("the error is %#v, expected NoResponse", s.m.err)
	}
}

// SoftEther drops a message with a hidden AVP. What it drops is not acknowledged;
// SCCRQ has none, so that it is at least heard.
func TestSoftEtherDropsHiddenAVPs(t *testing.T) {
	s := newScript(t, Dial, Config{Secret: []byte("s"), HideAVPs: true})
	s.peer(0, sccrp(func(m *wire.Message) {
		m.Challenge = []byte("x")
		m.ChallengeResponse = response(2, "s", s.last.Challenge)
	}))
	s.run(31 * time.Second)
	if got, want := s.lines[len(s.lines)-2], "31s TunnelDown the peer stopped answering: no acknowledgement of SCCCN within 31s"; got != want {
		t.Errorf("did %q, expected %q", got, want)
	}
}

// SoftEther sends again every 0.5 s, without backing off. It gets one answer, and
// acknowledgements that are coalesced.
func TestSoftEtherRetransmitsFast(t *testing.T) {
	s := answered(t, Config{})
	s.peer(0, icrq(9))
	for n := range uint16(4) {
		s.run(500 * time.Millisecond)
		s.peerAt(2, 1, 0, icrq(9).Append(nil))
		s.peerAt(2, 1, 0, icrq(9).Append(nil))
		if n == 1 {
			s.do(func(now time.Time) { s.m.AcceptCall(now, 1) })
		}
	}
	s.run(time.Second)
	s.want("100ms IncomingCall 1 peer=9", "200ms ZLB ns=1 nr=3", "700ms ZLB ns=1 nr=3",
		"1.1s ICRP ns=1 nr=3 session=9", "1.7s ZLB ns=2 nr=3", "2.1s ICRP ns=1 nr=3 session=9", "2.2s ZLB ns=2 nr=3")
}

// Android 9 and 10 are said never to answer HELLO. Without it, such a tunnel lives
// for as long as somebody uses it.
func TestAndroidNeverAnswersHello(t *testing.T) {
	s := answered(t, Config{HelloInterval: -1})
	s.peer(0, icrq(9))
	s.do(func(now time.Time) { s.m.AcceptCall(now, 1) })
	s.peer(1, iccn())
	s.zlb()
	s.lines = nil
	s.run(7 * 24 * time.Hour)
	s.want("200ms ZLB ns=2 nr=4")
	if !s.m.Deadline().IsZero() {
		t.Errorf("something is due in a tunnel that is quiet")
	}

	s = answered(t, Config{}) // with it, the tunnel is lost
	s.run(time.Hour)
	s.wantState(gone)
}

// Cisco announces windows of hundreds and thousands of messages. More than 64 are
// never on their way.
func TestCiscoWindow(t *testing.T) {
	for announced, want := range map[uint16]int{20050: 64, 1024: 64, 800: 64, 8: 8} {
		s := dialled(t, Config{}, announced)
		if s.m.reliable.window != want {
			t.Errorf("window %d is used as %d, expected %d", announced, s.m.reliable.window, want)
		}
		for range 200 {
			for s.m.sendMessage(s.now, 0, 0, &wire.Message{Type: wire.HELLO}); len(s.m.reliable.queue) < s.m.reliable.cfg.SendQueue; {
				s.m.sendMessage(s.now, 0, 0, &wire.Message{Type: wire.HELLO})
			}
			if s.m.reliable.next > want {
				t.Fatalf("%d on their way", s.m.reliable.next)
			}
			s.m.Handle(s.now, packet(ourTunnel, 0, s.ns, s.m.reliable.una+1, nil))
		}
	}
}

// Some peers put a Random Vector into every message, whether something is hidden or
// not, and whether there is a secret or not.
func TestRandomVectorWithoutHiddenAVPs(t *testing.T) {
	vector := append([]byte{0x80, 22, 0, 0, 0, 36}, bytes.Repeat([]byte{7}, 16)...)
	with := func(m *wire.Message) []byte {
		avps := m.Append(nil)
		return append(append(append([]byte{}, avps[:8]...), vector...), avps[8:]...)
	}
	for _, secret := range [][]byte{nil, []byte("s")} {
		s := newScript(t, Answer, Config{Secret: secret})
		s.peerAt(0, 0, 0, with(sccrq()))
		s.want("0s SCCRP ns=0 nr=1")
		m := &wire.Message{Type: wire.SCCCN}
		if secret != nil {
			m.ChallengeResponse = response(3, "s", s.last.Challenge)
		}
		s.peerAt(1, 1, 0, with(m))
		s.peerAt(2, 1, 0, with(icrq(9)))
		s.want("0s TunnelUp peer=7 lac", "0s IncomingCall 1 peer=9")
	}
}

// A Random Vector serves all hidden AVPs that follow, until the next one.
// AppendHidden has one for each message; here one half of ICRQ has another.
func TestSeveralRandomVectors(t *testing.T) {
	s := newScript(t, Answer, Config{Rand: chacha(1), Secret: []byte("s")})
	s.peer(0, sccrq())
	s.peer(0, &wire.Message{Type: wire.SCCCN, ChallengeResponse: response(3, "s", s.last.Challenge)})
	s.lines = nil
	whole := icrq(9)
	whole.CallSerialNumber, whole.CalledNumber, whole.CallingNumber = 77, "123", "456"
	other := *whole
	first := whole.AppendHidden(nil, []byte("s"), chacha(2))
	second := other.AppendHidden(nil, []byte("s"), chacha(3))
	var avps []byte
	take := func(b []byte, wanted func(wire.AVP) bool) {
		for d := wire.NewAVPs(b); d.Next(); {
			if a := d.AVP(); wanted(a) {
				bits := byte(0x80)
				if a.Hidden {
					bits |= 0x40
				}
				avps = append(append(avps, bits, byte(6+len(a.Value)), 0, 0, byte(a.Type>>8), byte(a.Type)), a.Value...)
			}
		}
	}
	take(first, func(a wire.AVP) bool { return a.Type != wire.AVPCalledNumber && a.Type != wire.AVPCallingNumber })
	take(second, func(a wire.AVP) bool {
		return a.Type == wire.AVPRandomVector || a.Type == wire.AVPCalledNumber || a.Type == wire.AVPCallingNumber
	})
	s.m.Handle(s.now, packet(ourTunnel, 0, s.ns, s.nr, avps))
	_, event, _ := s.m.Next()
	if call, ok := event.(IncomingCall); !ok || call.PeerSession != 9 || call.CallSerialNumber != 77 || call.CalledNumber != "123" || call.CallingNumber != "456" {
		t.Errorf("event %+v", event)
	}
}
