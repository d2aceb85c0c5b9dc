package control

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// What has broken the control state of other implementations, by name, each
// with the outcome that it has here.

// An SCCRQ that comes again is a duplicate: it is acknowledged, and not answered
// a second time. One that comes as the next message is out of sequence.
func TestHostileSCCRQTwice(t *testing.T) {
	s := newScript(t, Answer, Config{})
	s.peer(0, sccrq())
	s.peerAt(0, 0, 0, sccrq().Append(nil))
	s.run(500 * time.Millisecond)
	s.want("0s SCCRP ns=0 nr=1", "100ms ZLB ns=1 nr=1")
	s.peer(0, sccrq())
	s.want("500ms StopCCN ns=1 nr=2 result=7/0",
		"500ms TunnelDown we ended the tunnel because of the peer's SCCRQ: SCCRQ in state wait-ctl-conn")
}

func TestHostileSCCRPWhenEstablished(t *testing.T) {
	s := dialled(t, Config{}, 0)
	s.peer(0, sccrp(func(m *wire.Message) { m.AssignedTunnelID = 8 })) // it does not change the peer's id either
	s.want("0s StopCCN ns=2 nr=2 result=7/0",
		"0s TunnelDown we ended the tunnel because of the peer's SCCRP: SCCRP in state established")
}

// A call does not come up by an ICCN to which nobody has said ICRP.
func TestHostileICCNBeforeICRP(t *testing.T) {
	s := answered(t, Config{})
	s.peer(0, icrq(9))
	s.peer(1, iccn())
	s.do(func(now time.Time) { s.m.AcceptCall(now, 1) })
	s.want("100ms IncomingCall 1 peer=9",
		"100ms SessionDown 1 we ended the call because of the peer's ICCN: ICCN in state idle")
}

func TestHostileClearBeforeSetup(t *testing.T) {
	s := answered(t, Config{})
	s.peer(0, cdn(9, wire.Result{Code: 1})) // of a call that there never was
	s.peer(5, cdn(9, wire.Result{Code: 1}))
	s.run(100 * time.Millisecond)
	s.want("200ms ZLB ns=1 nr=4")
	s.peer(0, icrq(9)) // and which comes now
	s.want("200ms IncomingCall 1 peer=9")

	s = newScript(t, Answer, Config{})
	s.peer(0, stopccn(wire.Result{Code: 1})) // instead of SCCRQ
	s.run(time.Hour)
	s.want("0s ZLB ns=0 nr=1", "0s TunnelDown the peer refused the tunnel: result 1: control connection cleared on request", "31s Gone")
}

// The Ns of a ZLB means nothing, whatever it is; no ZLB is answered, be it one
// or a million, and none costs any memory.
func TestHostileZLBs(t *testing.T) {
	s := answered(t, Config{})
	for ns := range uint16(65535) {
		s.peerAt(ns, 1, 0, nil)
	}
	s.run(time.Second)
	s.want()
	s.peer(0, icrq(9)) // the sequence is where it was
	s.want("1.1s IncomingCall 1 peer=9")

	p := packet(ourTunnel, 0, 3, 1, nil)
	if n := testing.AllocsPerRun(1000000, func() { s.m.Handle(s.now, p) }); n != 0 {
		t.Errorf("%v allocations a ZLB", n)
	}
	s.drain()
	s.want()
}

// A StopCCN or CDN that somebody has planted ahead of a gap in the sequence is
// not executed before its turn, and when the gap closes the message that really
// stands there has not been lost.
func TestHostileStopCCNAheadOfAGap(t *testing.T) {
	s := inCallState(t, callEstablished, false)
	for ahead := uint16(1); ahead < 100; ahead++ {
		s.peerAt(s.ns+ahead, s.nr, 0, stopccn(wire.Result{Code: 1}).Append(nil))
		s.peerAt(s.ns+ahead, s.nr, 1, cdn(9, wire.Result{Code: 1}).Append(nil))
	}
	s.run(10 * time.Second)
	s.want("200ms ZLB ns=2 nr=4")
	s.wantState(established)
	s.peer(0, icrq(10))
	if s.lines[0] != "10.1s IncomingCall 2 peer=10" {
		t.Errorf("did %q, expected the call first", s.lines)
	}

	s = inCallState(t, callEstablished, false)
	s.peerAt(s.ns+1, s.nr, 1, cdn(9, wire.Result{Code: 1}).Append(nil))
	s.run(10 * time.Second)
	s.want("200ms ZLB ns=2 nr=4")
	s.peer(0, &wire.Message{Type: wire.HELLO}) // now it is its turn
	s.want("10.1s SessionDown 1 the peer ended the call: result 1: loss of carrier")
}

