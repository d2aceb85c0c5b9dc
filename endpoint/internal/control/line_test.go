package control

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// aLine is all that a LAC can tell.
func aLine() Line {
	return Line{
		PhysicalChannelID: 5, TxConnectSpeed: 28800, RxConnectSpeed: 33600, FramingType: wire.FramingAsync,
		SequencingRequired: true, PrivateGroupID: []byte("group"),
		Proxy: &Proxy{
			InitialReceivedLCPConfReq: []byte{1, 4, 5, 0}, LastSentLCPConfReq: []byte{3, 4, 0xc0, 0x23}, LastReceivedLCPConfReq: []byte{1, 4, 5, 1},
			ProxyAuthenType: wire.ProxyAuthenCHAP, ProxyAuthenName: "alice", ProxyAuthenChallenge: []byte("challenge"),
			ProxyAuthenID: 7, ProxyAuthenResponse: []byte("response"),
		},
	}
}

// RFC 2661 §4.4.4 to §4.4.6: what a LAC tells of a call, and of whom it has
// spoken with before, is what the LNS hears.
func TestLACTellsOfItsLine(t *testing.T) {
	lac := newScript(t, Dial, Config{})
	lac.peer(0, sccrp())
	lac.zlb()
	lac.do(func(now time.Time) {
		lac.m.Call(now, CallConfig{BearerType: wire.BearerAnalog, CalledNumber: "123", CallingNumber: "456", SubAddress: "7", Line: aLine()})
	})
	icrq := lac.last
	icrq.AssignedSessionID = 9
	lac.m.Handle(lac.now, packet(ourTunnel, 1, 1, 3, icrp(9).Append(nil)))
	var up Event
	for {
		p, event, ok := lac.m.Next()
		if !ok {
			break
		}
		if event != nil {
			up = event
			continue
		}
		lac.describePacket(p)
	}
	if want := (SessionUp{Session: 1, PeerSession: 9, LAC: true, Line: aLine()}); !reflect.DeepEqual(up, want) {
		t.Errorf("the LAC's event is %+v, expected %+v", up, want)
	}
	iccn := lac.last

	lns := answered(t, Config{})
	lns.m.Handle(lns.now, packet(ourTunnel, 0, 2, 1, icrq.Append(nil)))
	_, event, _ := lns.m.Next()
	if want := (IncomingCall{1, 9, icrq.CallSerialNumber, wire.BearerAnalog, 5, "123", "456", "7", nil}); event != want {
		t.Errorf("the LNS's event is %+v, expected %+v", event, want)
	}
	lns.do(func(now time.Time) { lns.m.AcceptCall(now, 1) })
	lns.m.Handle(lns.now, packet(ourTunnel, 1, 3, 2, iccn.Append(nil)))
	_, event, _ = lns.m.Next()
	if want := (SessionUp{Session: 1, PeerSession: 9, LAC: false, Line: aLine()}); !reflect.DeepEqual(event, want) {
		t.Errorf("the LNS's event is %+v, expected %+v", event, want)
	}
}

// Nothing is told of a line that there is not, and no Rx Connect Speed unless
// asked for: see TestWatchGuard.
func TestCallWithoutALine(t *testing.T) {
	s := inCallState(t, waitReply, true)
	if s.last.Has(wire.AVPBearerType) || s.last.Has(wire.AVPPhysicalChannelID) || s.last.Has(wire.AVPCalledNumber) {
		t.Errorf("ICRQ is %+v", s.last)
	}
	s.peer(1, icrp(9))
	want := &wire.Message{Type: wire.ICCN, TxConnectSpeed: connectSpeed, FramingType: wire.FramingSync}
	if s.last.Type != wire.ICCN || !bytes.Equal(s.last.Append(nil), want.Append(nil)) {
		t.Errorf("ICCN is %+v", s.last)
	}
}

