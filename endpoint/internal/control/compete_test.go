package control

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// RFC 2661 §4.4.3: "The lower value "wins" […]. In the case where a tie breaker is
// present on both sides, and the value is equal, both sides MUST discard their
// tunnels. If a tie breaker is received, and an outstanding SCCRQ had no tie
// breaker value, the initiator which included the Tie Breaker AVP "wins". If
// neither side issues a tie breaker, then two separate tunnels are opened."
func TestCollide(t *testing.T) {
	value := func(octets ...byte) *[8]byte {
		var v [8]byte
		copy(v[:], octets)
		return &v
	}
	for _, tc := range []struct {
		a, b *[8]byte
		want Collision // for a; b sees the opposite
	}{
		{nil, nil, BothStand},
		{value(9), nil, OursWins},
		{value(), nil, OursWins}, // 0 is a value
		{value(1), value(2), OursWins},
		{value(0, 0, 0, 0, 0, 0, 0, 1), value(0, 0, 0, 0, 0, 0, 1), OursWins},
		{value(0x7f), value(0x80), OursWins}, // without a sign
		{value(), value(0, 0, 0, 0, 0, 0, 0, 1), OursWins},
		{value(1), value(1), NoneWins},
		{value(), value(), NoneWins},
	} {
		opposite := map[Collision]Collision{BothStand: BothStand, NoneWins: NoneWins, OursWins: TheirsWins}[tc.want]
		if got, other := Collide(tc.a, tc.b), Collide(tc.b, tc.a); got != tc.want || other != opposite {
			t.Errorf("%v and %v: %v, and for the other %v; expected %v and %v", tc.a, tc.b, got, other, tc.want, opposite)
		}
	}
}

// RFC 2661 §4.4.3, Tie Breaker: it is in SCCRQ, random, and 0 is a value too.
func TestTieBreakerIsSent(t *testing.T) {
	s := newScript(t, Dial, Config{Rand: chacha(1), TieBreaker: true})
	if theirs := PeerTieBreaker(s.last); theirs == nil || *theirs == [8]byte{} || *theirs != *s.m.TieBreaker() {
		t.Errorf("SCCRQ has the tie breaker %x, the tunnel %x", theirs, s.m.TieBreaker())
	}
	s = newScript(t, Dial, Config{TieBreaker: true}) // from a source of zeros
	if theirs := PeerTieBreaker(s.last); theirs == nil {
		t.Errorf("SCCRQ has no tie breaker")
	}
	s = newScript(t, Dial, Config{})
	if PeerTieBreaker(s.last) != nil || s.m.TieBreaker() != nil {
		t.Errorf("SCCRQ has a tie breaker that nobody wants")
	}
	s = newScript(t, Answer, Config{TieBreaker: true})
	s.peer(0, sccrq(func(m *wire.Message) { m.Set(wire.AVPTieBreaker) }))
	if s.last.Type != wire.SCCRP || len(s.last.Skipped) > 0 || s.m.TieBreaker() != nil || !s.m.peer.SingleTunnel {
		t.Errorf("answered a tie breaker with %+v, and learnt %+v", s.last, s.m.peer)
	}
}

// RFC 2661 §7.2.1: "wait-ctl-reply, Receive SCCRQ, lose tie-breaker: Clean up,
// Re-queue SCCRQ for idle state". The loser is silent.
func TestLostTie(t *testing.T) {
	s := newScript(t, Dial, Config{TieBreaker: true})
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.do(s.m.Yield)
	s.run(10 * time.Second)
	s.do(s.m.LoseTie) // the peer's tunnel is up
	s.run(time.Hour)
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "10s SessionDown 1 "+ErrLostTie.Error(), "10s TunnelDown "+ErrLostTie.Error(), "10s Gone")
	if !errors.Is(s.m.err, ErrLostTie) {
		t.Errorf("the error is %v", s.m.err)
	}

	// The peer's tunnel does not come up: this one begins again.
	s = newScript(t, Dial, Config{TieBreaker: true})
	s.run(2 * time.Second)
	s.lines = nil
	s.do(s.m.Yield)
	s.run(55 * time.Second)
	s.want("32s SCCRQ ns=0 nr=0 tunnel=0", "34s SCCRQ ns=0 nr=0 tunnel=0", "38s SCCRQ ns=0 nr=0 tunnel=0",
		"46s SCCRQ ns=0 nr=0 tunnel=0", "54s SCCRQ ns=0 nr=0 tunnel=0")

	// Beyond wait-ctl-reply there is nothing to yield.
	s = dialled(t, Config{}, 0)
	s.do(s.m.Yield)
	s.do(s.m.LoseTie)
	s.run(time.Second)
	s.want("1s SCCCN ns=1 nr=1")
	s.wantState(established)
}

// RFC 2661 §4.4.3: "In the case where a tie breaker is present on both sides, and the value is
// equal, both sides MUST discard their tunnels." The owner may dial again.
func TestEqualTie(t *testing.T) {
	s := newScript(t, Dial, Config{TieBreaker: true})
	s.do(s.m.DrawTie)
	s.do(s.m.DrawTie)
	s.run(time.Hour)
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s TunnelDown "+ErrEqualTie.Error(), "0s Gone")

	s = dialled(t, Config{}, 0) // the peer has replied: it has taken both
	s.do(s.m.DrawTie)
	s.wantState(established)
}

