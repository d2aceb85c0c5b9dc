package endpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// answeringV2 is a server that knows L2TPv2 alone.
func answeringV2(t testing.TB, n *simnet.Net, seed uint64, change func(*AnswerConfig)) *Endpoint {
	return answering(t, n, seed, func(a *AnswerConfig) { a.V3 = nil; change(a) })
}

// Issue: "without it [fall-back] the hint says that the peer may not speak v3"; RFC 3931
// §4.7.3.
func TestV3FallbackInBothRoles(t *testing.T) {
	for name, c := range map[string]struct {
		server   func(testing.TB, *simnet.Net, uint64, func(*AnswerConfig)) *Endpoint
		fallback bool
		version  int // 0: nothing is heard
	}{
		"to a server of L2TPv2":           {answeringV2, true, 2},
		"to a server of both":             {answeringV3, true, 3},
		"without, to a server of L2TPv2":  {answeringV2, false, 0},
		"without, to a server of both":    {answeringV3, false, 3},
		"by L2TPv2 to a server of both":   {answeringV3, true, -2},
		"by L2TPv2 to a server of L2TPv2": {answeringV2, true, -2},
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
						if !ok {
							t.Fatalf("dialling ended with %v", err)
						}
						if !strings.Contains(timeout.Hint(), "may not speak L2TPv3") || server.Status().Counters.UnknownVersion != 11 {
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

// RFC 3931 §5.4.3: "The Assigned Control Connection ID is a 4-octet non-zero unsigned
// integer", all of which is drawn; the SCCRQ of §4.7.3 has an Assigned Tunnel ID too, which
// has two octets, and is the same. A message for an id of which only the low bits are ours is
// nobody's.
func TestV3ConnectionIDsAreLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		server := answeringV3(t, n, 1, nil)
		defer server.Close()
		client := dialling(t, n, 1)
		defer client.Close()
		pure := dialV3(t, client, nil)
		either := dialV3(t, client, func(c *TunnelConfig) { c.Fallback = true })
		if pure.id <= 0xffff || pure.PeerID() <= 0xffff || either.id > 0xffff || either.PeerID() <= 0xffff {
			t.Errorf("the ids are %#x and %#x, with a fall-back %#x and %#x", pure.id, pure.PeerID(), either.id, either.PeerID())
		}
		for _, tun := range []*Tunnel{pure, either} {
			ours, theirs := openV3(t, tun, server, nil)
			wantBothWays(t, ours, theirs, frame)
		}
		id := pure.PeerID()
		if server.tunnel(id) == nil || server.tunnel(id&0xffff) != nil || server.tunnel(id^1<<31) != nil {
			t.Error("a tunnel is found by a part of its id")
		}
		before := server.Status().Counters.UnknownTunnel
		stranger := tapped(t, n, lacAddr[:len(lacAddr)-1]+"2", lnsAddr)
		for _, wrong := range []uint32{id & 0xffff, id ^ 1<<31} {
			stranger.conn.WriteTo(wire.AppendV3ControlHeader(nil, wrong, 0, 0), stranger.to)
		}
		stranger.conn.WriteTo(wire.AppendControlHeader(nil, id&0xffff, 0, 0, 0), stranger.to)
		synctest.Wait()
		if c := server.Status().Counters; c.UnknownTunnel != before+3 || c.WrongPeer != 0 {
			t.Errorf("the server counts %+v", c)
		}
	})
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
	for seed := range seeds(80) {
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