// RFC 2661 §4.4.5 has AVPs present by the type of the authentication, of which 0
// and nothing are values too.
func TestProxyAuthenticationIsComplete(t *testing.T) {
	for kind, want := range map[uint16][3]bool{ // name, ID, response
		0:                      {false, false, false},
		wire.ProxyAuthenText:   {true, false, true},
		wire.ProxyAuthenCHAP:   {true, true, true},
		wire.ProxyAuthenPAP:    {true, true, true},
		wire.ProxyAuthenNone:   {false, false, false},
		wire.ProxyAuthenMSCHAP: {true, true, true},
	} {
		m := (&Line{Proxy: &Proxy{ProxyAuthenType: kind}}).connected(wire.ICCN)
		parsed, err := wire.ParseMessage(m.Append(nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]bool{parsed.Has(wire.AVPProxyAuthenName), parsed.Has(wire.AVPProxyAuthenID), parsed.Has(wire.AVPProxyAuthenResponse)}; got != want {
			t.Errorf("type %d: name, ID and response are there: %v, expected %v", kind, got, want)
		}
	}
}

// What a peer has told with 1,017 octets does not fit into an AVP when it is
// hidden: it is not told at all, since half of it would be wrong.
func TestHostileOversizedProxy(t *testing.T) {
	for name, set := range map[string]func(*Proxy, int){
		"Initial Received LCP CONFREQ": func(p *Proxy, n int) { p.InitialReceivedLCPConfReq = make([]byte, n) },
		"Last Sent LCP CONFREQ":        func(p *Proxy, n int) { p.LastSentLCPConfReq = make([]byte, n) },
		"Last Received LCP CONFREQ":    func(p *Proxy, n int) { p.LastReceivedLCPConfReq = make([]byte, n) },
		"Proxy Authen Name":            func(p *Proxy, n int) { p.ProxyAuthenName = strings.Repeat("x", n) },
		"Proxy Authen Challenge":       func(p *Proxy, n int) { p.ProxyAuthenChallenge = make([]byte, n) },
		"Proxy Authen Response":        func(p *Proxy, n int) { p.ProxyAuthenResponse = make([]byte, n) },
	} {
		for _, n := range []int{1015, 1016, 1017, 65535} {
			line := aLine()
			set(line.Proxy, n)
			for _, hide := range []bool{false, true} {
				tunnel := newTunnel(Config{Rand: zeros{}, LocalID: 1, Secret: []byte("s"), HideAVPs: hide})
				m, err := wire.ParseMessage(tunnel.encode(0, line.connected(wire.ICCN))[wire.ControlHeaderLen:], []byte("s"))
				if err != nil {
					t.Fatal(err)
				}
				if told := proxyOf(m); (told != nil) != (n <= 1015) || told != nil && !reflect.DeepEqual(told, line.Proxy) {
					t.Errorf("%s of %d octets: told %+v", name, n, told)
				}
			}
		}
	}
	line := aLine()
	line.PrivateGroupID = make([]byte, 1016)
	if m := line.connected(wire.ICCN); m.PrivateGroupID != nil || proxyOf(m) == nil && m.ProxyAuthenName == "" {
		t.Errorf("ICCN is %+v", m)
	}
}

// A LAC that asks for a speed of its own gets no line below or above it.
func TestOutgoingCallSpeed(t *testing.T) {
	for _, tc := range []struct{ low, high, want uint32 }{
		{0, 64000, 64000}, {0, 1<<32 - 1, connectSpeed}, {2e9, 3e9, 2e9}, {9600, 0, 9600},
	} {
		s := answered(t, Config{PlacesCalls: true})
		s.peer(0, ocrq(9, func(m *wire.Message) { m.MinimumBPS, m.MaximumBPS = tc.low, tc.high }))
		s.do(func(now time.Time) { s.m.AcceptOutgoing(now, 1) })
		if s.last.TxConnectSpeed != tc.want {
			t.Errorf("%d to %d: connected with %d, expected %d", tc.low, tc.high, s.last.TxConnectSpeed, tc.want)
		}
	}
}

// RFC 2661 §6.13 and §6.14: WEN is the LAC's, SLI the LNS's.
func TestLineReports(t *testing.T) {
	wen := &wire.Message{Type: wire.WEN, CallErrors: wire.CallErrors{CRC: 1, Timeouts: 2}}
	sli := &wire.Message{Type: wire.SLI, ACCM: wire.ACCM{Send: 3, Receive: 4}}
	const (
		heardWEN = "100ms WANError 1 {CRC:1 Framing:0 HardwareOverruns:0 BufferOverruns:0 Timeouts:2 Alignment:0}"
		heardSLI = "100ms LinkInfo 1 {Send:3 Receive:4}"
	)
	for name, tc := range map[string]struct {
		s    *script
		want []string
	}{
		"LNS of an incoming call": {inCallState(t, callEstablished, false), []string{heardWEN}},
		"LAC of an incoming call": {inCallState(t, callEstablished, true), []string{heardSLI}},
		"LNS of an outgoing call": {inOutgoingState(t, callEstablished, false), []string{strings.Replace(heardWEN, "100ms", "0s", 1)}},
		"LAC of an outgoing call": {inOutgoingState(t, callEstablished, true), []string{strings.Replace(heardSLI, "100ms", "0s", 1)}},
		"before it stands":        {inCallState(t, waitConnect, false), nil},
		"while it rings":          {inCallState(t, ringing, false), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := tc.s
			for range 2 {
				s.peer(1, wen)
				s.peer(1, sli)
				s.peer(5, wen) // of nobody
				s.peer(0, sli)
			}
			s.want(append(tc.want, tc.want...)...)
			s.wantState(established)
			if len(s.m.calls.byID) != 1 {
				t.Errorf("%d sessions, expected 1", len(s.m.calls.byID))
			}
		})
	}
}

