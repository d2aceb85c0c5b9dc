package control

import (
	"fmt"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// RFC 2661 §5.8: "After a period of time (a recommended default is 1 second)
// passes without acknowledgement, the message is retransmitted. […] Each
// subsequent retransmission of a message MUST employ an exponential backoff
// interval. […] If no peer response is detected after several retransmissions,
// (a recommended default is 5, but SHOULD be configurable), the tunnel and all
// sessions within MUST be cleared."
func TestBackOff(t *testing.T) {
	s := newScript(t, Dial, Config{})
	s.run(time.Hour)
	s.want(
		"0s SCCRQ ns=0 nr=0 tunnel=0",
		"1s SCCRQ ns=0 nr=0 tunnel=0",
		"3s SCCRQ ns=0 nr=0 tunnel=0",
		"7s SCCRQ ns=0 nr=0 tunnel=0",
		"15s SCCRQ ns=0 nr=0 tunnel=0",
		"23s SCCRQ ns=0 nr=0 tunnel=0",
		"31s TunnelDown no answer to SCCRQ within 31s",
		"31s Gone",
	)
}

// The same rule with numbers of the user's.
func TestBackOffAsConfigured(t *testing.T) {
	s := newScript(t, Dial, Config{RetryInterval: 500 * time.Millisecond, RetryCap: 1500 * time.Millisecond, Retries: 3})
	s.run(time.Hour)
	s.want(
		"0s SCCRQ ns=0 nr=0 tunnel=0",
		"500ms SCCRQ ns=0 nr=0 tunnel=0",
		"1.5s SCCRQ ns=0 nr=0 tunnel=0",
		"3s SCCRQ ns=0 nr=0 tunnel=0",
		"4.5s TunnelDown no answer to SCCRQ within 4.5s",
		"4.5s Gone",
	)
	s = newScript(t, Dial, Config{Retries: -1})
	s.run(time.Hour)
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "1s TunnelDown no answer to SCCRQ within 1s", "1s Gone")
}

// An acknowledgement begins the count anew, for the message that is the oldest
// then.
func TestBackOffStartsAnew(t *testing.T) {
	s := dialled(t, Config{}, 0)
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.want("0s ICRQ ns=2 nr=1")
	s.run(4 * time.Second)
	s.want("1s SCCCN ns=1 nr=1", "3s SCCCN ns=1 nr=1")
	s.peerAt(1, 2, 0, nil) // SCCCN came, ICRQ did not
	s.run(4 * time.Second)
	s.want("4s ICRQ ns=2 nr=1", "5s ICRQ ns=2 nr=1", "7s ICRQ ns=2 nr=1")
}

// RFC 2661 §5.8: "The retransmitted message contains the same Ns value, but the
// Nr value MUST be updated with the sequence number of the next expected
// message."
func TestRetransmissionRefreshesNr(t *testing.T) {
	s := dialled(t, Config{}, 0)
	s.peerAt(1, 1, 0, (&wire.Message{Type: wire.HELLO}).Append(nil)) // does not acknowledge SCCCN
	s.run(time.Second)
	s.want("100ms ZLB ns=2 nr=2", "1s SCCCN ns=1 nr=2")
}

// RFC 2661 §5.8: "This acknowledgement may either piggybacked on a message in
// queue, or explicitly via a ZLB ACK."
func TestAcknowledgementIsDelayedOrCarried(t *testing.T) {
	s := answered(t, Config{})
	s.peer(0, &wire.Message{Type: wire.HELLO})
	s.run(50 * time.Millisecond)
	s.peer(0, &wire.Message{Type: wire.HELLO}) // does not put it off
	s.run(time.Second)
	s.want("200ms ZLB ns=1 nr=4")

	s.peer(0, &wire.Message{Type: wire.HELLO})
	s.run(50 * time.Millisecond)
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.zlb()
	s.run(time.Second)
	s.want("1.2s ICRQ ns=1 nr=5")

	s = newScript(t, Dial, Config{AckDelay: -1})
	s.peer(0, sccrp())
	s.zlb()
	s.peer(0, &wire.Message{Type: wire.HELLO})
	s.run(0)
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0", "0s SCCCN ns=1 nr=1", "0s TunnelUp peer=7 lns", "0s ZLB ns=2 nr=2")
}

