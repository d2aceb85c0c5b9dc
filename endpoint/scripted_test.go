package endpoint

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A script is a peer that sends what it is told to, right or wrong.
type script struct {
	t    *testing.T
	conn *simnet.Conn
	to   net.Addr
	peer uint32 // the other's tunnel id
	ns   uint16
	nr   uint16
}

func scripted(t *testing.T, n *simnet.Net) *script {
	t.Helper()
	conn, err := n.Listen(lacAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &script{t: t, conn: conn, to: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(lnsAddr))}
}

func (s *script) write(b []byte) {
	s.t.Helper()
	if _, err := s.conn.WriteTo(b, s.to); err != nil {
		s.t.Fatal(err)
	}
}

// send sends a control message, and counts it.
func (s *script) send(session uint32, m *wire.Message) []byte {
	s.t.Helper()
	b := m.Append(wire.AppendControlHeader(nil, s.peer, session, s.ns, s.nr))
	wire.SetLength(b)
	s.ns++
	s.write(b)
	return b
}

// next is the next datagram within a second; ZLBs are passed over. A message is
// acknowledged by the next one that is sent.
func (s *script) next() (wire.Header, []byte, bool) {
	s.t.Helper()
	for {
		s.conn.SetReadDeadline(time.Now().Add(time.Second))
		b := make([]byte, 2000)
		n, _, err := s.conn.ReadFrom(b)
		if os.IsTimeout(err) {
			return wire.Header{}, nil, false
		}
		if err != nil {
			s.t.Fatal(err)
		}
		h, payload, err := wire.ParseHeader(b[:n])
		if err != nil {
			s.t.Fatalf("it sent %x: %v", b[:n], err)
		}
		if h.Control && len(payload) == 0 {
			continue
		}
		if h.Control {
			s.nr = h.Ns + 1
		}
		return h, payload, true
	}
}

// want is the next control message, which has to be of that type.
func (s *script) want(m wire.MessageType) *wire.Message {
	s.t.Helper()
	for {
		h, payload, ok := s.next()
		if !ok {
			s.t.Fatalf("expected %v, found nothing within a second", m)
		}
		if !h.Control {
			continue
		}
		got, err := wire.ParseMessage(payload, nil)
		if err != nil || got.Type != m {
			s.t.Fatalf("expected %v, found %v, %v", m, got.Type, err)
		}
		return got
	}
}

func (s *script) wantSilence() {
	s.t.Helper()
	if h, payload, ok := s.next(); ok {
		s.t.Errorf("expected nothing, found %+v %x", h, payload)
	}
}

func sccrq(id uint32) *wire.Message {
	return &wire.Message{Type: wire.SCCRQ, ProtocolVersion: wire.ProtocolVersion, FramingCapabilities: wire.FramingSync, HostName: "script", AssignedTunnelID: id}
}

// tunnel opens a tunnel, whose id at our end is 7.
func (s *script) tunnel() {
	s.t.Helper()
	s.send(0, sccrq(7))
	s.peer = s.want(wire.SCCRP).AssignedTunnelID
	s.send(0, &wire.Message{Type: wire.SCCCN})
}

// call opens a session, whose id at our end is 9, up to ICCN.
func (s *script) call() (session uint32) {
	s.t.Helper()
	s.send(0, &wire.Message{Type: wire.ICRQ, AssignedSessionID: 9, CallSerialNumber: 1})
	return s.want(wire.ICRP).AssignedSessionID
}

func withoutSecret(a *AnswerConfig) { a.Secret = "" }

func TestSequenceNumbersAreSentToWhoeverRequiresThem(t *testing.T) {
	// RFC 2661 §4.4.6: "the Sequencing Required AVP […] indicates to the LNS
	// that Sequence Numbers MUST always be present on the data channel."
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, withoutSecret)
		defer lns.Close()
		s := scripted(t, n)
		s.tunnel()
		session := s.call()
		s.send(session, &wire.Message{Type: wire.ICCN, TxConnectSpeed: 1, FramingType: wire.FramingSync, SequencingRequired: true})
		for want := range uint16(3) { // LCP Configure-Requests, which nobody answers
			h, frame, ok := s.nextData()
			if !ok {
				t.Fatal("no LCP came")
			}
			if !h.HasNs || h.Ns != want || h.TunnelID != 7 || h.SessionID != 9 {
				t.Errorf("header %+v, want Ns %d", h, want)
			}
			if len(frame) < 8 || binary.BigEndian.Uint32(frame) != 0xff03c021 {
				t.Errorf("frame %x, want LCP", frame)
			}
		}
	})
}

// nextData is the next data message within a minute.
func (s *script) nextData() (wire.Header, []byte, bool) {
	for range 60 {
		if h, payload, ok := s.next(); ok && !h.Control {
			return h, payload, true
		}
	}
	return wire.Header{}, nil, false
}

func TestDataMayOvertakeICCN(t *testing.T) {
	// The LAC sends ICCN and its first LCP packet at once, and the network puts
	// them the other way round. If the packet were lost, the link would wait for
	// the restart timer, 3 s.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, withoutSecret)
		defer lns.Close()
		s := scripted(t, n)
		s.tunnel()
		session := s.call()
		data := make([]byte, wire.DataHeaderLen)
		wire.PutDataHeader(data, s.peer, session)
		// Configure-Request 1 without options.
		s.write(append(data, 0xff, 3, 0xc0, 0x21, 1, 1, 0, 4))
		time.Sleep(10 * time.Millisecond)
		sent := time.Now()
		s.send(session, &wire.Message{Type: wire.ICCN, TxConnectSpeed: 1, FramingType: wire.FramingSync})
		for {
			_, frame, ok := s.nextData()
			if !ok {
				t.Fatal("the Configure-Request was never answered")
			}
			if slices.Equal(frame, []byte{0xff, 3, 0xc0, 0x21, 2, 1, 0, 4}) {
				break
			}
		}
		if d := time.Since(sent); d > time.Second {
			t.Errorf("answered after %v", d)
		}
	})
}

func TestARepeatedSCCRQIsOneTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, withoutSecret)
		defer lns.Close()
		s := scripted(t, n)
		first := s.send(0, sccrq(7))
		s.want(wire.SCCRP)
		for range 3 {
			s.write(first)
		}
		if st := lns.Status(); len(st.Tunnels) != 0 || st.HalfOpen != 1 {
			t.Errorf("%d tunnels and %d half-open, want one half-open", len(st.Tunnels), st.HalfOpen)
		}
		// Another id is another tunnel: a peer that has restarted, perhaps.
		s.ns, s.nr = 0, 0
		s.send(0, sccrq(8))
		time.Sleep(time.Second)
		if st := lns.Status(); st.HalfOpen != 2 {
			t.Errorf("%d half-open tunnels, want two", st.HalfOpen)
		}
	})
}

func TestAStopCCNThatDoesNotKnowOurIdFindsItsTunnel(t *testing.T) {
	// RFC 2661 §5.7 and §4.4.3: the Assigned Tunnel ID in a StopCCN tells the
	// tunnel when the header cannot.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, withoutSecret)
		defer lns.Close()
		s := scripted(t, n)
		s.send(0, sccrq(7))
		s.want(wire.SCCRP)
		s.send(0, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 7, Result: wire.Result{Code: wire.StopShutdown}})
		time.Sleep(time.Second)
		if st := lns.Status(); len(st.Tunnels) != 0 || st.HalfOpen != 0 {
			t.Errorf("the server still has %+v", st)
		}
	})
}

func TestWhatOpensNoTunnelGetsNoAnswer(t *testing.T) {
	header := func(tunnel, session uint32, m *wire.Message) []byte {
		b := wire.AppendControlHeader(nil, tunnel, session, 0, 0)
		if m != nil {
			b = m.Append(b)
		}
		wire.SetLength(b)
		return b
	}
	v3 := header(0, 0, sccrq(7))
	v3[1] = 3
	data := make([]byte, wire.DataHeaderLen)
	wire.PutDataHeader(data, 4711, 1)
	for _, c := range []struct {
		name     string
		datagram []byte
		count    func(Counters) uint64
	}{
		{"nothing", []byte{}, func(c Counters) uint64 { return c.UnknownVersion }},
		{"one octet", []byte{0xc8}, func(c Counters) uint64 { return c.UnknownVersion }},
		{"an SCCRQ of version 3", v3, func(c Counters) uint64 { return c.UnknownVersion }},
		{"a header cut short", header(0, 0, sccrq(7))[:11], func(c Counters) uint64 { return c.Malformed }},
		{"a Length beyond the datagram", header(0, 0, sccrq(7))[:30], func(c Counters) uint64 { return c.Malformed }},
		{"a ZLB with tunnel id 0", header(0, 0, nil), func(c Counters) uint64 { return c.UnknownTunnel }},
		{"an SCCRQ with Assigned Tunnel ID 0", header(0, 0, &wire.Message{Type: wire.SCCRQ, HostName: "x"}), func(c Counters) uint64 { return c.UnknownTunnel }},
		{"an SCCCN that no SCCRQ came before", header(0, 0, &wire.Message{Type: wire.SCCCN}), func(c Counters) uint64 { return c.UnknownTunnel }},
		{"a StopCCN of nobody", header(0, 0, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 7, Result: wire.Result{Code: 1}}), func(c Counters) uint64 { return c.UnknownTunnel }},
		{"a HELLO for a tunnel that is none", header(4711, 0, &wire.Message{Type: wire.HELLO}), func(c Counters) uint64 { return c.UnknownTunnel }},
		{"data for a tunnel that is none", data, func(c Counters) uint64 { return c.UnknownTunnel }},
		{"data with tunnel id 0", []byte{0, 2, 0, 0, 0, 1, 0xff, 3}, func(c Counters) uint64 { return c.UnknownTunnel }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				lns := answering(t, n, 1, func(a *AnswerConfig) { a.Secret, a.V3 = "", nil })
				defer lns.Close()
				s := scripted(t, n)
				s.write(c.datagram)
				s.wantSilence()
				if st := lns.Status(); c.count(st.Counters) != 1 || len(st.Tunnels) != 0 || st.HalfOpen != 0 {
					t.Errorf("the server has %+v", st)
				}
			})
		})
	}
}

func TestDataForASessionThatIsNoneIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, withoutSecret)
		defer lns.Close()
		s := scripted(t, n)
		s.tunnel()
		time.Sleep(time.Second)
		data := make([]byte, wire.DataHeaderLen)
		wire.PutDataHeader(data, s.peer, 4711)
		s.write(append(data, 0xff, 3, 0, 0x21, 0x45))
		s.wantSilence()
		if c := lns.Status().Counters; c.UnknownSession != 1 {
			t.Errorf("it counts %+v", c)
		}
	})
}