// An all-zero Tie Breaker wins against any other, and anybody can send one in
// the LNS's name. It ends nothing: the LNS, which has sent no SCCRQ, replies to
// ours, and that is taken.
func TestHostileAllZeroTieBreaker(t *testing.T) {
	s := newScript(t, Dial, Config{Rand: chacha(1), TieBreaker: true})
	planted := sccrq(func(m *wire.Message) { m.Set(wire.AVPTieBreaker) })
	planted, err := wire.ParseMessage(planted.Append(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := Collide(s.m.TieBreaker(), PeerTieBreaker(planted)); got != TheirsWins {
		t.Fatalf("the outcome is %v, expected TheirsWins", got)
	}
	for range 100 {
		s.do(s.m.Yield)
	}
	s.run(50 * time.Millisecond)
	s.peer(0, sccrp())
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "50ms SCCCN ns=1 nr=1", "50ms TunnelUp peer=7 lns")

	// It costs the time of a half-open tunnel if just then a datagram is lost.
	s = newScript(t, Dial, Config{Rand: chacha(1), TieBreaker: true})
	for range 6 { // and not more, however many are planted
		s.do(s.m.Yield)
		s.run(5 * time.Second)
	}
	s.peer(0, sccrp())
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "30s SCCRQ ns=0 nr=0 tunnel=0", "30s SCCCN ns=1 nr=1", "30s TunnelUp peer=7 lns")
}

// Two ends dial each other, and lose a fifth of all datagrams. Their owners do as
// Collide says: one tunnel comes of it, nearly always the winner's. If its SCCRQs
// are all lost, the loser's is the one.
func TestCollisionOnALossyLink(t *testing.T) {
	wins, n := 0, seeds(200, 5000)
	for seed := range n {
		c := newCollision(t, seed)
		c.run(3 * time.Minute)
		standing := 0
		for i, e := range c.dialling {
			other := c.answering[1-i]
			switch {
			case e.m.state == established:
				standing++
				if (i == 0) == c.firstWins {
					wins++
				}
				if other == nil || other.m.state != established && !isTimeout(other.err) && !isPeers(other.err) {
					t.Errorf("seed %d: the tunnel that end %d dialled stands, and the other end has %+v", seed, i, other)
				}
			case e.err != ErrLostTie && !isTimeout(e.err) && !isPeers(e.err):
				t.Errorf("seed %d: the tunnel that end %d dialled is in %v, with %v", seed, i, e.m.state, e.err)
			}
		}
		if standing > 1 {
			t.Errorf("seed %d: two tunnels stand", seed)
		}
	}
	t.Logf("%d of %d winners stand", wins, n)
	if wins < int(n)*98/100 {
		t.Errorf("%d of %d winners stand, expected nearly all", wins, n)
	}
}

// RFC 2661 says nothing of peers that restart. What stands from before goes
// without a word: the peer does not know it, or has given its id to the new one.
func TestSuperseded(t *testing.T) {
	s := inCallState(t, callEstablished, false)
	s.do(s.m.Superseded)
	s.do(s.m.Superseded)
	s.peer(1, cdn(9, wire.Result{Code: 1}))
	s.run(time.Hour)
	s.want("100ms SessionDown 1 "+ErrSuperseded.Error(), "100ms TunnelDown "+ErrSuperseded.Error(), "100ms Gone")

	s = answered(t, Config{})
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) })
	s.do(s.m.Superseded) // it ends already
	s.want("100ms StopCCN ns=1 nr=2 result=1/0", "100ms TunnelDown <nil>")
}

// A thousand tunnels of peers that have all restarted: not one datagram for the
// old ones.
func TestHostileRestartStorm(t *testing.T) {
	for range 1000 {
		s := answered(t, Config{})
		s.do(s.m.Superseded)
		s.run(time.Hour)
		for _, line := range s.lines {
			if strings.Contains(line, " ns=") {
				t.Fatalf("did %q", s.lines)
			}
		}
	}
}

// A peer that has restarted may come from the same port, and assign the same id
// as before: then it is not for the owner to see that it begins anew.
func TestPeerRestartsUnderTheSameID(t *testing.T) {
	begin := func(change ...func(*wire.Message)) []byte {
		return packet(0, 0, 0, 0, sccrq(change...).Append(nil))
	}
	anew := func(m *wire.Message) { m.Challenge = []byte("another one") }

	s := answered(t, Config{})
	s.run(10 * time.Second)
	s.handle(begin()) // the one that it began with, from the depths of the network
	s.run(time.Second)
	s.want("10.2s ZLB ns=1 nr=2")

	s.handle(begin(anew))
	s.run(time.Second)
	s.want("11.1s PeerRestarted")

	s = answered(t, Config{})
	s.run(31 * time.Second)
	s.handle(begin()) // nobody sends it again after so long
	s.want("31.1s PeerRestarted")

	// Nor does it keep the old tunnel alive.
	for range 20 {
		s.run(8 * time.Second)
		s.handle(begin())
	}
	s.wantState(gone)

	// What it tells is a datagram for Answer.
	s = answered(t, Config{})
	datagram := begin(anew)
	s.m.Handle(s.now, datagram)
	clear(datagram)
	_, event, _ := s.m.Next()
	next := newScript(t, Answer, Config{Secret: []byte("s")})
	next.handle(event.(PeerRestarted).Datagram)
	next.want("0s SCCRP ns=0 nr=1")
	if want := response(2, "s", []byte("another one")); !bytes.Equal(next.last.ChallengeResponse[:], want[:]) {
		t.Errorf("SCCRP's response is %x", next.last.ChallengeResponse)
	}

	// Others that name no tunnel are D-Link's; and whom we have dialled cannot
	// have restarted here.
	s = answered(t, Config{})
	s.handle(packet(0, 0, 0, 0, (&wire.Message{Type: wire.HELLO}).Append(nil)))
	s.want()
	s = dialled(t, Config{}, 0)
	s.handle(begin(anew))
	s.run(time.Second)
	s.want("100ms ZLB ns=2 nr=1", "1s SCCCN ns=1 nr=1")
}