// RFC 2661 appendix A: "CWND is initialized to one packet, and SSHTRESH is
// initialized to the advertised window […]. During slow start, CWND is
// increased by one packet each time an ACK (explicit ZLB or piggybacked) is
// received."
func TestSlowStart(t *testing.T) {
	s := dialled(t, Config{}, 8) // the first ACK, of SCCRQ, made CWND 2
	for range 20 {
		s.m.Call(s.now, CallConfig{})
	}
	s.drain()
	s.want("0s ICRQ ns=2 nr=1") // with SCCCN two in flight
	s.peerAt(1, 2, 0, nil)      // of SCCCN: CWND is 3
	s.want("0s ICRQ ns=3 nr=1", "0s ICRQ ns=4 nr=1")
	s.peerAt(1, 3, 0, nil) // CWND is 4
	s.want("0s ICRQ ns=5 nr=1", "0s ICRQ ns=6 nr=1")
	s.peerAt(1, 3, 0, nil) // nothing new: no ACK
	s.want()
	s.peerAt(1, 7, 0, nil) // one ACK for four messages: CWND is 5
	s.want("0s ICRQ ns=7 nr=1", "0s ICRQ ns=8 nr=1", "0s ICRQ ns=9 nr=1", "0s ICRQ ns=10 nr=1", "0s ICRQ ns=11 nr=1")
}

// RFC 2661 appendix A: "When congestion occurs (indicated by the triggering of
// a retransmission) one half of the CWND is saved in SSTHRESH, and CWND is set
// to one. […] During congestion avoidance, CWND […] is increased by one packet
// after CWND new ACKs have been received."
func TestCongestionAvoidance(t *testing.T) {
	s := dialled(t, Config{MaxSessions: 1000}, 8)
	for range 40 {
		s.m.Call(s.now, CallConfig{})
	}
	next := func() int { return s.m.reliable.next }
	for nr := uint16(2); nr < 8; nr++ { // six ACKs
		s.peerAt(1, nr, 0, nil)
	}
	if next() != 8 {
		t.Fatalf("%d in flight after slow start, expected the peer's window, 8", next())
	}
	s.run(time.Second) // a retransmission
	var inFlight []int
	for nr := uint16(8); nr < 30; nr++ {
		inFlight = append(inFlight, next())
		s.peerAt(1, nr, 0, nil)
	}
	// CWND 1, 2 and 3 in slow start; 4 is SSTHRESH; then 4 ACKs, 5 ACKs …, and
	// never more than the peer's window.
	want := "[1 2 3 4 4 4 4 5 5 5 5 5 6 6 6 6 6 6 7 7 7 7]"
	if got := fmt.Sprint(inFlight); got != want {
		t.Errorf("in flight at each ACK: %s, expected %s", got, want)
	}
}

// RFC 2661 §5.8: "Messages arriving out of order may be queued for in-order
// delivery when the missing messages are received, or they may be discarded
// requiring a retransmission by the peer." So what was in flight behind a lost
// message is sent again as well, as soon as the windows allow, unless it proves
// to have been queued.
func TestPeerThatDiscardsOutOfOrder(t *testing.T) {
	s := dialled(t, Config{}, 0)
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.want("0s ICRQ ns=2 nr=1")
	s.run(time.Second)
	s.want("1s SCCCN ns=1 nr=1")
	s.peerAt(1, 2, 0, nil)
	s.want("1s ICRQ ns=2 nr=1")

	s = dialled(t, Config{}, 0)
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.run(time.Second)
	s.peerAt(1, 3, 0, nil)
	s.run(time.Second)
	s.want("0s ICRQ ns=2 nr=1", "1s SCCCN ns=1 nr=1")
}

