package endpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// A changing socket changes what is sent by it.
type changing struct {
	net.PacketConn
	change func([]byte) []byte
}

func (c changing) WriteTo(b []byte, to net.Addr) (int, error) {
	if b = c.change(append([]byte(nil), b...)); b != nil {
		c.PacketConn.WriteTo(b, to)
	}
	return len(b), nil
}

// sentMessages notes the types of the control messages that an address sends, and how many
// of them have no digest.
func sentMessages(n *simnet.Net, from string) (types func() []wire.MessageType, bare func() int) {
	var mu sync.Mutex
	var sent []wire.MessageType
	without := 0
	n.SetTap(func(r simnet.Record) {
		if r.Fate != simnet.Sent || r.From.String() != from || r.Payload[0]&0x80 == 0 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		_, avps, err := parseControl(r.Payload)
		m, _ := wire.ParseMessageV3(avps, nil)
		if err != nil || len(m.Digests) == 0 {
			without++
		}
		sent = append(sent, m.Type)
	})
	return func() []wire.MessageType { mu.Lock(); defer mu.Unlock(); return sent }, func() int { mu.Lock(); defer mu.Unlock(); return without }
}

// Issue: "A changed byte, a missing digest and a wrong secret lead to silence, a counter,
// and a time-out whose hint names the secret."
func TestV3WithoutTheSecretThereIsSilence(t *testing.T) {
	unsigned := func(b []byte) []byte { // without its Message Digest, which comes second
		h, avps, err := wire.ParseV3Control(b)
		if err != nil || len(avps) == 0 {
			return b
		}
		m, _ := wire.ParseMessageV3(avps, nil)
		m.Digests = nil
		b = m.AppendV3(wire.AppendV3ControlHeader(nil, h.TunnelID, h.Ns, h.Nr))
		wire.SetLength(b)
		return b
	}
	for name, c := range map[string]struct {
		secret   Secret
		fallback bool
		change   func([]byte) []byte
		server   Secret
	}{
		"another secret":                  {secret: "another", server: "tunsecret"},
		"another secret, with a fallback": {secret: "another", server: "tunsecret", fallback: true},
		"no secret":                       {server: "tunsecret"},
		"no secret there":                 {secret: "tunsecret"},
		"a changed byte":                  {secret: "tunsecret", server: "tunsecret", change: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		"a missing digest":                {secret: "tunsecret", server: "tunsecret", change: unsigned},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				sent, _ := sentMessages(n, lnsAddr)
				server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.Secret = c.server })
				defer server.Close()
				conn, err := n.Listen(lacAddr)
				if err != nil {
					t.Fatal(err)
				}
				var socket net.PacketConn = conn
				if c.change != nil {
					socket = changing{conn, c.change}
				}
				client, err := New(socket, &Config{Rand: random(1, 'c'), Logger: testLogger(t, "lac")})
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				began := time.Now()
				_, err = client.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: c.secret, V3: &V3Config{}, Fallback: c.fallback})
				timeout, ok := errors.AsType[*TimeoutError](err)
				if !ok || !timeout.Silent || strings.Contains(timeout.Hint(), "secret") != (c.secret != "") || strings.Contains(timeout.Hint(), "may not speak") == c.fallback {
					t.Errorf("dialling failed with %v (%T), hint %q", err, err, timeout.Hint())
				}
				// 10 retries: 1+2+4+8·8 s (RFC 3931 §4.2).
				if d := time.Since(began); d != 71*time.Second {
					t.Errorf("given up after %v", d)
				}
				st := server.Status()
				if st.Counters.BadDigest != 11 || st.HalfOpen != 0 || len(st.Tunnels) != 0 || len(sent()) != 0 {
					t.Errorf("the server has sent %v, and counts %+v", sent(), st.Counters)
				}
			})
		})
	}
}

