package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// shared is an endpoint that answers on an address with four sockets. Its sessions send
// back what they get.
func shared(t *testing.T, address string) *Endpoint {
	t.Helper()
	e, err := Listen("udp", address, &Config{Sockets: 4, Logger: testLogger(t, "lns"), Answer: &AnswerConfig{
		Secret: "tunsecret", Methods: []AuthMethod{MSCHAPv2}, Authenticate: users, Pool: pool(t), MPPE: MPPEAllowed,
		Limits: Limits{HalfOpenPerSource: -1, RatePerSource: -1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	accepting.Go(func() {
		for {
			s, err := e.Accept(ctx)
			if err != nil {
				return
			}
			s.Attach(s)
		}
	})
	t.Cleanup(func() {
		cancel()
		accepting.Wait()
		e.Close()
	})
	return e
}

// call opens a session by a socket of its own.
func call(t *testing.T, conn net.PacketConn, server netip.AddrPort, cfg PPPConfig) (*Session, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := New(conn, nil)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { e.Close() })
	tun, err := e.Dial(ctx, server.String(), &TunnelConfig{Secret: "tunsecret"})
	if err != nil {
		return nil, err
	}
	cfg.User, cfg.Password = "alice", "s3cret"
	return tun.OpenPPP(ctx, &cfg)
}

// "more than two cores used (SO_REUSEPORT, or a connected socket per tunnel)": many
// callers at once, whose datagrams come by four sockets, to four readers. Each gets back
// what it has sent, in its order, and a capture sees it.
func TestFourReaders(t *testing.T) {
	e := shared(t, "127.0.0.1:0")
	// The system spreads callers over them by a hash, and who comes by one is answered by
	// its reader alone: that one gets all happens once in 4²³.
	if len(e.socks) != 4 {
		t.Errorf("%d sockets, want 4", len(e.socks))
	}
	var captured counting
	stop, err := e.Capture(&captured)
	if err != nil {
		t.Fatal(err)
	}
	const callers, packets, atOnce = 24, 200, 20
	var all sync.WaitGroup
	for n := range callers {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			s, err := call(t, conn, e.Addr(), PPPConfig{})
			if err != nil {
				t.Errorf("caller %d: %v", n, err)
				return
			}
			sink, got := collect()
			s.Attach(sink)
			// Until the other end's session is attached to something, few wait for that.
			put(s, packet(fmt.Sprintf("0 of %d", n)))
			if !follows(t, n, 0, got) {
				return
			}
			for i := 1; i < packets+atOnce; i++ { // no more are under way than any socket has room for
				if i < packets {
					put(s, packet(fmt.Sprintf("%d of %d", i, n)))
				}
				if i > atOnce && !follows(t, n, i-atOnce, got) {
					return
				}
			}
		})
	}
	all.Wait()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if captured.n.Load() < callers*packets {
		t.Errorf("%d bytes were captured", captured.n.Load())
	}
	if n := len(e.Status().Tunnels); n != callers {
		t.Errorf("%d tunnels, want %d", n, callers)
	}
}

// follows tells whether the next packet that comes back to a caller is the one.
func follows(t *testing.T, caller, number int, got <-chan string) bool {
	t.Helper()
	want := string(packet(fmt.Sprintf("%d of %d", number, caller)))
	select {
	case p := <-got:
		if p != want {
			t.Errorf("caller %d: %q came, want %q", caller, p, want)
			return false
		}
	case <-time.After(time.Minute):
		t.Errorf("caller %d: nothing came, want %q", caller, want)
		return false
	}
	return true
}

type counting struct{ n atomic.Int64 }

func (c *counting) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// A peer may send to several of our addresses, from one port, so that a tunnel has
// several readers: nothing is torn by that, keys included.
func TestATunnelWithSeveralReaders(t *testing.T) {
	e := shared(t, "0.0.0.0:0")
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), e.Addr().Port())
	for name, mppe := range map[string]MPPE{"clear": MPPEOff, "encrypted": MPPERequired} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.ListenPacket("udp4", "0.0.0.0:0")
			if err != nil {
				t.Fatal(err)
			}
			scattering := &scattering{PacketConn: conn}
			s, err := call(t, scattering, server, PPPConfig{MPPE: mppe})
			if err != nil {
				t.Fatal(err)
			}
			scattering.on.Store(true)
			var back atomic.Int64
			s.Attach(link.SinkFunc(func(b *link.Batch) { back.Add(int64(len(b.Frames))) }))
			// MPPE drops what has been overtaken, and goes on with what follows.
			deadline := time.Now().Add(time.Minute)
			for back.Load() < 1000 {
				if time.Now().After(deadline) {
					t.Fatalf("%d packets have come back, want 1000", back.Load())
				}
				for range 10 {
					put(s, packet(name))
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// scattering sends to eight addresses of the loopback network in turns, whichever of
// them is meant.
type scattering struct {
	net.PacketConn // no *net.UDPConn: WriteTo is called
	on             atomic.Bool
	sent           atomic.Uint32
}

func (s *scattering) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.on.Load() {
		u := *to.(*net.UDPAddr)
		u.IP = net.IPv4(127, 0, 0, byte(1+s.sent.Add(1)%8))
		to = &u
	}
	return s.PacketConn.WriteTo(b, to)
}

// An address that sockets share is nobody else's.
func TestASharedAddressIsTaken(t *testing.T) {
	e := shared(t, "127.0.0.1:0")
	for _, cfg := range []*Config{nil, {Sockets: 4}} {
		if _, err := Listen("udp", e.Addr().String(), cfg); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("the second one has %v, want EADDRINUSE", err)
		}
	}
	// And it is free afterwards.
	e.Close()
	again, err := Listen("udp", e.Addr().String(), &Config{Sockets: 4})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := Listen("udp", "127.0.0.1:0", &Config{Sockets: 65}); err == nil {
		t.Error("65 sockets were not refused")
	}
}