// RFC 2661 §5.8: "The reliable transport at a receiving peer is responsible for
// making sure that control messages are delivered in order and without
// duplication to the upper level."
func TestOutOfOrder(t *testing.T) {
	s := answered(t, Config{})
	avps := func(m *wire.Message) []byte { return m.Append(nil) }
	s.peerAt(4, 1, 0, avps(icrq(13)))
	s.peerAt(3, 1, 0, avps(icrq(12)))
	s.peerAt(3, 1, 0, avps(icrq(12))) // again
	s.run(time.Second)
	s.want() // a gap: nothing to deliver, nothing new to acknowledge
	s.peerAt(2, 1, 0, avps(icrq(11)))
	s.want("1.1s IncomingCall 1 peer=11", "1.1s IncomingCall 2 peer=12", "1.1s IncomingCall 3 peer=13")
	s.run(time.Second)
	s.want("1.2s ZLB ns=1 nr=5")
	if c := s.m.Counters(); c.OutOfOrder != 2 || c.Duplicates != 1 {
		t.Errorf("counted %+v, expected 2 out of order and 1 duplicate", c)
	}
	mustBeBounded(t, &s.m.reliable)
}

// The receive window that we announce is 16: the 16th message may come first,
// the 17th not.
func TestReceiveWindow(t *testing.T) {
	s := answered(t, Config{})
	for n := uint16(17); n >= 3; n-- {
		s.peerAt(n, 1, 0, icrq(uint32(100+n)).Append(nil))
	}
	s.peerAt(18, 1, 0, icrq(200).Append(nil))
	if c := s.m.Counters(); c.OutOfOrder != 15 || c.OutOfWindow != 1 {
		t.Errorf("counted %+v, expected 15 out of order and 1 out of the window", c)
	}
	s.peerAt(2, 1, 0, icrq(102).Append(nil))
	s.run(time.Second)
	if len(s.lines) != 17 || s.lines[16] != "200ms ZLB ns=1 nr=18" {
		t.Errorf("did %q, expected 16 calls and their acknowledgement", s.lines)
	}

	q := newScript(t, Dial, Config{ReceiveWindow: 5})
	if q.last.ReceiveWindowSize != 5 || s.last.ReceiveWindowSize != 16 {
		t.Errorf("announced windows %d and %d, expected 5 and 16", q.last.ReceiveWindowSize, s.last.ReceiveWindowSize)
	}
}

// RFC 2661 §5.8: "in order to ensure that all messages are acknowledged properly
// (particularly in the case of a lost ZLB ACK message), receipt of duplicate
// messages MUST be acknowledged by the reliable transport." Once for many.
func TestDuplicatesAreAcknowledged(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond} { // whatever our own haste
		s := answered(t, Config{})
		s.m.cfg.AckDelay = delay
		for range 1000 {
			s.peerAt(1, 1, 0, (&wire.Message{Type: wire.SCCCN}).Append(nil))
		}
		s.run(100 * time.Millisecond)
		s.want("200ms ZLB ns=1 nr=2")
		for range 1000 {
			s.peerAt(0, 1, 0, sccrq().Append(nil))
			s.run(time.Millisecond)
		}
		if len(s.lines) > 10 {
			t.Errorf("%d acknowledgements of duplicates in a second, expected at most 10", len(s.lines))
		}
	}
}

// RFC 2661 §5.8: "if the last received sequence number was 15, then messages
// with sequence numbers 0 through 15, as well as 32784 through 65535, would be
// considered less than or equal."
func TestHalfSpace(t *testing.T) {
	for _, tc := range []struct {
		ns  uint16
		old bool
	}{
		{0, true}, {15, true}, {16, false}, {17, false}, {31, false}, {32, false}, {32783, false}, {32784, true}, {65535, true},
	} {
		s := answered(t, Config{})
		for s.ns < 16 {
			s.peer(0, &wire.Message{Type: wire.HELLO})
		}
		s.peerAt(tc.ns, 1, 0, (&wire.Message{Type: wire.HELLO}).Append(nil))
		if old := s.m.Counters().Duplicates == 1; old != tc.old {
			t.Errorf("Ns %d after 15: old %v, expected %v", tc.ns, old, tc.old)
		}
	}
}

