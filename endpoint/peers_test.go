package endpoint

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/simnet"
	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// nothing is a sink that is content.
var nothing = link.SinkFunc(func(*link.Batch) {})

// dead is a link on which nothing arrives any more.
var dead = simnet.Link{Loss: 1}

// talk has a session send a packet every 500 ms until it is over, and tells what
// became of it.
func talk(s *Session) {
	s.Attach(nothing)
	for {
		put(s, packet("are you there?"))
		select {
		case <-s.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// wantGone waits for the end of a session or tunnel whose peer was there last at
// that time.
func wantGone(t *testing.T, what string, x interface {
	Done() <-chan struct{}
	Err() error
}, since time.Time, within time.Duration) {
	t.Helper()
	select {
	case <-x.Done():
	case <-time.After(time.Hour):
		t.Fatalf("%s still stands", what)
	}
	if d := time.Since(since); d > within {
		t.Errorf("%s ended after %v, want %v at most", what, d, within)
	}
	if _, ok := errors.AsType[*TimeoutError](x.Err()); !ok {
		t.Errorf("%s ended with %v (%T), want a *TimeoutError", what, x.Err(), x.Err())
	}
}

// "Dead peers: found within 30 s while traffic flows (PPP echo; a Hello as soon as
// traffic has gone one way for 5 s)." At both ends, in whichever direction it went.
func TestDeadPeersAreFound(t *testing.T) {
	for _, c := range []struct {
		name                 string
		clientTalks, srvTalk bool
	}{{"both talk", true, true}, {"the client talks", true, false}, {"the server talks", false, true}, {"nobody talks", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range seeds(2) {
				synctest.Test(t, func(t *testing.T) {
					n := simnet.New(seed)
					n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond, Loss: .05})
					lns, lac := answering(t, n, seed, nil), dialling(t, n, seed)
					defer lns.Close()
					defer lac.Close()
					client, server := calling(t, lac, lns, lnsAddr)
					if c.clientTalks {
						go talk(client)
					}
					if c.srvTalk {
						go talk(server)
					}
					time.Sleep(time.Minute + time.Duration(seed)*777*time.Millisecond)
					n.SetDefault(dead)
					cut := time.Now()
					wantGone(t, "the client's session", client, cut, 30*time.Second)
					wantGone(t, "the server's session", server, cut, 30*time.Second)
					wantGone(t, "the client's tunnel", client.Tunnel(), cut, time.Minute)
					wantGone(t, "the server's tunnel", server.Tunnel(), cut, time.Minute)
				})
			}
		})
	}
}

// A tunnel without sessions has Hellos alone: a minute of silence, and a full
// retransmission cycle (RFC 2661 §6.5, §5.8).
func TestADeadPeerOfABareTunnelIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		tun, err := lac.Dial(t.Context(), lnsAddr, &TunnelConfig{Secret: "tunsecret"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if tun.Err() != nil || len(lns.Status().Tunnels) != 1 {
			t.Fatalf("in ten quiet minutes the tunnel ended: %v", tun.Err())
		}
		n.SetDefault(dead)
		wantGone(t, "the tunnel", tun, time.Now(), 91*time.Second)
	})
}

// RFC 2661 §5.8: "the tunnel and all sessions within MUST be cleared." A peer that
// does not know Echo-Requests is found by the Hello, and its sessions end at once.
func TestSessionsEndWithTheirTunnelsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		client, _ := calling(t, lac, lns, lnsAddr)
		// LCP Code-Reject of code 9.
		client.ppp.runner.Handle([]byte{0xff, 3, 0xc0, 0x21, 7, 1, 0, 8, 9, 1, 0, 4})
		go talk(client)
		time.Sleep(time.Minute)
		n.SetDefault(dead)
		cut := time.Now()
		wantGone(t, "the session", client, cut, 30*time.Second)
		wantGone(t, "the tunnel", client.Tunnel(), cut, 30*time.Second)
		if s, tun := client.Err().Error(), client.Tunnel().Err().Error(); s != tun {
			t.Errorf("the session ended with %q, its tunnel with %q, want the same", s, tun)
		}
	})
}

// A peer that lives, behind a line that loses a fifth of all for an hour, is not
// given up, whoever talks.
func TestALossyLineEndsNothing(t *testing.T) {
	for seed := range seeds(2) {
		synctest.Test(t, func(t *testing.T) {
			n := simnet.New(seed)
			lns, lac := answering(t, n, seed, nil), dialling(t, n, seed)
			defer lns.Close()
			defer lac.Close()
			client, server := calling(t, lac, lns, lnsAddr)
			client.Attach(nothing)
			server.Attach(nothing)
			n.SetDefault(simnet.Link{Delay: 50 * time.Millisecond, Jitter: 100 * time.Millisecond, Loss: .2, Duplicate: .1})
			for second := range 3600 {
				switch (second / 300) % 4 { // for five minutes each
				case 0: // nobody
				case 1:
					put(client, packet("up"))
				case 2:
					put(server, packet("down"))
				default:
					put(client, packet("up"))
					put(server, packet("down"))
				}
				time.Sleep(time.Second)
			}
			for _, s := range []*Session{client, server} {
				if s.Err() != nil || s.Tunnel().Err() != nil {
					t.Errorf("seed %d: an hour later the session has ended with %v, the tunnel with %v", seed, s.Err(), s.Tunnel().Err())
				}
			}
			n.SetDefault(simnet.Link{})
		})
	}
}

// Probe finds out soon whether the peer is there.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		lns, lac := answering(t, n, 1, nil), dialling(t, n, 1)
		defer lns.Close()
		defer lac.Close()
		first, server := calling(t, lac, lns, lnsAddr)
		second, _ := calling(t, lac, lns, lnsAddr)

		time.Sleep(time.Second)
		var datagrams atomic.Int32
		n.SetTap(func(r simnet.Record) {
			if r.Fate == simnet.Sent {
				datagrams.Add(1)
			}
		})
		first.Tunnel().Probe()
		server.Probe()
		time.Sleep(time.Second)
		if d := datagrams.Load(); d != 10 { // a Hello, two echoes and two long ones, and an answer to each
			t.Errorf("%d datagrams went over the line at once, want 10", d)
		}
		time.Sleep(time.Minute)
		if first.Err() != nil || server.Err() != nil {
			t.Errorf("a session whose peer is there ended: %v, %v", first.Err(), server.Err())
		}

		n.SetDefault(dead)
		cut := time.Now()
		first.Tunnel().Probe()
		second.Probe()
		wantGone(t, "a session of the tunnel that was probed", first, cut, 5*time.Second)
		wantGone(t, "the session that was probed", second, cut, 5*time.Second)
		if err := second.Tunnel().Err(); err != nil {
			t.Errorf("a probe of one session has ended its tunnel: %v", err)
		}
		wantGone(t, "the tunnel that was probed", first.Tunnel(), cut, 10*time.Second)
		first.Probe()
		first.Tunnel().Probe() // mean nothing now
	})
}
