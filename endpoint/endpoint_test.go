package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/ppp"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

const (
	lacAddr = "192.0.2.1:40000"
	lnsAddr = "192.0.2.2:1701"
)

// random is a machine's random source, the same for the same seed.
func random(seed uint64, who byte) *rand.ChaCha8 {
	var key [32]byte
	key[0], key[1], key[2], key[3] = who, byte(seed), byte(seed>>8), byte(seed>>16)
	return rand.NewChaCha8(key)
}

func host(t testing.TB, n *simnet.Net, address string, cfg *Config) *Endpoint {
	t.Helper()
	conn, err := n.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func pool(t testing.TB) *Pool {
	t.Helper()
	p, err := NewPool(netip.MustParsePrefix("10.77.0.0/24"), netip.Addr{}, []netip.Addr{netip.MustParseAddr("10.77.0.53")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// users knows alice, by her password, and bob, by the NT hash of his.
func users(_ context.Context, r AuthRequest) (Credential, error) {
	switch r.User {
	case "alice":
		return Credential{Password: "s3cret"}, nil
	case "bob": // RFC 2759 §9.2: the hash of "clientPass"
		return Credential{NTHash: &[16]byte{0x44, 0xeb, 0xba, 0x8d, 0x53, 0x12, 0xb8, 0xd6, 0x11, 0x47, 0x44, 0x11, 0xf5, 0x69, 0x89, 0xae}}, nil
	}
	return Credential{}, errors.New("no such user")
}

// answering is a server. It answers L2TPv3 too ("The v2 suite stays green on the same socket"), but where change has it
// otherwise.
func answering(t testing.TB, n *simnet.Net, seed uint64, change func(*AnswerConfig)) *Endpoint {
	t.Helper()
	a := &AnswerConfig{V3: &V3Config{}, Secret: "tunsecret", Methods: []AuthMethod{MSCHAPv2, CHAP, PAP}, Authenticate: users, Pool: pool(t)}
	if change != nil {
		change(a)
	}
	return host(t, n, lnsAddr, &Config{HostName: "lns", Rand: random(seed, 's'), Answer: a, Logger: testLogger(t, "lns")})
}

func dialling(t testing.TB, n *simnet.Net, seed uint64) *Endpoint {
	t.Helper()
	return host(t, n, lacAddr, &Config{HostName: "lac", Rand: random(seed, 'c'), Logger: testLogger(t, "lac")})
}

// testLogger shows the log of a failing test that -v follows.
func testLogger(t testing.TB, who string) *slog.Logger {
	if !testing.Verbose() {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("side", who)
}

// packet is an IPv4 packet as far as a session looks at it.
func packet(text string) []byte { return append([]byte{0x45}, text...) }

// collect is a sink that keeps what it gets.
func collect() (link.Sink, <-chan string) {
	got := make(chan string, 100)
	return link.SinkFunc(func(b *link.Batch) {
		for i := range b.Frames {
			got <- string(b.Frames[i].AppendTo(nil))
		}
	}), got
}

// put sends a packet whose bytes do not outlive the call.
func put(s *Session, p []byte) {
	var b link.Batch
	p = append([]byte(nil), p...)
	b.Add(0, p, nil)
	s.Put(&b)
	for i := range p {
		p[i] = 0xdb
	}
}

func wantPacket(t *testing.T, got <-chan string, want []byte) {
	t.Helper()
	select {
	case p := <-got:
		if p != string(want) {
			t.Errorf("received %q, want %q", p, want)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("%q was not received", want)
	}
}

func TestATunnelWithASessionBothRoles(t *testing.T) {
	for _, method := range []AuthMethod{PAP, CHAP, MSCHAPv2, EAPMD5, EAPMSCHAPv2} {
		for _, secret := range []Secret{"", "tunsecret"} {
			for _, user := range []string{"alice", "bob"} {
				if user == "bob" && (method == CHAP || method == EAPMD5) {
					continue // an NT hash does not serve there
				}
				t.Run(fmt.Sprintf("%v, secret %v, %s", method, secret != "", user), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { bothRoles(t, method, secret, user) })
				})
			}
		}
	}
}

func bothRoles(t *testing.T, method AuthMethod, secret Secret, user string) {
	n := simnet.New(1)
	lns := answering(t, n, 1, func(a *AnswerConfig) { a.Secret, a.Methods = secret, []AuthMethod{method} })
	lac := dialling(t, n, 1)
	tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	if tun.PeerName() != "lns" || tun.Peer().String() != lnsAddr {
		t.Errorf("the peer is %q at %v", tun.PeerName(), tun.Peer())
	}
	password := Secret("s3cret")
	if user == "bob" {
		password = "clientPass"
	}
	client, err := tun.OpenPPP(t.Context(), &PPPConfig{User: user, Password: password, Methods: []AuthMethod{method}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := lns.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if server.User() != user {
		t.Errorf("user %q, want %q", server.User(), user)
	}
	if a := client.Addresses(); len(a) != 1 || a[0].String() != "10.77.0.2/32" || server.PeerAddress() != a[0].Addr() {
		t.Errorf("the client's address is %v, and %v for the server", a, server.PeerAddress())
	}
	if d := client.DNS(); len(d) != 1 || d[0].String() != "10.77.0.53" {
		t.Errorf("DNS %v", d)
	}
	if client.MTU() != 1400 || server.MTU() != 1400 {
		t.Errorf("MTU %d and %d, want 1400", client.MTU(), server.MTU())
	}

	toClient, atClient := collect()
	toServer, atServer := collect()
	put(client, packet("nobody is attached yet"))
	time.Sleep(time.Second)
	client.Attach(toClient)
	server.Attach(toServer)
	wantPacket(t, atServer, packet("nobody is attached yet"))
	server.Attach(nil)
	put(client, packet("nobody is attached any more"))
	time.Sleep(time.Second)
	server.Attach(toServer)
	put(client, packet("up"))
	put(server, packet("down"))
	wantPacket(t, atServer, packet("up"))
	wantPacket(t, atClient, packet("down"))
	put(client, append([]byte{0x50}, make([]byte, 39)...)) // there is no IP of version 5
	put(client, make([]byte, 1401))
	if tr := client.Status().Traffic; tr.PacketsOut != 3 || tr.DroppedOut != 2 || tr.PacketsIn != 1 {
		t.Errorf("the client counts %+v", tr)
	}
	if tr := server.Status().Traffic; tr.PacketsIn != 2 || tr.DroppedIn != 1 {
		t.Errorf("the server counts %+v", tr)
	}
	if st := lns.Status(); len(st.Tunnels) != 1 || !st.Tunnels[0].Up || st.Tunnels[0].Dialed || len(st.Tunnels[0].Sessions) != 1 || st.Tunnels[0].Sessions[0].State != SessionUp {
		t.Errorf("the server's status is %+v", st)
	}

	closed := time.Now()
	lac.Close()
	if d := time.Since(closed); d > 2*time.Second {
		t.Errorf("Close took %v, want at most 2 s", d)
	}
	if !errors.Is(client.Err(), net.ErrClosed) || !errors.Is(tun.Err(), net.ErrClosed) {
		t.Errorf("after Close: session %v, tunnel %v, want net.ErrClosed", client.Err(), tun.Err())
	}
	<-server.Done()
	wantPeer("CDN", 3)(t, server.Err())
	time.Sleep(time.Minute)
	if st := lns.Status(); len(st.Tunnels) != 0 {
		t.Errorf("a minute later the server still has %+v", st.Tunnels)
	}
	lns.Close()
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		tunnel TunnelConfig
		ppp    PPPConfig
		answer func(*AnswerConfig)
		check  func(t *testing.T, err error)
	}{
		{"a wrong password", TunnelConfig{Secret: "tunsecret"}, PPPConfig{User: "alice", Password: "wrong"}, nil, wantAuth(false, MSCHAPv2)},
		{"an unknown user", TunnelConfig{Secret: "tunsecret"}, PPPConfig{User: "mallory", Password: "s3cret"}, nil, wantAuth(false, MSCHAPv2)},
		{"a wrong password by PAP", TunnelConfig{Secret: "tunsecret"}, PPPConfig{User: "alice", Password: "wrong", Methods: []AuthMethod{PAP}}, nil, wantAuth(false, PAP)},
		{"a wrong password by CHAP", TunnelConfig{Secret: "tunsecret"}, PPPConfig{User: "alice", Password: "wrong", Methods: []AuthMethod{CHAP}}, nil, wantAuth(false, CHAP)},
		{"an NT hash by CHAP", TunnelConfig{Secret: "tunsecret"}, PPPConfig{User: "bob", Password: "clientPass", Methods: []AuthMethod{CHAP}}, nil, wantAuth(false, CHAP)},
		{"no method in common", TunnelConfig{Secret: "tunsecret"}, PPPConfig{User: "alice", Password: "s3cret"},
			func(a *AnswerConfig) { a.Methods = []AuthMethod{PAP} }, wantAuth(false, 0)},
		{"a wrong secret", TunnelConfig{Secret: "wrong"}, PPPConfig{}, nil, wantAuth(true, 0)},
		{"no secret where one is wanted", TunnelConfig{}, PPPConfig{}, nil, wantAuth(true, 0)},
		{"a secret where none is known", TunnelConfig{Secret: "tunsecret"}, PPPConfig{}, func(a *AnswerConfig) { a.Secret = "" }, wantPeer("StopCCN", 4)},
		{"no address left", TunnelConfig{Secret: "tunsecret"}, PPPConfig{User: "alice", Password: "s3cret"},
			func(a *AnswerConfig) { a.Pool = emptyPool{} }, func(t *testing.T, err error) {
				if e, ok := errors.AsType[*PPPError](err); !ok || e.Reason != "no address is free" {
					t.Errorf("got %v (%T), want a *PPPError with the peer's reason", err, err)
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				lns, lac := answering(t, n, 1, c.answer), dialling(t, n, 1)
				defer lns.Close()
				defer lac.Close()
				tun, err := lac.Dial(t.Context(), lnsAddr, &c.tunnel)
				if err == nil {
					_, err = tun.OpenPPP(t.Context(), &c.ppp)
				}
				if err == nil {
					t.Fatal("it worked")
				}
				t.Log(err)
				c.check(t, err)
				// A session that failed leaves its tunnel alone, and nothing behind.
				if tun != nil {
					if err := tun.Err(); err != nil {
						t.Errorf("the tunnel is down too: %v", err)
					}
					time.Sleep(time.Minute)
					if s := lns.Status().Tunnels[0].Sessions; len(s) != 0 {
						t.Errorf("the server still has %+v", s)
					}
				}
			})
		})
	}
}

type emptyPool struct{}

func (emptyPool) Assign(context.Context, AddressRequest) (Lease, error) { return Lease{}, ErrPoolEmpty }
func (emptyPool) Release(Lease)                                         {}

func wantAuth(tunnel bool, m AuthMethod) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		if e, ok := errors.AsType[*AuthError](err); !ok || e.Tunnel != tunnel || e.Method != m {
			t.Errorf("got %v (%T), want an *AuthError with Tunnel %v and Method %v", err, err, tunnel, m)
		}
	}
}

func wantPeer(message string, code uint16) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		if e, ok := errors.AsType[*PeerError](err); !ok || e.Message != message || e.ResultCode != code {
			t.Errorf("got %v (%T), want a *PeerError with %s, result %d", err, err, message, code)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lac := dialling(t, simnet.New(1), 1)
		defer lac.Close()
		begin := time.Now()
		_, err := lac.Dial(t.Context(), lnsAddr, nil)
		e, ok := errors.AsType[*TimeoutError](err)
		if !ok || !e.Silent || !e.Timeout() {
			t.Errorf("got %v (%T), want a silent *TimeoutError", err, err)
		}
		// 1 s + 2 + 4 + 8 + 8 + 8: six SCCRQs.
		if d := time.Since(begin); d != 31*time.Second {
			t.Errorf("gave up after %v, want 31s", d)
		}
	})
}

func TestAContextAbandonsADialAndACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lac := dialling(t, n, 1)
		defer lac.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := lac.Dial(ctx, lnsAddr, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v, want the context's error", err)
		}
		lns := answering(t, n, 1, func(a *AnswerConfig) {
			a.Authenticate = func(ctx context.Context, _ AuthRequest) (Credential, error) {
				<-ctx.Done() // a directory that never answers
				return Credential{}, ctx.Err()
			}
		})
		defer lns.Close()
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := tun.OpenPPP(ctx, &PPPConfig{User: "alice", Password: "s3cret"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("OpenPPP: %v, want the context's error", err)
		}
		time.Sleep(5 * time.Second)
		if s := tun.Status().Sessions; len(s) != 0 {
			t.Errorf("the abandoned session is still there: %+v", s)
		}
	})
}

func TestManySessionsAndTunnelsOnASocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, nil)
		lac := dialling(t, n, 1)
		const tunnels, sessions = 5, 7
		clients := map[netip.Addr]*Session{}
		for range tunnels {
			tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
			if err != nil {
				t.Fatal(err)
			}
			for range sessions {
				s, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
				if err != nil {
					t.Fatal(err)
				}
				clients[s.Addresses()[0].Addr()] = s
			}
		}
		if len(clients) != tunnels*sessions {
			t.Fatalf("%d different addresses, want %d", len(clients), tunnels*sessions)
		}
		for range tunnels * sessions {
			s, err := lns.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sink, got := collect()
			client := clients[s.PeerAddress()]
			client.Attach(sink)
			put(s, packet("to "+s.PeerAddress().String()))
			wantPacket(t, got, packet("to "+s.PeerAddress().String()))
		}
		// One session's end is no other's.
		var gone *Session
		for _, s := range clients {
			gone = s
			break
		}
		gone.Close()
		time.Sleep(time.Second)
		up := 0
		for _, tun := range lns.Status().Tunnels {
			up += len(tun.Sessions)
		}
		if up != tunnels*sessions-1 {
			t.Errorf("%d sessions are up, want %d", up, tunnels*sessions-1)
		}
		lns.Close()
		for _, s := range clients {
			<-s.Done()
		}
		lac.Close()
	})
}