// Issue: "without it [fall-back] the hint says that the peer may not speak v3"; RFC 3931
// §4.7.3.
func TestV3FallbackInBothRoles(t *testing.T) {
	for name, c := range map[string]struct {
		server   func(testing.TB, *simnet.Net, uint64, func(*AnswerConfig)) *Endpoint
		fallback bool
		version  int // 0: nothing is heard
	}{
		"to a server of L2TPv2":           {answering, true, 2},
		"to a server of both":             {answeringV3, true, 3},
		"without, to a server of L2TPv2":  {answering, false, 0},
		"without, to a server of both":    {answeringV3, false, 3},
		"by L2TPv2 to a server of both":   {answeringV3, true, -2},
		"by L2TPv2 to a server of L2TPv2": {answering, true, -2},
	} {
		for _, secret := range []Secret{"", "tunsecret"} {
			t.Run(fmt.Sprint(name, ", secret ", secret != ""), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := simnet.New(1)
					server := c.server(t, n, 1, func(a *AnswerConfig) { a.Secret = secret })
					defer server.Close()
					client := dialling(t, n, 1)
					defer client.Close()
					cfg := &TunnelConfig{Secret: secret, V3: &V3Config{}, Fallback: c.fallback}
					version := c.version
					if version == -2 {
						cfg.V3, cfg.Fallback, version = nil, false, 2
					}
					tun, err := client.Dial(t.Context(), lnsAddr, cfg)
					if version == 0 {
						timeout, ok := errors.AsType[*TimeoutError](err)
						if !ok || !strings.Contains(timeout.Hint(), "may not speak L2TPv3") || server.Status().Counters.UnknownVersion != 11 {
							t.Errorf("%v (%T), hint %q; the server counts %+v", err, err, timeout.Hint(), server.Status().Counters)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if v := tun.Status().Version; v != version {
						t.Fatalf("the tunnel is of version %d, want %d", v, version)
					}
					// PPP is for either.
					ours, err := tun.Open(t.Context(), &PseudowireConfig{Type: PseudowirePPP, PPP: &PPPConfig{User: "alice", Password: "s3cret"}})
					if err != nil {
						t.Fatal(err)
					}
					theirs, err := server.Accept(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					wantBothWays(t, ours, theirs, packet)
					if v := theirs.Tunnel().Status().Version; v != version {
						t.Errorf("the server's tunnel is of version %d", v)
					}
					_, err = tun.Open(t.Context(), nil)
					if (version == 2) != errors.Is(err, ErrVersion) {
						t.Errorf("an Ethernet: %v", err)
					}
				})
			})
		}
	}
}

// "two digests, two secrets during a roll-over": one end after the other gets the new
// secret, and in between all of them find each other.
func TestV3SecretsRollOver(t *testing.T) {
	type end struct{ secret, old Secret }
	both := [][]DigestType{nil, {DigestSHA1}, {DigestMD5, DigestSHA1}}
	for _, digests := range both {
		for _, answers := range both {
			synctest.Test(t, func(t *testing.T) {
				server, client := end{"one", ""}, end{"one", ""}
				works := func(want bool) {
					t.Helper()
					n := simnet.New(1)
					s := answeringV3(t, n, 1, func(a *AnswerConfig) {
						a.Secret, a.V3 = server.secret, &V3Config{OldSecret: server.old, Digests: answers}
					})
					defer s.Close()
					c := dialling(t, n, 1)
					defer c.Close()
					tun, err := c.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: client.secret, V3: &V3Config{OldSecret: client.old, Digests: digests}})
					if (err == nil) != want {
						t.Errorf("client %v, server %v: %v", client, server, err)
					}
					if err == nil {
						ours, theirs := openV3(t, tun, s, nil)
						wantBothWays(t, ours, theirs, frame)
					}
				}
				works(true)
				server = end{"two", "one"}
				works(true)
				client = end{"two", "one"}
				works(true)
				server = end{"two", ""}
				works(true)
				client = end{"two", ""}
				works(true)
				client = end{"one", ""}
				works(false)
				client = end{"three", "two"} // the other way round
				works(true)
			})
		}
	}
}

