package endpoint

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A mouthless socket sends nothing, once it is shut.
type mouthless struct {
	*simnet.Conn
	shut atomic.Bool
}

func (c *mouthless) WriteTo(p []byte, to net.Addr) (int, error) {
	if c.shut.Load() {
		return len(p), nil
	}
	return c.Conn.WriteTo(p, to)
}

// What a frame costs on its way through a session of either version, but for the
// socket, in each direction.
func BenchmarkFlow(b *testing.B) {
	const octets = 1400
	n := simnet.New(1)
	lns := answering(b, n, 1, nil)
	defer lns.Close()
	conn, err := n.Listen(lacAddr)
	if err != nil {
		b.Fatal(err)
	}
	socket := &mouthless{Conn: conn}
	lac, err := New(socket, nil)
	if err != nil {
		b.Fatal(err)
	}
	tun, err := lac.Dial(b.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
	if err != nil {
		b.Fatal(err)
	}
	v2, err := tun.OpenPPP(b.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
	if err != nil {
		b.Fatal(err)
	}
	defer lac.Close()
	defer socket.shut.Store(false)
	socket.shut.Store(true)
	sessions := map[string]*Session{"PPP, version 2": v2}
	for name, cfg := range map[string]*StaticConfig{
		"Ethernet":                  {},
		"Ethernet, cookie":          {Cookie: []byte("12345678"), PeerCookie: []byte("12345678")},
		"Ethernet, cookie, numbers": {Cookie: []byte("12345678"), PeerCookie: []byte("12345678"), Sequencing: SequencingBoth},
		"VLAN":                      {Type: PseudowireVLAN, VLAN: 5},
	} {
		cfg.SessionID = uint32(len(sessions))
		cfg.PeerSessionID = cfg.SessionID
		s, err := lac.Static(b.Context(), lnsAddr, cfg)
		if err != nil {
			b.Fatal(err)
		}
		sessions[name] = s
	}
	for name, s := range sessions {
		s.Attach(nothing)
		inside := make([]byte, octets)
		inside[0] = 0x45
		b.Run("out/"+name, func(b *testing.B) {
			b.SetBytes(octets)
			b.ReportAllocs()
			batch := link.NewBatch()
			for range link.BatchMax {
				batch.Add(0, inside, nil)
			}
			for done := 0; b.Loop(); done++ {
				if done%link.BatchMax == 0 {
					s.Put(batch)
				}
			}
		})
		var datagram []byte
		batch := link.NewBatch()
		f := batch.Add(0, inside, nil)
		if s.kind == PseudowireVLAN {
			f = addTag(link.NewBatch(), f, 5)
		}
		if s.ppp != nil {
			datagram = append(datagram, 0, 2, byte(tun.id>>8), byte(tun.id), byte(s.id>>8), byte(s.id), 0xff, 3, 0, 0x21)
		} else {
			s.encap.push(f) // both ends have the same identifier, and cookie
		}
		datagram = f.AppendTo(datagram)
		b.Run("in/"+name, func(b *testing.B) {
			b.SetBytes(octets)
			b.ReportAllocs()
			in := newInflow()
			from, numbered := netip.MustParseAddrPort(lnsAddr), s.arrival.order != nil
			again := make([]byte, len(datagram))
			for number := uint32(0); b.Loop(); number++ {
				copy(again, datagram[:40]) // what a tag's removal has changed
				if numbered {
					at := 8 + len(s.arrival.cookie)
					again[at], again[at+1], again[at+2], again[at+3] = 0x40, byte(number>>16), byte(number>>8), byte(number)
				}
				lac.receive(from, netip.Addr{}, again, &in)
			}
			in.flush()
		})
	}
}
