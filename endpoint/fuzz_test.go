package endpoint

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// FuzzReceive has an endpoint that dials and answers, with a session up and static
// sessions of L2TPv3 beside it and a control connection of L2TPv3, take any datagrams from those sessions' own peer, who
// knows the ids and the cookies, and from a stranger, who does not. Each datagram of the
// input is preceded by its length. Nothing may panic; sessions of another peer stand at
// the end, and carry frames.
func FuzzReceive(f *testing.F) {
	for _, name := range capture.Names() {
		var input []byte
		for i, p := range capture.Load(f, name) {
			if i == 40 {
				break
			}
			if len(p.Payload) < 256 {
				input = append(append(input, byte(len(p.Payload))), p.Payload...)
			}
		}
		f.Add(input, false)
		f.Add(input, true)
	}
	v3 := []byte("\x12\x00\x03\x00\x00\x00\x00\x00\x01abcd\x40\x00\x00\x05\x00\x00")
	for _, id := range []byte{1, 2, 3, 4, 5} {
		for _, number := range []byte{5, 7, 6, 8} {
			v3[8], v3[16] = id, number
			f.Add(append(slices.Clone(v3), append([]byte{0x22}, append(v3[1:17], frame("\x00\x01\x45\x00")...)...)...), true)
		}
	}
	// Control messages of L2TPv3, in the order of a session's life and in others.
	call := wire.V3{PseudowireType: 5, RemoteEndID: []byte("any"), CircuitStatus: 1, Digests: []wire.DigestType{0}}
	line := []byte{}
	for _, m := range []*wire.Message{
		{Type: wire.ICRQ, AssignedSessionID: 77, CallSerialNumber: 1, V3: call},
		{Type: wire.ICCN, AssignedSessionID: 77, V3: wire.V3{Digests: call.Digests, Sublayer: 1, DataSequencing: 2}},
		{Type: wire.SLI, AssignedSessionID: 77, V3: wire.V3{Digests: call.Digests}},
		{Type: wire.WEN, AssignedSessionID: 77, V3: wire.V3{Digests: call.Digests}},
		{Type: wire.OCRQ, AssignedSessionID: 78, CallSerialNumber: 2, V3: call},
		{Type: wire.CDN, AssignedSessionID: 77, Result: wire.Result{Code: 3}, V3: wire.V3{Digests: call.Digests}},
		{Type: wire.HELLO, V3: wire.V3{Digests: call.Digests}},
		{Type: wire.ACK, V3: wire.V3{Digests: call.Digests}},
		{Type: wire.StopCCN, AssignedTunnelID: 7, Result: wire.Result{Code: 1}, V3: wire.V3{Digests: call.Digests}},
		sccrqV3(9),
	} {
		b := m.AppendV3(wire.AppendV3ControlHeader(nil, 0, 0, 0))
		wire.SetLength(b)
		f.Add(append([]byte{byte(len(b))}, b...), true)
		line = append(append(line, byte(len(b))), b...)
	}
	f.Add(line, true)
	f.Add(line, false)
	f.Fuzz(func(t *testing.T, input []byte, insider bool) {
		synctest.Test(t, func(t *testing.T) { fuzzReceive(t, input, insider) })
	})
}

