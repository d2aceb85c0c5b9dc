package integration

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"github.com/l2tpnet/l2tpnet/integration/guest"
)

// "A wrong cookie dropped and counted on both sides": each end has another one in mind than the other sends, on several sessions of
// one tunnel, whose port of the guest's it is.
func wrongCookies(t *testing.T, g *guest.Guest, port int) {
	at := holdPort(t, loopback4)
	w := newWire(t, at.AddrPort, g.Addr(port), newCapture(t))
	g.Run(t, fmt.Sprintf("ip l2tp add tunnel tunnel_id 900 peer_tunnel_id 900 encap udp local 10.0.2.15 remote 10.0.2.2 udp_sport %d udp_dport %d", port, w.Far()))
	at.release()
	ep, err := endpoint.Listen("udp", at.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ep.Close()
	for i, c := range []struct{ kernelSends, kernelExpects, weSend, weExpect string }{
		{"01234567", "89abcdef", "89abcdee", "01234566"},
		{"0123456789abcdef", "fedcba9876543210", "fedcba9876543211", "0123456789abcdee"},
		{"0123456789abcdef", "fedcba9876543210", "", "89abcdef"},
		{"", "fedcba98", "fedcba9976543210", "01234567"},
	} {
		name := fmt.Sprintf("the kernel sends %q and expects %q, we send %q and expect %q", c.kernelSends, c.kernelExpects, c.weSend, c.weExpect)
		t.Run(name, func(t *testing.T) {
			kernel := fmt.Sprintf("ip l2tp add session name x%d tunnel_id 900 session_id %d peer_session_id %d l2spec_type none peer_cookie %s", i, 910+i, 920+i, c.kernelExpects)
			if c.kernelSends != "" {
				kernel += " cookie " + c.kernelSends
			}
			g.Run(t, fmt.Sprintf("%s && ip addr add 10.89.%[2]d.1/24 dev x%[2]d && ip link set x%[2]d up", kernel, i))
			cookie, _ := hex.DecodeString(c.weSend)
			peerCookie, _ := hex.DecodeString(c.weExpect)
			s, err := ep.Static(t.Context(), w.Near(), &endpoint.StaticConfig{SessionID: uint32(920 + i), PeerSessionID: uint32(910 + i), Cookie: cookie, PeerCookie: peerCookie})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Attach(link.SinkFunc(func(*link.Batch) { t.Error("a frame whose cookie is wrong came out of the session") }))
			// A UDP datagram may be lost, but not many of them.
			eventually(t, guest.Patience, func() error {
				sendFrame(s)
				g.Run(t, fmt.Sprintf("! ping -c 1 -W 1 10.89.%d.2", i)) // asks for a MAC address
				we, kernel := s.Status().Traffic, counters(t, g, 900, 910+i)
				if we.CookieDiscards == 0 || kernel["rx_cookie_discards"] == 0 {
					return fmt.Errorf("expected wrong cookies counted on both sides, found ours %+v, the kernel's %v", we, kernel)
				}
				if we.PacketsIn != 0 || kernel["rx_packets"] != 0 {
					t.Errorf("expected nothing delivered, found ours %+v, the kernel's %v", we, kernel)
				}
				return nil
			})
		})
	}
}

// sendFrame sends a frame to all stations, of an EtherType for experiments.
func sendFrame(s *endpoint.Session) {
	b := link.NewBatch()
	defer b.Free()
	frame := b.Add(60, nil, nil).Head()
	clear(frame)
	copy(frame, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5")
	s.Put(b)
}
