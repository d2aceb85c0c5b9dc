package endpoint

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A narrowSocket refuses datagrams that are longer than a path lets through.
type narrowSocket struct {
	*simnet.Conn
	most atomic.Int64 // bytes
}

func (c *narrowSocket) WriteTo(p []byte, to net.Addr) (int, error) {
	if int64(len(p)) > c.most.Load() {
		return 0, syscall.EMSGSIZE
	}
	return c.Conn.WriteTo(p, to)
}

// told is a sink that notes which MTUs it has been told.
type told struct {
	mu   sync.Mutex
	mtus []int
}

func (*told) Put(*link.Batch) {}

func (s *told) SetMTU(mtu int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mtus = append(s.mtus, mtu)
}

func (s *told) expect(t *testing.T, when string, want ...int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.mtus, want) {
		t.Errorf("%s: the sink was told %v, want %v", when, s.mtus, want)
	}
}

// onNarrowPath is a client's session through a socket that can be made narrow.
func onNarrowPath(t *testing.T, ipv6 bool) (s *Session, socket *narrowSocket, done func()) {
	n := simnet.New(1)
	lns := answering(t, n, 1, nil)
	conn, err := n.Listen(lacAddr)
	if err != nil {
		t.Fatal(err)
	}
	socket = &narrowSocket{Conn: conn}
	socket.most.Store(65507)
	lac, err := New(socket, &Config{HostName: "lac", Rand: random(1, 'c'), Logger: testLogger(t, "lac")})
	if err != nil {
		t.Fatal(err)
	}
	tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err = tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret", NoIPv6: !ipv6}); err != nil {
		t.Fatal(err)
	}
	return s, socket, func() { lac.Close(); lns.Close() }
}

func putBytes(s *Session, sizes ...int) {
	b := link.NewBatch()
	defer b.Free()
	for _, n := range sizes {
		b.Add(0, append([]byte{0x45}, make([]byte, n-1)...), nil)
	}
	s.Put(b)
	synctest.Wait()
}

func TestTheMTUFollowsThePath(t *testing.T) {
	// Issue: "path MTU from the outer socket". RFC 8201 §4: "An attempt to detect an
	// increase (by sending a packet larger than the current estimate) must not be done
	// less than 5 minutes after a Packet Too Big message has been received for the
	// given path. The recommended setting for this timer is twice its minimum value (10
	// minutes)."
	synctest.Test(t, func(t *testing.T) {
		s, socket, done := onNarrowPath(t, false)
		defer done()
		sink := &told{}
		s.Attach(sink)
		synctest.Wait()
		sink.expect(t, "attached", 1400)

		socket.most.Store(1372) // 1,400 bytes of IPv4 outside
		const overhead = 10 + 4 + 4
		for range 10 { // the socket does not say how long they may be
			putBytes(s, s.MTU())
		}
		now := s.MTU()
		if now > 1372-overhead || now < 1300 {
			t.Errorf("the MTU is %d, want at most %d, and not much less", now, 1372-overhead)
		}
		sink.mu.Lock()
		if k := len(sink.mtus); sink.mtus[k-1] != now || k > 6 {
			t.Errorf("the sink was told %v, want %d in a few steps", sink.mtus, now)
		}
		sink.mtus = nil
		sink.mu.Unlock()

		was := s.Status().Traffic
		putBytes(s, now, now+1, now)
		if c := s.Status().Traffic; c.PacketsOut != was.PacketsOut+2 || c.DroppedOut != was.DroppedOut+1 {
			t.Errorf("%d packets sent and %d dropped, want those that fit to be sent", c.PacketsOut-was.PacketsOut, c.DroppedOut-was.DroppedOut)
		}
		sink.expect(t, "nothing new")

		socket.most.Store(65507)
		time.Sleep(9 * time.Minute)
		putBytes(s, 100)
		sink.expect(t, "nine minutes later")
		time.Sleep(time.Minute)
		putBytes(s, 100)
		sink.expect(t, "ten minutes later", 1400)
		putBytes(s, 1400)
		if s.MTU() != 1400 {
			t.Errorf("the MTU is %d, want 1400 again", s.MTU())
		}
	})
}

func TestTheLeastMTU(t *testing.T) {
	// RFC 8200 §5: "On any link that cannot convey a 1280-octet packet in one piece,
	// link-specific fragmentation and reassembly must be provided at a layer below IPv6."
	for _, c := range []struct {
		ipv6 bool
		want int
	}{{false, 576}, {true, 1280}} {
		synctest.Test(t, func(t *testing.T) {
			s, socket, done := onNarrowPath(t, c.ipv6)
			defer done()
			socket.most.Store(300)
			for range 40 {
				putBytes(s, s.MTU())
			}
			if s.MTU() != c.want {
				t.Errorf("IPv6 %v: the MTU is %d, want %d", c.ipv6, s.MTU(), c.want)
			}
		})
	}
}

func TestAnotherSinkIsToldTheMTU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, socket, done := onNarrowPath(t, false)
		defer done()
		socket.most.Store(1372)
		for range 10 {
			putBytes(s, s.MTU())
		}
		sink := &told{}
		s.Attach(sink)
		synctest.Wait()
		narrow := s.MTU()
		sink.expect(t, "attached later", narrow)
		s.Attach(nil)
		s.tunnel.path.Store(s.tunnel.ep.pathTo(netip.MustParseAddrPort(lnsAddr), netip.Addr{}))
		putBytes(s, 100)
		if sink.expect(t, "taken away", narrow); s.MTU() != 1400 {
			t.Errorf("of a new path the MTU is %d, want 1400", s.MTU())
		}
	})
}

// Issue: "no black hole when ICMP is lost (a padded LCP echo or Hello probes the tunnel
// itself)".
func TestAPathThatLosesLongDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		host := func(address string) string { return netip.MustParseAddrPort(address).Addr().String() }
		narrow := func(mtu int) {
			for _, way := range [][2]string{{lacAddr, lnsAddr}, {lnsAddr, lacAddr}} {
				n.SetLink(host(way[0]), host(way[1]), simnet.Link{MTU: mtu, Delay: 50 * time.Millisecond})
			}
		}
		narrow(1400)
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		client, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
		if err != nil {
			t.Fatal(err)
		}
		server, err := lns.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sinks := map[*Session]*told{client: {}, server: {}}
		for s, sink := range sinks {
			s.Attach(sink)
		}
		time.Sleep(10 * time.Second)
		for s, sink := range sinks {
			if s.MTU() != 1360 { // and 28 bytes of UDP, 6 of L2TP, 4 of PPP
				t.Errorf("the MTU is %d, want 1360", s.MTU())
			}
			sink.expect(t, "narrow", 1400, 1360)
		}
		got, packets := collect()
		server.Attach(got)
		putBytes(client, 1360)
		time.Sleep(time.Second)
		if p := <-packets; len(p) != 1360 {
			t.Errorf("a packet of %d bytes came, want 1360", len(p))
		}
		narrow(1500)
		time.Sleep(11 * time.Minute)
		if client.MTU() != 1400 || server.MTU() != 1400 {
			t.Errorf("the MTUs are %d and %d, want 1400 when the path is wide again", client.MTU(), server.MTU())
		}
	})
}