// After StopCCN nothing is executed any more, and the state stays for as long
// as StopCCN may come again: TestStopCCNReceived. Afterwards the machine is
// dead, so that the old id may be another tunnel's.
func TestHostileStormAfterTheEnd(t *testing.T) {
	s := inCallState(t, callEstablished, false)
	s.peer(0, stopccn(wire.Result{Code: 1}))
	s.lines = nil
	for range 100 {
		s.peer(0, icrq(10))
		s.peer(1, iccn())
	}
	s.peer(0, stopccn(wire.Result{Code: 1}))
	s.do(func(now time.Time) {
		s.m.Call(now, CallConfig{})
		s.m.Hangup(now, 1, wire.Result{})
		s.m.AcceptCall(now, 1)
		s.m.Close(now, wire.Result{})
	})
	s.run(time.Second)
	s.want("100ms SessionDown 2 the tunnel is closed", "200ms ZLB ns=2 nr=206")
	s.run(10 * time.Second)
	s.peer(0, stopccn(wire.Result{Code: 1})) // nor is the end put off
	s.run(time.Second)
	s.want("11.2s ZLB ns=2 nr=207")
	s.run(time.Hour)
	s.want("31.1s Gone")
	for range 100 {
		s.peer(0, icrq(10))
		s.peerAt(0, 0, 0, sccrq().Append(nil))
	}
	s.do(func(now time.Time) { s.m.Close(now, wire.Result{}) })
	s.run(time.Hour)
	s.want()
	if !s.m.Deadline().IsZero() {
		t.Errorf("a deadline after Gone")
	}
}

// A peer that has restarted begins anew while its old tunnel stands. They are
// two machines; the old one's storm does not reach the new one, and ends.
func TestHostilePeerRestart(t *testing.T) {
	s := answered(t, Config{})
	s.peerAt(0, 0, 0, sccrq().Append(nil)) // if the owner gets it wrong: a duplicate
	s.run(time.Hour)
	if want := " TunnelDown the peer stopped answering: no acknowledgement of HELLO within 31s"; !strings.HasSuffix(s.lines[len(s.lines)-2], want) {
		t.Errorf("did %q, expected the old tunnel to end by its own timers", s.lines)
	}
}