func fuzzReceive(t *testing.T, input []byte, insider bool) {
	n := simnet.New(1)
	lns := answeringV3(t, n, 1, func(a *AnswerConfig) { a.PlacesCalls = true })
	defer lns.Close()
	connect := func(address string) (*Endpoint, *Session) {
		lac := host(t, n, address, &Config{Rand: random(2, address[8])})
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		s, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
		if err != nil {
			t.Fatal(err)
		}
		return lac, s
	}
	honestLAC, honest := connect("192.0.2.3:1701")
	defer honestLAC.Close()
	lac, session := connect("192.0.2.4:1701")
	defer lac.Close()
	var mine *Session // the session that the input is about, at the answering end
	for range 2 {
		s, err := lns.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.PeerAddress() == session.Addresses()[0].Addr() {
			mine = s
		}
		s.Attach(s) // what comes in goes out again
	}

	fuzzed := staticsToFuzz(t, lns, "192.0.2.4:1701")
	staticHonest := static(t, honestLAC, lnsAddr, &StaticConfig{SessionID: 1, PeerSessionID: 1, Sequencing: SequencingBoth})
	echo := static(t, lns, "192.0.2.3:1701", &StaticConfig{SessionID: 1, PeerSessionID: 1, Sequencing: SequencingBoth})
	echo.Attach(echo)

	caller := &script3{wiretap: tapped(t, n, "192.0.2.6:1701", lnsAddr), secret: "tunsecret"}
	caller.tunnel(7)
	negotiated := dialV3(t, honestLAC, nil)
	third, fourth := openV3(t, negotiated, lns, nil)
	fourth.Attach(fourth)

	from, err := n.Listen("192.0.2.5:1701")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(lnsAddr))
	for len(input) > 0 {
		k := min(int(input[0]), len(input)-1)
		datagram := append([]byte(nil), input[1:1+k]...)
		input = input[1+k:]
		if v, _ := wire.Version(datagram); v == 3 && insider && len(datagram) >= wire.V3ControlHeaderLen && datagram[0]&0x80 != 0 {
			// The next of the caller's control connection, with the right digest, where
			// there is one.
			copy(datagram[4:], []byte{byte(caller.peer >> 24), byte(caller.peer >> 16), byte(caller.peer >> 8), byte(caller.peer)})
			wire.SetLength(datagram)
			wire.SetSequence(datagram, caller.ns, uint16(datagram[11]))
			caller.sign(datagram, false)
			if len(datagram) > wire.V3ControlHeaderLen {
				caller.ns++
			}
			caller.conn.WriteTo(datagram, caller.to)
			time.Sleep(time.Millisecond)
			continue
		}
		if v, _ := wire.Version(datagram); v == 3 && insider && len(datagram) > 12 {
			// A session's own id, and its cookie.
			datagram[4], datagram[5], datagram[6], datagram[7] = 0, 0, 0, datagram[7]%byte(len(fuzzed)+2)
			copy(datagram[8:], fuzzCookie)
		}
		if insider {
			// The peer's own ids, in whichever header the datagram has.
			if h, _, err := wire.ParseHeader(datagram); err == nil {
				at := 2
				if datagram[0]&0x40 != 0 {
					at = 4
				}
				datagram[at], datagram[at+1] = byte(mine.tunnel.id>>8), byte(mine.tunnel.id)
				if h.SessionID != 0 {
					datagram[at+2], datagram[at+3] = byte(mine.id>>8), byte(mine.id)
				}
			}
			lac.write(datagram, lac.pathTo(to.AddrPort(), netip.Addr{}))
		} else {
			from.WriteTo(datagram, to)
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Second)

	if err := honest.Err(); err != nil {
		t.Fatalf("the honest peer's session has ended: %v", err)
	}
	sink, got := collect()
	honest.Attach(sink)
	put(honest, packet("still here"))
	wantPacket(t, got, packet("still here"))
	sink, got = collect()
	staticHonest.Attach(sink)
	put(staticHonest, frame("still here"))
	wantPacket(t, got, frame("still here"))
	sink, got = collect()
	third.Attach(sink)
	put(third, frame("still here"))
	wantPacket(t, got, frame("still here"))
	for _, s := range fuzzed {
		if err := s.Err(); err != nil {
			t.Errorf("a static session of %v has ended: %v", s.Type(), err)
		}
	}
	if !insider && session.Err() != nil {
		t.Errorf("a stranger ended a session: %v", session.Err())
	}
}

var fuzzCookie = []byte("abcd")

// staticsToFuzz are sessions of many kinds, with identifiers from 1 on, that send what
// comes in out again. A session of PPP, the next identifier, waits for a caller.
func staticsToFuzz(t *testing.T, e *Endpoint, peer string) (sessions []*Session) {
	t.Helper()
	for i, cfg := range []StaticConfig{
		{Sequencing: SequencingBoth, ReorderTimeout: 5 * time.Millisecond, ReorderMax: 3},
		{Type: PseudowireVLAN, VLAN: 7, Sequencing: SequencingRecv},
		{Type: PseudowireIP, Sublayer: SublayerDefault},
		{Type: PseudowirePPP, RawPPP: true, Sequencing: SequencingSend},
		{Type: PseudowireHDLC},
	} {
		cfg.SessionID, cfg.PeerSessionID, cfg.PeerCookie = uint32(i+1), uint32(i+1), fuzzCookie
		s := static(t, e, peer, &cfg)
		s.Attach(s)
		sessions = append(sessions, s)
	}
	go e.Static(t.Context(), peer, &StaticConfig{Type: PseudowirePPP, PPPServer: true, SessionID: 6, PeerSessionID: 6, PeerCookie: fuzzCookie})
	return sessions
}
