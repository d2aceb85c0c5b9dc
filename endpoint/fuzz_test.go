package endpoint

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/capture"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// FuzzReceive has an endpoint that dials and answers, with a session up, take any
// datagrams from that session's own peer, who knows the ids, and from a stranger,
// who does not. Each datagram of the input is preceded by its length. Nothing may
// panic; a session of another peer stands at the end, and carries packets.
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
	f.Fuzz(func(t *testing.T, input []byte, insider bool) {
		synctest.Test(t, func(t *testing.T) { fuzzReceive(t, input, insider) })
	})
}

func fuzzReceive(t *testing.T, input []byte, insider bool) {
	n := simnet.New(1)
	lns := answering(t, n, 1, nil)
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
			lac.sock.Write(datagram, lac.sock.Path(to.AddrPort(), netip.Addr{}))
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
	if !insider && session.Err() != nil {
		t.Errorf("a stranger ended a session: %v", session.Err())
	}
}
