package endpoint

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// What was wrong once.

func TestASecondTunnelLeavesTheFirstOneAlone(t *testing.T) {
	// An endpoint that answers too sent a Tie Breaker with every SCCRQ, and so
	// told the server to forget its other tunnels.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, nil)
		defer lns.Close()
		both := host(t, n, lacAddr, &Config{Rand: random(1, 'b'), Answer: &AnswerConfig{Secret: "tunsecret", Authenticate: users, Pool: pool(t)}})
		defer both.Close()
		var sessions []*Session
		for range 3 {
			tun, err := both.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
			if err != nil {
				t.Fatal(err)
			}
			s, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, s)
		}
		time.Sleep(3 * time.Minute)
		for i, s := range sessions {
			if err := s.Err(); err != nil {
				t.Errorf("session %d has ended: %v", i, err)
			}
		}
	})
}

func TestRefusedTunnelsLeaveNothing(t *testing.T) {
	// They stayed for a retransmission cycle.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, withoutSecret)
		defer lns.Close()
		s := scripted(t, n)
		for id := range uint32(40) {
			m := sccrq(100 + id)
			m.ProtocolVersion = 0x0200
			s.ns, s.nr = 0, 0
			s.send(0, m)
			if r := s.want(wire.StopCCN); r.Result.Code != wire.StopVersion {
				t.Errorf("refused with %+v", r.Result)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if st := lns.Status(); len(st.Tunnels) != 0 || st.HalfOpen != 0 || st.Counters.Refused != 40 {
			t.Errorf("the server has %+v", st)
		}
	})
}

// A server that is played by hand: it gets our SCCRQ.
func asked(t *testing.T, n *simnet.Net) (server *simnet.Conn, sccrq func() (ourID uint32, reply func(*simnet.Conn, uint32, *wire.Message))) {
	t.Helper()
	server, err := n.Listen(lnsAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, func() (uint32, func(*simnet.Conn, uint32, *wire.Message)) {
		b := make([]byte, 2000)
		k, from, err := server.ReadFrom(b)
		if err != nil {
			t.Error(err)
			return 0, func(*simnet.Conn, uint32, *wire.Message) {}
		}
		_, avps, _ := wire.ParseHeader(b[:k])
		m, _ := wire.ParseMessage(avps, nil)
		return m.AssignedTunnelID, func(c *simnet.Conn, id uint32, m *wire.Message) {
			b := m.Append(wire.AppendControlHeader(nil, id, 0, 0, 1))
			wire.SetLength(b)
			c.WriteTo(b, from)
		}
	}
}

func TestAStopCCNWithoutOurIdEndsADial(t *testing.T) {
	// RFC 2661 §4.4.3: an SCCRQ may be refused before its Assigned Tunnel ID has
	// been understood.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server, sccrq := asked(t, n)
		lac := dialling(t, n, 1)
		defer lac.Close()
		go func() {
			_, reply := sccrq()
			reply(server, 0, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 77, Result: wire.Result{Code: wire.StopNotAuthorized, Error: wire.ErrorVendor, Text: "no"}})
		}()
		begin := time.Now()
		_, err := lac.Dial(t.Context(), lnsAddr, nil)
		wantPeer("StopCCN", wire.StopNotAuthorized)(t, err)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

func TestADialThatFailedIsNobodysRival(t *testing.T) {
	// One whose peer had chosen another port stayed in the table for ever, and
	// every SCCRQ of that peer lost against it.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server, received := asked(t, n)
		other, err := n.Listen("192.0.2.2:4444")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		lac := host(t, n, lacAddr, &Config{Rand: random(1, 'x'), Answer: &AnswerConfig{Authenticate: users, Pool: pool(t)}})
		defer lac.Close()
		go func() {
			id, reply := received()
			reply(other, id, &wire.Message{Type: wire.SCCRP, ProtocolVersion: 0x0200, FramingCapabilities: 3, HostName: "x", AssignedTunnelID: 77})
		}()
		if _, err := lac.Dial(t.Context(), lnsAddr, nil); err == nil {
			t.Fatal("protocol version 2.0 was accepted")
		}
		time.Sleep(5 * time.Minute)
		lac.mu.Lock()
		left := len(lac.byAddr)
		lac.mu.Unlock()
		if left != 0 {
			t.Errorf("%d addresses still have tunnels", left)
		}
		m := sccrq(9).Append(wire.AppendControlHeader(nil, 0, 0, 0, 0))
		wire.SetLength(m)
		server.WriteTo(m, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(lacAddr)))
		time.Sleep(time.Second)
		if st := lac.Status(); st.HalfOpen != 1 || st.Counters.LostTie != 0 {
			t.Errorf("its SCCRQ was not answered: %+v", st)
		}
	})
}

func TestAZLBWithoutATunnelIdIsOfTheOnlyTunnel(t *testing.T) {
	// D-Link's habit.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, withoutSecret)
		defer lns.Close()
		s := scripted(t, n)
		s.tunnel()
		s.send(0, &wire.Message{Type: wire.ICRQ, AssignedSessionID: 9, CallSerialNumber: 1})
		s.want(wire.ICRP)
		s.write(wire.AppendControlHeader(nil, 0, 0, s.ns, s.nr))
		time.Sleep(20 * time.Second)
		for {
			h, payload, ok := s.next()
			if !ok {
				break
			}
			if h.Control && len(payload) > 0 {
				t.Errorf("what was acknowledged came again: %+v", h)
			}
		}
	})
}

func TestWithoutAPasswordNothingIsProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tun.OpenPPP(t.Context(), nil)
		// It was sent as the proof of an empty password, and called a wrong one.
		if e, ok := errors.AsType[*AuthError](err); err == nil || ok && e.Message != "" {
			t.Errorf("got %v (%T), want that nothing was proved", err, err)
		}
	})
}

func TestASinkMayAttachAnother(t *testing.T) {
	// Attach called the sink with a lock held that a second Attach wanted.
	synctest.Test(t, func(t *testing.T) {
		client, server, _, done := joined(t, nil, PPPConfig{})
		defer done()
		put(client, packet("waits"))
		time.Sleep(time.Second)
		second, got := collect()
		server.Attach(link.SinkFunc(func(*link.Batch) { server.Attach(second) }))
		server.Attach(second)
		put(client, packet("goes on"))
		wantPacket(t, got, packet("goes on"))
	})
}