// Issue: "answers v2 and v3 on one port". Identifiers are the same for both, and mean
// different tunnels.
func TestV2AndV3ClientsOnOneSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond})
		server := answeringV3(t, n, 1, func(a *AnswerConfig) {
			a.Limits = Limits{Tunnels: -1, HalfOpenPerSource: -1, Burst: -1, RatePerSource: -1}
		})
		defer server.Close()
		const clients = 10
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() {
				e := host(t, n, fmt.Sprintf("192.0.2.%d:1701", 100+i), &Config{Rand: random(1, 'c')}) // the same ids each time
				var opened []*Session
				for k, cfg := range []*TunnelConfig{{}, {V3: &V3Config{}}, {V3: &V3Config{}, Fallback: true}, {V3: &V3Config{Integrity: true}}} {
					cfg.Secret = "tunsecret"
					tun, err := e.Dial(t.Context(), lnsAddr, cfg)
					if err != nil {
						t.Errorf("client %d, tunnel %d: %v", i, k, err)
						return
					}
					s, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
					if err == nil && cfg.V3 != nil {
						opened = append(opened, s)
						s, err = tun.Open(t.Context(), &PseudowireConfig{Type: PseudowireIP})
					}
					if err != nil {
						t.Errorf("client %d, tunnel %d: %v", i, k, err)
						return
					}
					opened = append(opened, s)
				}
				time.Sleep(5 * time.Minute)
				for _, s := range opened {
					sink, got := collect()
					s.Attach(sink)
					put(s, packet(fmt.Sprint(i, s.Type())))
					wantPacket(t, got, packet(fmt.Sprint(i, s.Type())))
				}
				e.Close()
			})
		}
		go func() {
			for {
				s, err := server.Accept(t.Context())
				if err != nil {
					return
				}
				s.Attach(s) // what comes goes back
			}
		}()
		time.Sleep(4 * time.Minute)
		if st := server.Status(); len(st.Tunnels) != 4*clients || st.Counters.BadDigest+st.Counters.UnknownTunnel+st.Counters.UnknownSession != 0 {
			t.Errorf("%d tunnels, counters %+v", len(st.Tunnels), st.Counters)
		}
		all.Wait()
		time.Sleep(5 * time.Minute)
		if st := server.Status(); len(st.Tunnels) != 0 || st.HalfOpen != 0 {
			t.Errorf("afterwards the server has %+v", st)
		}
		server.mu.Lock()
		defer server.mu.Unlock()
		for i := range server.sessions.rows {
			if row := server.sessions.rows[i].Load(); row != nil && len(*row) > 0 {
				t.Errorf("the table of sessions still has %d", len(*row))
			}
		}
	})
}

// Issue: "Loss, reordering […] in virtual time, a thousand seeds."
func TestV3LossDuplicationAndReordering(t *testing.T) {
	var up, failed int
	for seed := range seeds(60) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(seed)
			l := simnet.Link{Loss: .2, Duplicate: .1, Reorder: .2, Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond}
			n.SetDefault(l)
			server := answeringV3(t, n, seed, nil)
			defer server.Close()
			client := dialling(t, n, seed)
			defer client.Close()
			tun, err := client.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret", V3: &V3Config{}, Fallback: seed%2 == 0})
			if err != nil {
				failed++
				return
			}
			ours, err := tun.Open(t.Context(), &PseudowireConfig{Sequencing: SequencingBoth, ReorderTimeout: 100 * time.Millisecond})
			if err != nil {
				failed++
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			theirs, err := server.Accept(ctx)
			if err != nil {
				failed++
				return
			}
			up++
			sink, got := collect()
			theirs.Attach(sink)
			last, came := uint32(0), 0
			for i := range uint32(100) {
				put(ours, frame(string(binary.BigEndian.AppendUint32(nil, i+1))))
				time.Sleep(5 * time.Millisecond)
			}
			n.SetDefault(simnet.Link{})
			time.Sleep(time.Second)
			for len(got) > 0 {
				f := <-got
				number := binary.BigEndian.Uint32([]byte(f[14:]))
				if number <= last && theirs.arrival.order != nil {
					t.Errorf("seed %d: %d came after %d", seed, number, last)
				}
				last = number
				came++
			}
			if came < 40 {
				t.Errorf("seed %d: %d of 100 frames came", seed, came)
			}
			ours.Close()
			<-theirs.Done()
		})
	}
	if failed > (up+failed)/20 {
		t.Errorf("%d failed, %d came up", failed, up)
	}
}

