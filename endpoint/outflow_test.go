package endpoint

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A watched socket has somebody see what is sent, when it is.
type watched struct {
	*simnet.Conn
	see func(p []byte)
}

func (c *watched) WriteTo(p []byte, to net.Addr) (int, error) {
	c.see(p)
	return c.Conn.WriteTo(p, to)
}

// What a round has to send goes in its order, however much it is, and who is to be told of
// it is told afterwards.
func TestWhatIsToldComesAfterWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		conn, err := n.Listen(lacAddr)
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		e, err := New(&watched{conn, func(p []byte) {
			if len(p) != 2 || int(p[0])<<8|int(p[1]) != sent {
				t.Errorf("datagram %d is %x", sent, p)
			}
			sent++
		}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		l, told := e.loops[0], 0
		const each = 150 // more than go at once
		l.Do(func(time.Time) {
			path := e.pathTo(netip.MustParseAddrPort(lnsAddr), netip.Addr{})
			for round := range 3 {
				for i := range each {
					f := l.out.add(path, 2).Head()
					f[0], f[1] = byte((round*each+i)>>8), byte(round*each+i)
				}
				l.then(func() {
					told++
					if sent < (round+1)*each {
						t.Errorf("told %d when %d had been sent", round, sent)
					}
				})
			}
		})
		synctest.Wait()
		if sent != 3*each || told != 3 {
			t.Errorf("%d sent, %d told; want %d and 3", sent, told, 3*each)
		}
	})
}

// A tunnel is handed out when its SCCCN has been sent, and a session when the peer has been
// sent all that lets it take packets: the first ones would be lost otherwise, if they
// overtook it.
func TestASessionIsHandedOutWhenAllHasBeenSent(t *testing.T) {
	tunnels := func(e *Endpoint) []*Tunnel {
		e.mu.Lock()
		defer e.mu.Unlock()
		return slices.Collect(maps.Keys(e.all))
	}
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		var ends [2]*Endpoint
		var acks [2]int
		for i, address := range []string{lacAddr, lnsAddr} {
			conn, err := n.Listen(address)
			if err != nil {
				t.Fatal(err)
			}
			cfg := &Config{Rand: random(1, byte(i))}
			if i == 1 {
				cfg.Answer = &AnswerConfig{Authenticate: users, Pool: pool(t)}
			}
			see := func(p []byte) {
				h, frame, err := wire.ParseHeader(p)
				if err != nil {
					t.Error(err)
				}
				if h.Control {
					if m, _ := wire.ParseMessage(frame, nil); m.Type == wire.SCCCN {
						for _, tun := range tunnels(ends[i]) {
							select {
							case <-tun.up:
								t.Error("a tunnel was handed out before its SCCCN was sent")
							default:
							}
						}
					}
					return
				}
				const ncp, configureAck = 0x8000, 2
				protocol, packet, ok := ppp.ParseFrame(frame)
				if !ok || protocol < ncp || protocol >= 0xc000 || packet[0] != configureAck {
					return
				}
				acks[i]++
				for _, tun := range tunnels(ends[i]) {
					for _, s := range *tun.sessions.Load() {
						if s.complete() {
							t.Error("a session was handed out before a Configure-Ack was sent")
						}
					}
				}
			}
			if ends[i], err = New(&watched{conn, see}, cfg); err != nil {
				t.Fatal(err)
			}
			defer ends[i].Close()
		}
		tun, err := ends[0].Dial(t.Context(), lnsAddr, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"}); err != nil {
			t.Fatal(err)
		}
		if _, err := ends[1].Accept(t.Context()); err != nil {
			t.Fatal(err)
		}
		if acks != [2]int{2, 2} { // of IPCP and IPV6CP
			t.Errorf("%d Configure-Acks were sent by both ends, want 2 by each", acks)
		}
	})
}