func TestADatagramWithTheRightIdsFromElsewhereIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		stranger, err := n.Listen("192.0.2.66:1701")
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		var heard [][]byte
		n.SetTap(func(r simnet.Record) {
			if r.Fate == simnet.Sent && r.To.String() == lnsAddr {
				heard = append(heard, append([]byte(nil), r.Payload...))
			}
		})
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"}); err != nil {
			t.Fatal(err)
		}
		s, err := lns.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sink, got := collect()
		s.Attach(sink)
		time.Sleep(time.Second)
		n.SetTap(nil)
		lnsUDP := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(lnsAddr))
		for _, p := range heard[1:] { // the first is an SCCRQ, which anybody may send
			stranger.WriteTo(p, lnsUDP)
		}
		forged := make([]byte, wire.DataHeaderLen+ppp.HeaderLen)
		wire.PutDataHeader(forged, s.tunnel.id, s.id)
		ppp.PutHeader(forged[wire.DataHeaderLen:], ppp.ProtocolIPv4)
		forged = append(forged, packet("forged")...)
		stranger.WriteTo(forged, lnsUDP)
		time.Sleep(time.Second)
		if c := lns.Status().Counters; c.WrongPeer != uint64(len(heard)) {
			t.Errorf("%d datagrams were dropped for their address, want %d", c.WrongPeer, len(heard))
		}
		if len(got) != 0 {
			t.Errorf("a forged packet came through: %q", <-got)
		}
		if s.Err() != nil {
			t.Errorf("the session ended: %v", s.Err())
		}
	})
}