// A peer that has restarted dials anew while its old tunnel stands, by L2TPv3.
func TestV3PeerThatRestarts(t *testing.T) {
	for _, again := range []byte{'c', 'd'} { // the same ids again, or others
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			server := answeringV3(t, n, 1, nil)
			defer server.Close()
			dial := func(who byte, name string) (*Endpoint, *Session, *Session) {
				e := host(t, n, lacAddr, &Config{HostName: name, Rand: random(1, who), Logger: testLogger(t, "lac")})
				ours, theirs := openV3(t, dialV3(t, e, nil), server, nil)
				return e, ours, theirs
			}
			old, _, dies := dial('c', "first")
			id := dies.Tunnel().PeerID()
			n.SetLink("192.0.2.1", "192.0.2.2", dead)
			n.SetLink("192.0.2.2", "192.0.2.1", dead)
			old.Close()
			n.SetLink("192.0.2.1", "192.0.2.2", simnet.Link{})
			n.SetLink("192.0.2.2", "192.0.2.1", simnet.Link{})
			risen, ours, theirs := dial(again, "risen")
			defer risen.Close()
			wantBothWays(t, ours, theirs, frame)
			if same := theirs.Tunnel().PeerID() == id; same != (again == 'c') {
				t.Fatalf("the peer's id is the same: %v", same)
			}
			<-dies.Done()
			if again == 'c' && !errors.Is(dies.Tunnel().Err(), ErrSuperseded) {
				t.Errorf("the old tunnel ended with %v", dies.Tunnel().Err())
			}
			wantBothWays(t, ours, theirs, frame)
		})
	}
}

// RFC 3931 §5.4.3, of the tie breaker: 'The lower value "wins", and the "loser" MUST discard
// its control connection. A StopCCN SHOULD be sent by the winner as an explicit rejection
// for the losing SCCRQ.'
func TestV3BothDialAtOnceAndOneTunnelStands(t *testing.T) {
	var lossy, unlucky int
	for seed := range seeds(40) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(seed)
			l := simnet.Link{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Reorder: .1}
			if seed%2 == 1 {
				l.Loss = .2
				lossy++
			}
			n.SetDefault(l)
			both := func(address string, who byte) *Endpoint {
				return host(t, n, address, &Config{HostName: string(who), Rand: random(seed, who), Logger: testLogger(t, string(who)),
					Answer: &AnswerConfig{Secret: "tunsecret", V3: &V3Config{}}})
			}
			a, b := both(lacAddr, 'a'), both(lnsAddr, 'b')
			defer a.Close()
			defer b.Close()
			dialled := make(chan error, 2)
			for i, d := range []struct {
				from *Endpoint
				to   string
			}{{a, lnsAddr}, {b, lacAddr}} {
				go func() {
					time.Sleep(time.Duration(i) * time.Duration(seed%5) * 4 * time.Millisecond) // before it hears of the other
					tun, err := d.from.Dial(t.Context(), d.to, &TunnelConfig{Secret: "tunsecret", V3: &V3Config{}, Fallback: seed%4 >= 2})
					if err == nil {
						_, err = tun.Open(t.Context(), &PseudowireConfig{RemoteEndID: d.to})
					}
					dialled <- err
				}()
			}
			var failed error
			for range 2 {
				failed = errors.Join(failed, <-dialled)
			}
			n.SetDefault(simnet.Link{})
			time.Sleep(3 * time.Minute)
			ta, tb := a.Status().Tunnels, b.Status().Tunnels
			if seed%2 == 1 && failed != nil {
				unlucky++
				return
			}
			if failed != nil {
				t.Errorf("seed %d: %v", seed, failed)
			}
			if len(ta) != 1 || len(tb) != 1 || ta[0].ID != tb[0].PeerID || ta[0].Version != 3 {
				t.Errorf("seed %d: expected one tunnel, found\n%+v\n%+v", seed, ta, tb)
			} else if len(ta[0].Sessions) != 2 {
				t.Errorf("seed %d: expected the sessions of both in it, found %+v", seed, ta[0].Sessions)
			}
		})
	}
	if unlucky > 1+lossy/10 {
		t.Errorf("%d of %d lossy links failed", unlucky, lossy)
	}
}