// RFC 2661 §5.8: "The sequence number is thus a free running counter represented
// modulo 65536." Here both sides' run around it, with messages in flight.
func TestSequenceNumbersWrap(t *testing.T) {
	s := answered(t, Config{HelloInterval: -1})
	s.mute = true
	for range 70000 {
		s.peer(0, &wire.Message{Type: wire.HELLO})
		s.m.sendMessage(s.now, 0, 0, &wire.Message{Type: wire.HELLO})
		s.drain()
	}
	s.zlb()
	r := &s.m.reliable
	if want := uint16((70002) & 0xffff); r.nr != want || r.una != want-1 || len(r.queue) != 0 || s.m.state != established {
		t.Errorf("after 70,000 HELLOs each way: nr %d, una %d, %d waiting, %v; expected %d, %d, 0, established",
			r.nr, r.una, len(r.queue), s.m.state, want, want-1)
	}
}

// Around the wrap, messages come out of order and are acknowledged in one go.
func TestOutOfOrderAroundTheWrap(t *testing.T) {
	s := answered(t, Config{})
	s.m.reliable.nr, s.m.reliable.una = 65534, 65535
	for _, ns := range []uint16{1, 65535, 0, 65534} {
		s.peerAt(ns, 65535, 0, icrq(uint32(ns+10)).Append(nil))
	}
	s.want("100ms IncomingCall 1 peer=8", "100ms IncomingCall 2 peer=9", "100ms IncomingCall 3 peer=10", "100ms IncomingCall 4 peer=11")
}

// A message whose Nr acknowledges what was never sent is no message of the
// peer's; one whose Nr is old was overtaken.
func TestNrBeyondWhatWasSent(t *testing.T) {
	s := dialled(t, Config{}, 0)
	s.zlb() // we have sent 0 and 1, and both are acknowledged
	for _, nr := range []uint16{3, 4, 100, 32769} {
		s.peerAt(1, nr, 0, icrq(9).Append(nil))
	}
	s.want()
	if c := s.m.Counters(); c.InvalidNr != 4 {
		t.Errorf("counted %+v, expected 4 with an invalid Nr", c)
	}
	for i, nr := range []uint16{1, 0, 65535, 32770} { // the last one is 32768 behind
		s.peerAt(uint16(1+i), nr, 0, icrq(uint32(10+i)).Append(nil))
	}
	s.want("0s IncomingCall 1 peer=10", "0s IncomingCall 2 peer=11", "0s IncomingCall 3 peer=12", "0s IncomingCall 4 peer=13")

	// Nor can be acknowledged what only waits to be sent; and a ZLB has the Ns
	// of the message that is sent next.
	s = dialled(t, Config{}, 0)
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}); s.m.Call(now, CallConfig{}) })
	s.want("0s ICRQ ns=2 nr=1")
	s.peerAt(1, 4, 0, nil)
	if c := s.m.Counters(); c.InvalidNr != 1 {
		t.Errorf("counted %+v, expected 1 with an invalid Nr", c)
	}
	s.peerAt(1, 1, 0, (&wire.Message{Type: wire.HELLO}).Append(nil))
	s.run(100 * time.Millisecond)
	s.want("100ms ZLB ns=3 nr=2")
}

// RFC 2661 §4.4.3: "If absent, the peer must assume a Window Size of 4 for its
// transmit window." A window of 0 is invalid (§5.8) and works as 1; one of
// 65,535 is not made use of beyond 64.
func TestPeersWindow(t *testing.T) {
	for _, tc := range []struct {
		announced uint16
		present   bool
		want      int
	}{
		{0, false, 4}, {0, true, 1}, {1, true, 1}, {4, true, 4}, {64, true, 64}, {65, true, 64}, {65535, true, 64},
	} {
		s := newScript(t, Dial, Config{})
		s.peer(0, sccrp(func(m *wire.Message) {
			m.ReceiveWindowSize = tc.announced
			if tc.present {
				m.Set(wire.AVPReceiveWindowSize)
			}
		}))
		most := 0
		for range 200 {
			for len(s.m.reliable.queue) < s.m.reliable.cfg.SendQueue {
				s.m.sendMessage(s.now, 0, 0, &wire.Message{Type: wire.HELLO})
			}
			s.drain()
			most = max(most, s.m.reliable.next)
			s.peerAt(1, s.m.reliable.una+1, 0, nil)
		}
		if most != tc.want || s.m.reliable.window != tc.want {
			t.Errorf("window %d (present: %v): at most %d in flight, expected %d", tc.announced, tc.present, most, tc.want)
		}
	}
}