// seeds is how many networks a test tries: a thousand in the full run, fewer with -short.
func seeds(quick int) uint64 {
	if os.Getenv("L2TPNET_FULL") == "1" {
		return 1000
	}
	if testing.Short() {
		return uint64(max(1, quick/4))
	}
	return uint64(quick)
}

func TestLossDuplicationAndReordering(t *testing.T) {
	var up, failed int
	for seed := range seeds(100) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(seed)
			n.SetDefault(simnet.Link{Loss: .2, Duplicate: .1, Reorder: .2, Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond})
			lns, lac := answering(t, n, seed, nil), dialling(t, n, seed)
			begin := time.Now()
			err := func() error {
				tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
				if err != nil {
					return err
				}
				s, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
				if err != nil {
					return err
				}
				if _, err = lns.Accept(t.Context()); err != nil {
					return err
				}
				if a := s.Addresses(); len(a) != 1 {
					t.Errorf("seed %d: up with addresses %v", seed, a)
				}
				return nil
			}()
			if err == nil {
				up++
			} else {
				failed++
				// The longest way: 31 s of retransmissions or 30 s of waiting for
				// the tunnel, as much for the call, two minutes for PPP.
				if d := time.Since(begin); d > 4*time.Minute {
					t.Errorf("seed %d: failed after %v", seed, d)
				}
				_, timeout := errors.AsType[*TimeoutError](err)
				_, peer := errors.AsType[*PeerError](err)
				_, link := errors.AsType[*PPPError](err)
				if !timeout && !peer && !link {
					t.Errorf("seed %d: %v (%T), want that somebody's patience ended", seed, err, err)
				}
			}
			lac.Close()
			lns.Close()
		})
	}
	t.Logf("%d came up, %d failed", up, failed)
	if up < 9*failed {
		t.Errorf("%d came up and %d failed, want nine of ten up", up, failed)
	}
}

func TestClosingWhileEverythingIsUnderWay(t *testing.T) {
	// Whenever Close comes, it returns in time and leaves nothing (synctest
	// fails a test that leaves goroutines).
	for ms := 0; ms < 400; ms += 7 {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(uint64(ms))
			n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond})
			lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
			time.AfterFunc(time.Duration(ms)*time.Millisecond+1, func() { lac.Close() }) // not 0: see simnet
			tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
			if err == nil {
				var s *Session
				if s, err = tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"}); err == nil {
					<-s.Done()
					err = s.Err()
				}
			}
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("closed after %d ms: %v, want net.ErrClosed", ms, err)
			}
			<-lac.Done()
			lns.Close()
		})
	}
}
