package endpoint

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

func TestTheLNSMayAnswerFromAnotherPortOnce(t *testing.T) {
	// RFC 2661 §8.1: "The recipient picks a free port on its own system (which
	// may or may not be 1701), and sends its reply to the initiator's UDP port
	// and address, setting its own source port to the free port it found. Once
	// the source and destination ports and addresses are established, they MUST
	// remain static for the life of the tunnel."
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lac := dialling(t, n, 1)
		defer lac.Close()
		listen := func(address string) *simnet.Conn {
			c, err := n.Listen(address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		known, chosen, third := listen(lnsAddr), listen("192.0.2.2:5000"), listen("192.0.2.2:5001")
		dialled := make(chan *Tunnel, 1)
		go func() {
			tun, err := lac.Dial(t.Context(), lnsAddr, nil)
			if err != nil {
				t.Error(err)
			}
			dialled <- tun
		}()
		b := make([]byte, 2000)
		k, from, err := known.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		_, payload, err := wire.ParseHeader(b[:k])
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.ParseMessage(payload, nil)
		if err != nil {
			t.Fatal(err)
		}
		reply := func(c *simnet.Conn, ns uint16, m *wire.Message, id uint32) {
			b := m.Append(wire.AppendControlHeader(nil, id, 0, ns, 1))
			wire.SetLength(b)
			c.WriteTo(b, from)
		}
		id := m.AssignedTunnelID
		sccrp := &wire.Message{Type: wire.SCCRP, ProtocolVersion: wire.ProtocolVersion, FramingCapabilities: 3, HostName: "lns", AssignedTunnelID: 7}
		reply(chosen, 0, &wire.Message{Type: wire.HELLO}, id) // it is SCCRP that chooses, nothing else
		reply(chosen, 0, sccrp, id)
		tun := <-dialled
		if tun.Peer().Port() != 5000 {
			t.Errorf("the peer is at %v, want port 5000", tun.Peer())
		}
		time.Sleep(time.Second)
		reply(third, 0, sccrp, id)
		reply(known, 1, &wire.Message{Type: wire.StopCCN, AssignedTunnelID: 7, Result: wire.Result{Code: 1}}, id)
		time.Sleep(time.Second)
		if tun.Peer().Port() != 5000 || tun.Err() != nil {
			t.Errorf("afterwards the peer is at %v, and the tunnel's error %v", tun.Peer(), tun.Err())
		}
		if c := lac.Status().Counters; c.WrongPeer != 3 {
			t.Errorf("%d datagrams were dropped for their address, want 3", c.WrongPeer)
		}
		// SCCCN goes where SCCRP came from.
		if k, _, err = chosen.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
		if _, payload, _ = wire.ParseHeader(b[:k]); len(payload) == 0 {
			t.Error("expected SCCCN, found a ZLB")
		}
	})
}

func TestAnAnswerComesFromTheAddressThatWasAsked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: answers from the address that was asked: Linux only")
	}
	for _, c := range []struct{ network, listen, server, client string }{
		{"udp4", "0.0.0.0:0", "127.0.0.2", "127.0.0.1:0"},
		{"udp", "[::]:0", "127.0.0.2", "127.0.0.1:0"},
		{"udp", "[::]:0", "::1", "[::1]:0"},
	} {
		t.Run(c.network+" "+c.server, func(t *testing.T) {
			lns, err := Listen(c.network, c.listen, &Config{Answer: &AnswerConfig{Authenticate: users, Pool: pool(t)}})
			if err != nil {
				t.Skip("SKIPPED: no " + c.listen + " on this machine: " + err.Error())
			}
			defer lns.Close()
			lac, err := Listen("udp", c.client, nil)
			if err != nil {
				t.Skip("SKIPPED: no " + c.client + " on this machine: " + err.Error())
			}
			defer lac.Close()
			// 127.0.0.2 is asked; by its routes the system would answer from
			// 127.0.0.1, and the client drop it.
			asked := netip.AddrPortFrom(netip.MustParseAddr(c.server), lns.Addr().Port())
			tun, err := lac.Dial(t.Context(), asked.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
			if err != nil {
				t.Fatal(err)
			}
			server, err := lns.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sink, got := collect()
			s.Attach(sink)
			put(server, packet("from the right address"))
			wantPacket(t, got, packet("from the right address"))
		})
	}
}

func TestAConnOfTheUsersOwn(t *testing.T) {
	// A net.PacketConn that is no *net.UDPConn serves as well.
	inner, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lac, err := New(struct{ net.PacketConn }{inner}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lac.Close()
	lns, err := Listen("udp", "127.0.0.1:0", &Config{Answer: &AnswerConfig{Authenticate: users, Pool: pool(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer lns.Close()
	tun, err := lac.Dial(t.Context(), lns.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"}); err != nil {
		t.Fatal(err)
	}
}

func TestTheStatusTellsTheSocketsBuffers(t *testing.T) {
	e, err := Listen("udp4", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if s := e.Status(); runtime.GOOS == "linux" && (s.ReceiveBuffer == 0 || s.SendBuffer == 0) {
		t.Errorf("buffers of %d and %d bytes", s.ReceiveBuffer, s.SendBuffer)
	}
}