// CSUN and CSURQ (RFC 5515) have no M bit: they do no harm in any state, as broken
// as they may be.
func TestConnectSpeedUpdatesAreIgnored(t *testing.T) {
	for _, message := range []wire.MessageType{wire.CSUN, wire.CSURQ} {
		update := &wire.Message{Type: message, ConnectSpeedUpdates: []wire.ConnectSpeedUpdate{{}}}
		for _, avps := range [][]byte{
			update.Append(nil),
			update.Append(nil)[:8], // without an update
			append(update.Append(nil), 0x80, 8, 0, 0, 0, 99, 1, 2),
		} {
			for _, s := range []*script{
				inCallState(t, callEstablished, false), inCallState(t, waitReply, true), inOutgoingState(t, waitConnect, false),
				inState(t, waitCtlReply), inState(t, waitCtlConn),
			} {
				before, calls := s.m.state, len(s.m.calls.byID)
				s.ns++
				s.peerAt(s.ns-1, s.nr, min(uint32(calls), 1), avps)
				s.want()
				s.wantState(before)
				if c := s.m.Counters(); len(s.m.calls.byID) != calls || c.IgnoredMessage != 1 {
					t.Errorf("%v: %d sessions, counted %+v", message, len(s.m.calls.byID), c)
				}
			}
		}
	}
}

// What a CDN says of the telephone network (RFC 2661 §4.4.4) and of PPP (RFC 3145)
// is in the words, quoted.
func TestCauses(t *testing.T) {
	for _, tc := range []struct {
		q    wire.Q931Cause
		d    wire.DisconnectCause
		want string
	}{
		{want: "the peer refused the call: result 1: loss of carrier"},
		{q: wire.Q931Cause{Code: 17, Message: 0x45}, want: "the peer refused the call: result 1: loss of carrier; Q.931 cause 17: user busy"},
		{q: wire.Q931Cause{Code: 5, Advisory: "later\x1b[2J"}, want: `the peer refused the call: result 1: loss of carrier; Q.931 cause 5; "later\x1b[2J"`},
		{d: wire.DisconnectCause{Code: 16, Protocol: 0xc223, Direction: 1, Message: "who?"},
			want: "the peer refused the call: result 1: loss of carrier; PPP cause 16: authentication failed, bad name, password or secret; of the peer; PPP protocol 0xc223; \"who?\""},
		{q: wire.Q931Cause{Code: 16}, d: wire.DisconnectCause{Code: 1},
			want: "the peer refused the call: result 1: loss of carrier; Q.931 cause 16: normal call clearing; PPP cause 1: administrative disconnect"},
	} {
		s := inCallState(t, waitReply, true)
		m := cdn(9, wire.Result{Code: 1})
		m.Q931Cause, m.DisconnectCause = tc.q, tc.d
		s.peer(1, m)
		s.want("100ms SessionDown 1 " + tc.want)
	}

	s := inCallState(t, callEstablished, false)
	m := cdn(9, wire.Result{Code: 2, HasError: true, Error: 4, Text: "full"})
	m.Q931Cause = wire.Q931Cause{Code: 34}
	s.m.Handle(s.now, packet(ourTunnel, 1, s.ns, s.nr, m.Append(nil)))
	_, event, _ := s.m.Next()
	var e *PeerError
	if down, ok := event.(SessionDown); !ok || !errors.As(down.Err, &e) || e.Q931Cause.Code != 34 || e.Result.Error != 4 || e.Refused {
		t.Errorf("event %+v", event)
	}
}