// RFC 3931 §5.4.4: of two sessions that are asked for at once for one circuit, one stands.
// The tie breakers of endpoints that answer as well see to that; of one alone it is its own.
func TestV3SessionsTie(t *testing.T) {
	for _, both := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond})
			server := answeringV3(t, n, 1, nil)
			defer server.Close()
			cfg := &Config{HostName: "lac", Rand: random(1, 'c'), Logger: testLogger(t, "lac")}
			if both {
				cfg.Answer = &AnswerConfig{V3: &V3Config{}}
			}
			client := host(t, n, lacAddr, cfg)
			defer client.Close()
			ours := dialV3(t, client, nil)
			openV3(t, ours, server, &PseudowireConfig{RemoteEndID: "another"})
			theirs := server.find(ours.ep.Addr(), func(*Tunnel) bool { return true })
			results := make(chan error, 2)
			for _, tun := range []*Tunnel{ours, theirs} {
				go func() {
					_, err := tun.Open(t.Context(), &PseudowireConfig{RemoteEndID: "one"})
					results <- err
				}()
			}
			lost, stand := 0, 0
			for range 2 {
				switch err := <-results; {
				case err == nil:
					stand++
				case errors.Is(err, ErrLostSessionTie):
					lost++
				default:
					if e, ok := errors.AsType[*PeerError](err); !ok || both && e.ResultCode != wire.CallLostTie {
						t.Errorf("a session failed with %v", err)
					}
					lost++
				}
			}
			time.Sleep(time.Minute)
			// Who does not answer refuses the server's, whose tie breaker has won already.
			if want := map[bool]int{true: 1, false: 0}[both]; stand != want || len(ours.Status().Sessions) != 1+want || len(theirs.Status().Sessions) != 1+want {
				t.Errorf("both answer %v: %d stand and %d have lost; %+v", both, stand, lost, ours.Status().Sessions)
			}
		})
	}
}

// Somebody who is dialled, does not know the secret, and sends our own SCCRQ back, or
// another one with our nonce: it has a right digest, and is not answered.
func TestV3OurOwnNonceIsNotAnswered(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(1)
			e := answeringV3(t, n, 1, nil)
			defer e.Close()
			mirror := tapped(t, n, lacAddr, lnsAddr)
			failed := make(chan error, 1)
			go func() {
				_, err := e.Dial(t.Context(), lacAddr, &TunnelConfig{Secret: "tunsecret", V3: &V3Config{}, Fallback: fallback})
				failed <- err
			}()
			b := make([]byte, 2000)
			for came := range 11 {
				mirror.conn.SetReadDeadline(time.Now().Add(time.Minute))
				k, _, err := mirror.conn.ReadFrom(b)
				if err != nil {
					t.Fatal(err)
				}
				_, avps, _ := parseControl(b[:k])
				if m, _ := wire.ParseMessageV3(avps, nil); m.Type != wire.SCCRQ {
					t.Fatalf("message %d is %v", came, m.Type)
				}
				mirror.conn.WriteTo(b[:k], mirror.to)
			}
			if _, ok := errors.AsType[*TimeoutError](<-failed); !ok {
				t.Error("the tunnel is up")
			}
			if c := e.Status().Counters; c.Answered != 0 || c.BadDigest == 0 {
				t.Errorf("it counts %+v", c)
			}
		})
	}
}

// RFC 3931 §3.3.1 allows an answer from another port, as RFC 2661 §8.1 does; whose digest
// is wrong chooses none.
func TestV3PeerMayAnswerFromAnotherPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		client := dialling(t, n, 1)
		defer client.Close()
		server := host(t, n, "192.0.2.2:5000", &Config{HostName: "lns", Rand: random(1, 's'), Answer: &AnswerConfig{Secret: "tunsecret", V3: &V3Config{}}})
		defer server.Close()
		// What comes to port 1701 is answered from port 5000, but first from 5001 by
		// somebody without the secret.
		known, other := tapped(t, n, lnsAddr, lacAddr), tapped(t, n, "192.0.2.2:5001", lacAddr)
		go func() {
			b := make([]byte, 2000)
			k, from, err := known.conn.ReadFrom(b)
			if err != nil {
				return
			}
			h, avps, _ := wire.ParseV3Control(b[:k])
			m, _ := wire.ParseMessageV3(avps, nil)
			forged := (&wire.Message{Type: wire.SCCRP, HostName: "forged", AssignedTunnelID: 9, V3: wire.V3{Pseudowires: []uint16{5}, Nonce: []byte("nonce"), Digests: []wire.DigestType{0}}}).AppendV3(wire.AppendV3ControlHeader(nil, m.AssignedTunnelID, 0, h.Ns+1))
			wire.SetLength(forged)
			other.conn.WriteTo(forged, from)
			time.Sleep(time.Second)
			server.receive(netip.MustParseAddrPort(lacAddr), netip.MustParseAddr("192.0.2.2"), b[:k], nil)
		}()
		tun := dialV3(t, client, nil)
		if tun.Peer().Port() != 5000 || tun.PeerName() != "lns" {
			t.Errorf("the peer is %q at %v", tun.PeerName(), tun.Peer())
		}
		ours, theirs := openV3(t, tun, server, nil)
		wantBothWays(t, ours, theirs, frame)
		if c := client.Status().Counters; c.BadDigest != 1 {
			t.Errorf("it counts %+v", c)
		}
	})
}

