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

// The same of a pseudowire without PPP: HELLOs as long as its datagrams find out what comes
// through, each end for its own direction.
func TestHellosMeasureThePathOfAPseudowire(t *testing.T) {
	for _, c := range []struct {
		kind PseudowireType
		wide int // with 8 octets of session header and 8 of cookie
		want int // of 1,400 bytes outside
	}{
		{PseudowireEthernet, 1472 - 16 - 14, 1372 - 16 - 14},
		{PseudowireVLAN, 1472 - 16 - 18, 1372 - 16 - 18},
		{PseudowireIP, 1472 - 16, 1372 - 16},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			cfg := PseudowireConfig{Type: c.kind, CookieLen: 8}
			if c.kind == PseudowireVLAN {
				cfg.VLAN = 7
			}
			lns, lac := answeringV3(t, n, 1, func(a *AnswerConfig) {
				a.Pseudowire = func(Call) (*PseudowireConfig, error) { return &cfg, nil }
			}), dialling(t, n, 1)
			defer lns.Close()
			defer lac.Close()
			host := func(address string) string { return netip.MustParseAddrPort(address).Addr().String() }
			link := func(up, down int, loss float64) {
				n.SetLink(host(lacAddr), host(lnsAddr), simnet.Link{MTU: up, Delay: 50 * time.Millisecond, Loss: loss})
				n.SetLink(host(lnsAddr), host(lacAddr), simnet.Link{MTU: down, Delay: 50 * time.Millisecond, Loss: loss})
			}
			link(1400, 1500, 0)
			tun := dialV3(t, lac, nil)
			client, server := openV3(t, tun, lns, &cfg)
			up, down := &told{}, &told{}
			client.Attach(up)
			server.Attach(down)
			time.Sleep(10 * time.Second)
			if client.MTU() != c.want || server.MTU() != c.wide {
				t.Errorf("type %v: the MTUs are %d and %d, want %d where the path is narrow and %d where it is not", c.kind, client.MTU(), server.MTU(), c.want, c.wide)
			}
			up.expect(t, "narrow", c.wide, c.want)
			down.expect(t, "wide", c.wide)

			// It stays so, is wide again when the path is, and losses are not taken for anything.
			time.Sleep(35 * time.Minute)
			up.expect(t, "still narrow", c.wide, c.want)
			link(1500, 1500, 0.1)
			time.Sleep(12 * time.Minute)
			up.expect(t, "wide again", c.wide, c.want, c.wide)
			time.Sleep(5 * time.Hour)
			up.expect(t, "on a bad line", c.wide, c.want, c.wide)
			down.expect(t, "on a bad line", c.wide)
			if err := tun.Err(); err != nil {
				t.Errorf("the tunnel has ended: %v", err)
			}
		})
	}
}

// A tunnel has no such HELLOs without a session that needs them, and what else there is to
// say does not wait for them.
func TestHellosDoNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answeringV3(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		tun := dialV3(t, lac, nil)
		client, _ := openV3(t, tun, lns, nil)
		n.SetDefault(simnet.Link{MTU: 1000})
		time.Sleep(600 * time.Millisecond) // the first HELLO is lost
		began := time.Now()
		openV3(t, tun, lns, nil)
		if took := time.Since(began); took > 400*time.Millisecond {
			t.Errorf("a session was opened after %v", took)
		}
		time.Sleep(2 * time.Minute)
		if want := 1000 - 28 - 16 - 14; client.MTU() > want || client.MTU() < 576 {
			t.Errorf("the MTU is %d, want at most %d", client.MTU(), want)
		}
	})
}

// ppps is a PPP session between simulated hosts, whose path can be made narrow on both ways.
func ppps(t *testing.T, cfg *PPPConfig, mtu int, then func(narrow func(mtu int), client, server *Session)) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		narrow := bothWays(n)
		narrow(mtu)
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		client, err := tun.OpenPPP(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		server, err := lns.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client.Attach(&told{})
		server.Attach(&told{})
		then(narrow, client, server)
	})
}

// bothWays makes the path between the hosts narrow, on both ways.
func bothWays(n *simnet.Net) (narrow func(mtu int)) {
	host := func(address string) string { return netip.MustParseAddrPort(address).Addr().String() }
	return func(mtu int) {
		for _, way := range [][2]string{{lacAddr, lnsAddr}, {lnsAddr, lacAddr}} {
			n.SetLink(host(way[0]), host(way[1]), simnet.Link{MTU: mtu, Delay: 50 * time.Millisecond})
		}
	}
}

// use sends packets as long as they may be, one each second, for so long, and reports how
// many of them came.
func use(client, server *Session, d time.Duration) (came uint64) {
	was := server.Status().Traffic.PacketsIn
	for ; d > 0; d -= time.Second {
		putBytes(client, client.MTU())
		time.Sleep(time.Second)
	}
	return server.Status().Traffic.PacketsIn - was
}

