package endpoint

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

func TestBothDialAtOnceAndOneTunnelStands(t *testing.T) {
	// RFC 2661 §4.4.3: the Tie Breaker AVP "indicates that the sender wishes a
	// single tunnel to exist between the given LAC-LNS pair. This value is used to
	// choose a single tunnel where both LAC and LNS initiate a tunnel concurrently.
	// The lower value 'wins', and the 'loser' MUST silently discard its tunnel."
	var lossy, unlucky int
	for seed := range seeds(30) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(seed)
			l := simnet.Link{Delay: 20 * time.Millisecond}
			if seed%2 == 1 {
				l.Loss = .2
				lossy++
			}
			n.SetDefault(l)
			both := func(address string, who byte) *Endpoint {
				return host(t, n, address, &Config{HostName: string(who), Rand: random(seed, who), Logger: testLogger(t, string(who)),
					Answer: &AnswerConfig{Secret: "tunsecret", Authenticate: users, Pool: pool(t)}})
			}
			a, b := both(lacAddr, 'a'), both(lnsAddr, 'b')
			defer a.Close()
			defer b.Close()
			dialled := make(chan error, 2)
			for _, d := range []struct {
				from *Endpoint
				to   string
			}{{a, lnsAddr}, {b, lacAddr}} {
				go func() {
					tun, err := d.from.Dial(t.Context(), d.to, &TunnelConfig{Secret: "tunsecret"})
					if err == nil {
						_, err = tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"})
					}
					dialled <- err
				}()
			}
			var failed error
			for range 2 {
				failed = errors.Join(failed, <-dialled)
			}
			l.Loss = 0 // in two minutes such a link may lose a Hello with all its retransmissions
			n.SetDefault(l)
			time.Sleep(2 * time.Minute)
			ta, tb := a.Status().Tunnels, b.Status().Tunnels
			if seed%2 == 1 && (failed != nil || len(ta) == 0 && len(tb) == 0) {
				unlucky++ // one message was lost six times
				return
			}
			if failed != nil {
				t.Errorf("seed %d: %v", seed, failed)
			}
			if len(ta) != 1 || len(tb) != 1 || ta[0].ID != tb[0].PeerID {
				t.Errorf("seed %d: expected one tunnel, found\n%+v\n%+v", seed, ta, tb)
			} else if len(ta[0].Sessions) != 2 {
				t.Errorf("seed %d: expected the sessions of both in it, found %+v", seed, ta[0].Sessions)
			}
		})
	}
	if unlucky > 1+lossy/20 {
		t.Errorf("%d of %d lossy links failed", unlucky, lossy)
	}
}

func TestATieBreakerOfZeroDoesNotStopADial(t *testing.T) {
	// Anybody can send an SCCRQ in the peer's name, and a zero wins always.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, nil)
		defer lns.Close()
		both := host(t, n, lacAddr, &Config{Rand: random(1, 'b'), Logger: testLogger(t, "both"), Answer: &AnswerConfig{Secret: "tunsecret", Authenticate: users, Pool: pool(t)}})
		defer both.Close()
		m := sccrq(7)
		m.Set(wire.AVPTieBreaker)
		forged := m.Append(wire.AppendControlHeader(nil, 0, 0, 0, 0))
		wire.SetLength(forged)
		stop := time.AfterFunc(time.Millisecond, func() {
			both.receive(lns.Addr(), lns.Addr().Addr(), forged, nil)
		})
		defer stop.Stop()
		n.SetDefault(simnet.Link{Delay: 50 * time.Millisecond})
		if _, err := both.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"}); err != nil {
			t.Errorf("the dial failed: %v", err)
		}
	})
}

func TestAPeerThatRestartsIsAnsweredAndItsOldTunnelGoes(t *testing.T) {
	for _, sameID := range []bool{true, false} {
		t.Run(fmt.Sprintf("the same id %v", sameID), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				lns := answering(t, n, 1, withoutSecret)
				defer lns.Close()
				s := scripted(t, n)
				s.tunnel()
				time.Sleep(time.Second)
				for ok := true; ok; {
					_, _, ok = s.next()
				}
				// It has lost everything, and begins anew.
				s.ns, s.nr, s.peer = 0, 0, 0
				id := uint32(7)
				if !sameID {
					id = 8
				}
				s.send(0, &wire.Message{Type: wire.SCCRQ, ProtocolVersion: wire.ProtocolVersion, FramingCapabilities: 3, HostName: "risen", AssignedTunnelID: id})
				s.peer = s.want(wire.SCCRP).AssignedTunnelID
				if up := tunnelsUp(lns); up != 1 {
					t.Errorf("%d tunnels are up before the new one is, want the old one", up)
				}
				s.send(0, &wire.Message{Type: wire.SCCCN})
				session := s.call()
				s.send(session, &wire.Message{Type: wire.ICCN, TxConnectSpeed: 1, FramingType: wire.FramingSync})
				if _, _, ok := s.nextData(); !ok {
					t.Error("the new tunnel carries nothing")
				}
				time.Sleep(time.Second)
				if sameID {
					if up := tunnelsUp(lns); up != 1 {
						t.Errorf("%d tunnels are up, want the new one alone", up)
					}
				}
				// Nobody acknowledges the old one's Hello: it dies by its own timers.
				time.Sleep(3 * time.Minute)
				if up := tunnelsUp(lns); up > 1 {
					t.Errorf("minutes later %d tunnels are up", up)
				}
			})
		})
	}
}

func tunnelsUp(e *Endpoint) (n int) {
	for _, t := range e.Status().Tunnels {
		if t.Up {
			n++
		}
	}
	return n
}

func TestOutgoingCalls(t *testing.T) {
	// RFC 2661 §7.5: the LNS asks the LAC to place a call.
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, func(a *AnswerConfig) { a.PlacesCalls = true })
		lac := dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		client, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret", Outgoing: &OutgoingCall{Number: "5551234"}})
		if err != nil {
			t.Fatal(err)
		}
		server, err := lns.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sink, got := collect()
		server.Attach(sink)
		put(client, packet("by a placed call"))
		wantPacket(t, got, packet("by a placed call"))
	})
}

func TestAnOutgoingCallThatNobodyPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret", Outgoing: &OutgoingCall{Number: "5551234"}})
		if e, ok := errors.AsType[*RefusedError](err); !ok || tun.Err() != nil {
			t.Errorf("got %v (%T), tunnel %v; want a *RefusedError, and the tunnel up", err, e, tun.Err())
		}
	})
}

func TestHiddenAVPs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns := answering(t, n, 1, func(a *AnswerConfig) { a.HideAVPs = true })
		lac := dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		hidden := 0
		n.SetTap(func(r simnet.Record) {
			h, avps, err := wire.ParseHeader(r.Payload)
			if r.Fate != simnet.Sent || err != nil || !h.Control {
				return
			}
			for d := wire.NewAVPs(avps); d.Next(); {
				if d.AVP().Hidden {
					hidden++
				}
			}
		})
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret", HideAVPs: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tun.OpenPPP(t.Context(), &PPPConfig{User: "alice", Password: "s3cret"}); err != nil {
			t.Fatal(err)
		}
		if hidden < 5 {
			t.Errorf("%d AVPs were hidden", hidden)
		}
	})
}