// "The v3 way of hiding AVPs": in both directions, and in an SCCRQ whose Assigned Control
// Connection ID is hidden.
func TestV3HiddenAVPs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		types, bare := sentMessages(n, lacAddr)
		server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.HideAVPs = true })
		defer server.Close()
		client := dialling(t, n, 1)
		defer client.Close()
		tun := dialV3(t, client, func(c *TunnelConfig) { c.HideAVPs = true })
		ours, theirs := openV3(t, tun, server, &PseudowireConfig{RemoteEndID: "hidden"})
		wantBothWays(t, ours, theirs, frame)
		if c, _ := theirs.Call(); c.RemoteEndID != "hidden" {
			t.Errorf("the call is %+v", c)
		}
		tun.Close()
		// RFC 3931 §5.4.1: "at least one Message Digest AVP MUST be present in all messages".
		if len(types()) < 6 || bare() != 0 {
			t.Errorf("of %v %d had no digest", types(), bare())
		}

		// As a peer does that hides whatever it may.
		m := sccrqV3(0xabcdef01)
		m.Digests, m.Nonce = []wire.DigestType{wire.DigestSHA1}, scriptNonce
		b := m.AppendHiddenV3(wire.AppendV3ControlHeader(nil, 0, 0, 0), wire.HidingKey([]byte("tunsecret")), random(1, 'h'))
		wire.SetLength(b)
		wire.Sign(b, nil, nil, wire.DigestKey([]byte("tunsecret")))
		if o, _ := wire.ParseOpeningV3(b[wire.V3ControlHeaderLen:]); o.Hidden == nil {
			t.Fatal("the id is not hidden")
		}
		peer := tapped(t, n, "192.0.2.77:1701", lnsAddr)
		peer.conn.WriteTo(b, peer.to)
		peer.conn.SetReadDeadline(time.Now().Add(time.Minute))
		reply := make([]byte, 2000)
		k, _, err := peer.conn.ReadFrom(reply)
		if err != nil {
			t.Fatal(err)
		}
		if h, _, _ := wire.ParseV3Control(reply[:k]); h.TunnelID != 0xabcdef01 {
			t.Errorf("the answer is for %#x", h.TunnelID)
		}
	})
}

// RFC 3931 §3.4.1 has session ids that are unique in the whole endpoint, those of static
// sessions included.
func TestV3SessionIDsAreUnique(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := answeringV3(t, n, 1, func(a *AnswerConfig) { a.Limits.Sessions, a.Limits.UnauthenticatedSessions = -1, -1 })
		defer server.Close()
		repeats := repeating(0)
		client := host(t, n, lacAddr, &Config{Rand: &repeats})
		defer client.Close()
		tun := dialV3(t, client, nil)
		static(t, client, lnsAddr, &StaticConfig{SessionID: 0x01010102, PeerSessionID: 1})
		seen := map[uint32]bool{0x01010102: true}
		for range 5 {
			s, err := tun.Open(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if seen[s.id] {
				t.Errorf("the session id %#x is given twice", s.id)
			}
			seen[s.id] = true
		}
		if !seen[0x01010101] || !seen[0x01010103] {
			t.Errorf("the ids are %v: the source did not repeat itself", seen)
		}
		if _, err := client.Static(t.Context(), lnsAddr, &StaticConfig{SessionID: 0x01010103, PeerSessionID: 1}); !errors.Is(err, ErrSessionID) {
			t.Errorf("a static session with the id of another: %v", err)
		}
	})
}

// repeating is a random source of ones.
type repeating int

func (*repeating) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 1
	}
	return len(b), nil
}