// 65,535 calls in one tunnel: at most 64 at once, and bounded memory, whether
// the owner takes them or not, and whether the peer hangs up, acknowledges, or
// does neither.
func TestHostile65535Calls(t *testing.T) {
	bounded := func(s *script) {
		c, r := &s.m.calls, &s.m.reliable
		if len(c.byID) > 64 || len(c.byPeer) > 64 || len(c.waiting) > 64 || len(c.lingering) > lingeringMax ||
			len(r.queue) > r.cfg.SendQueue+1 || len(r.buffer) > 16 || r.buffered > bufferMax {
			t.Fatalf("not bounded: %d sessions, %d by the peer's id, %d waiting, %d lingering, %d queued, %d (%d octets) out of order",
				len(c.byID), len(c.byPeer), len(c.waiting), len(c.lingering), len(r.queue), len(r.buffer), r.buffered)
		}
	}
	t.Run("acknowledged", func(t *testing.T) {
		s := answered(t, Config{Rand: chacha(1), SendQueue: 40})
		s.mute = true
		for id := uint32(1); id <= 65535; id++ {
			s.peer(0, icrq(id))
			bounded(s)
		}
		s.wantState(established)
		if c := s.m.Counters(); c.RefusedCall != 65535-64 {
			t.Errorf("refused %d calls, expected all but 64", c.RefusedCall)
		}
	})
	t.Run("accepted and cleared", func(t *testing.T) {
		s := answered(t, Config{Rand: chacha(1), SendQueue: 40})
		s.mute = true
		for id := uint32(1); id <= 65535; id++ {
			s.peer(0, icrq(id))
			for ours := range s.m.calls.byID {
				s.do(func(now time.Time) { s.m.AcceptCall(now, ours) })
			}
			s.peer(0, cdn(id, wire.Result{Code: 1}))
			bounded(s)
		}
		s.wantState(established)
	})
	t.Run("never acknowledged", func(t *testing.T) {
		s := answered(t, Config{Rand: chacha(1), SendQueue: 40})
		s.mute = true
		for id := uint32(1); id <= 65535; id++ {
			s.peerAt(uint16(1+id), 1, 0, icrq(id).Append(nil))
			bounded(s)
		}
		var e *OverrunError
		if !errors.As(s.m.err, &e) || e.Waiting != 40 {
			t.Errorf("the error is %v, expected an overrun by 40 messages", s.m.err)
		}
		if s.m.state != closing {
			t.Errorf("state %v, expected closing", s.m.state)
		}
		s.run(time.Hour)
		s.wantState(gone)
	})
}

// The largest datagrams, ahead of a gap: what waits for its turn is bounded in
// octets too.
func TestHostileBufferIsBounded(t *testing.T) {
	s := answered(t, Config{})
	for n := uint16(15); n > 0; n-- {
		s.peerAt(s.ns+n, s.nr, 0, make([]byte, 60000))
	}
	if s.m.reliable.buffered != 0 || s.m.Counters().OutOfWindow != 15 {
		t.Errorf("%d octets wait, expected 0", s.m.reliable.buffered)
	}
	for n := uint16(15); n > 0; n-- {
		s.peerAt(s.ns+n, s.nr, 0, make([]byte, 4000))
	}
	if got := s.m.reliable.buffered; got != 32000 {
		t.Errorf("%d octets wait, expected 32000", got)
	}
}

// Session ids do not collide, even if the random source repeats itself and ids
// are scarce.
func TestHostileSessionIDCollisions(t *testing.T) {
	s := answered(t, Config{MaxSessions: 40000, Rand: fewValues{}})
	seen := make(map[uint32]bool)
	for range 5000 {
		id := s.m.Call(s.now, CallConfig{})
		if id == 0 || id > 0xffff || seen[id] {
			t.Fatalf("session id %d, again or impossible", id)
		}
		seen[id] = true
	}
}

// fewValues is a random source that has two values, near the end of the ids.
type fewValues struct{}

func (fewValues) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	if rand.IntN(2) == 0 {
		p[len(p)-1] = 0xfe
	}
	return len(p), nil
}

// Datagrams whose header is in error, and data, are dropped and counted.
func TestHostileDatagrams(t *testing.T) {
	s := answered(t, Config{})
	for _, p := range [][]byte{
		nil, {0xc8}, {0xc8, 2}, {0xc8, 2, 0, 12, 0, 3, 0, 0, 0, 0, 0},
		{0xc8, 3, 0, 12, 0, 3, 0, 0, 0, 2, 0, 1},   // version 3
		{0x88, 2, 0, 12, 0, 3, 0, 0, 0, 2, 0, 1},   // no L
		{0xc8, 2, 0, 11, 0, 3, 0, 0, 0, 2, 0, 1},   // Length within the header
		{0xc8, 2, 0, 13, 0, 3, 0, 0, 0, 2, 0, 1},   // Length beyond the datagram
		{0, 2, 0, 3, 0, 1, 0xff, 3, 0xc0, 0x21, 1}, // data
	} {
		s.handle(p)
	}
	s.run(time.Second)
	s.want()
	if c := s.m.Counters(); c.Malformed != 9 {
		t.Errorf("counted %+v, expected 9 malformed", c)
	}
}