// RFC 8200 §5: "On any link that cannot convey a 1280-octet packet in one piece,
// link-specific fragmentation and reassembly must be provided at a layer below IPv6." So
// datagrams that carry as much are known to be too long, where the path is narrower.
func TestAPathThatLosesTheShortestOfIPv6(t *testing.T) {
	for _, c := range []struct {
		outer  int
		noIPv6 bool
		mtu    int // inside
		known  int // of datagrams, as a session's way knows it; 0: it need not
	}{
		{1330, false, 1280, 0},
		{1310, false, 1280, 1152 + 4 + 6},
		{1300, false, 1280, 1152 + 4 + 6},
		{1000, false, 1280, 768 + 4 + 6},
		{1310, true, 1152, 0},
		{576, true, 576, 512 + 4 + 6},
	} {
		ppps(t, &PPPConfig{User: "alice", Password: "s3cret", NoIPv6: c.noIPv6}, c.outer, func(narrow func(int), client, server *Session) {
			shared := client.tunnel.path.Load()
			for range 4 {
				time.Sleep(13 * time.Minute)
				for _, s := range []*Session{client, server} {
					if s.MTU() != c.mtu || s.path().MaxDatagram() != c.known {
						t.Errorf("%+v: the MTU is %d, and the longest datagram %d", c, s.MTU(), s.path().MaxDatagram())
					}
				}
				if shared.MaxDatagram() != 0 {
					t.Errorf("%+v: other sessions are told %d", c, shared.MaxDatagram())
				}
			}
			narrow(1500)
			time.Sleep(11 * time.Minute)
			if client.MTU() != 1400 || client.path() != shared {
				t.Errorf("%+v: the MTU is %d when the path is wide, and the longest datagram %d", c, client.MTU(), client.path().MaxDatagram())
			}
			if n := use(client, server, 10*time.Second); n < 9 {
				t.Errorf("%+v: %d of 10 packets came", c, n)
			}
		})
	}
}

// Issue: "no black hole when ICMP is lost". Nor when a path becomes narrow while it is used:
// within a minute packets as long as they may be come through again.
func TestAPathThatBecomesNarrow(t *testing.T) {
	for _, noIPv6 := range []bool{false, true} {
		ppps(t, &PPPConfig{User: "alice", Password: "s3cret", NoIPv6: noIPv6}, 1500, func(narrow func(int), client, server *Session) {
			if use(client, server, 5*time.Minute); client.MTU() != 1400 {
				t.Errorf("the MTU is %d on a wide path, want 1400", client.MTU())
			}
			for _, outer := range []int{1400, 1320} {
				narrow(outer)
				use(client, server, time.Minute)
				if came := use(client, server, time.Minute); came < 58 {
					t.Errorf("%d packets of 60 came a minute after the path had %d bytes; the MTU is %d", came, outer, client.MTU())
				}
			}
		})
	}
}

// "or its address or route has changed": who knows that says so, and need not wait.
func TestAProbeFindsOutTheMTU(t *testing.T) {
	for name, probe := range map[string]func(*Session){"session": (*Session).Probe, "tunnel": func(s *Session) { s.Tunnel().Probe() }} {
		ppps(t, &PPPConfig{User: "alice", Password: "s3cret"}, 1500, func(narrow func(int), client, server *Session) {
			time.Sleep(time.Minute)
			narrow(1400)
			time.Sleep(time.Minute)
			if client.MTU() != 1400 {
				t.Errorf("by the %s: an idle session has an MTU of %d, want 1400", name, client.MTU())
			}
			probe(client)
			time.Sleep(10 * time.Second)
			if client.MTU() != 1360 {
				t.Errorf("by the %s: the MTU is %d, want 1360", name, client.MTU())
			}
			narrow(1500)
			probe(client)
			time.Sleep(2 * time.Second)
			if client.MTU() != 1400 {
				t.Errorf("by the %s: the MTU is %d when the path is wide, want 1400", name, client.MTU())
			}
		})
	}
}

// The same of a pseudowire without PPP.
func TestAPathThatBecomesNarrowForAPseudowire(t *testing.T) {
	const front = 16 + 14 // with a cookie, and the Ethernet header
	cfg := PseudowireConfig{Type: PseudowireEthernet, CookieLen: 8}
	for name, c := range map[string]struct {
		idle bool
		tell func(*Session)
	}{
		"used":    {tell: func(*Session) {}},
		"session": {idle: true, tell: (*Session).Probe},
		"tunnel":  {idle: true, tell: func(s *Session) { s.Tunnel().Probe() }},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			lns, lac := answeringV3(t, n, 1, func(a *AnswerConfig) {
				a.Pseudowire = func(Call) (*PseudowireConfig, error) { return &cfg, nil }
			}), dialling(t, n, 1)
			defer lns.Close()
			defer lac.Close()
			narrow := bothWays(n)
			narrow(1500)
			client, server := openV3(t, dialV3(t, lac, nil), lns, &cfg)
			client.Attach(&told{})
			server.Attach(&told{})
			pass := func(d time.Duration) (came uint64) {
				if c.idle {
					time.Sleep(d)
					return 0
				}
				return use(client, server, d)
			}
			pass(5 * time.Minute)
			for _, outer := range []int{1400, 1300, 576} {
				narrow(outer)
				if c.idle {
					pass(time.Minute)
					c.tell(client)
				}
				pass(time.Minute)
				if want := max(outer-28-front, 576); client.MTU() != want {
					t.Errorf("%s: the MTU is %d on a path of %d bytes, want %d", name, client.MTU(), outer, want)
				}
				if known := client.path().MaxDatagram(); known != outer-28 {
					t.Errorf("%s: the longest datagram is %d on a path of %d bytes, want %d", name, known, outer, outer-28)
				}
				if came := pass(time.Minute); !c.idle && came < 58 && outer > 600 {
					t.Errorf("%s: %d packets of 60 came on a path of %d bytes", name, came, outer)
				}
			}
		})
	}
}
