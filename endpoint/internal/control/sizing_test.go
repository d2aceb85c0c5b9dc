package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// measured is a tunnel that measures, by 1,472 octets, 1,372 and 1,252.
func measured(t *testing.T, cfg Config) *script {
	s := answered(t, cfg)
	s.do(func(now time.Time) { s.m.Measure(now, []int{1472, 1372, 1252}) })
	return s
}

// ack has the peer acknowledge the messages before nr, after a while.
func (s *script) ack(after time.Duration, nr uint16) {
	s.run(after)
	s.peerAt(s.ns, nr, 0, nil)
}

// Issue 5: "no black hole when ICMP is lost (a padded LCP echo or Hello probes the tunnel
// itself)". Mostly one HELLO is enough, every ten minutes.
func TestAWidePathIsMeasuredByOneHello(t *testing.T) {
	s := measured(t, Config{HelloInterval: -1})
	s.run(sizingDelay)
	s.want("600ms whole HELLO of 1472 ns=1 nr=2")
	s.ack(200*time.Millisecond, 2)
	s.run(sizingLifetime)
	s.want("10m0.8s whole HELLO of 1472 ns=2 nr=2")
	s.ack(0, 3)
	s.do(func(now time.Time) { s.m.Measure(now, []int{1472, 1372, 1252}) }) // nothing new
	s.do(func(now time.Time) { s.m.Measure(now, nil) })
	s.run(time.Hour)
	s.want()
}

// The same message goes out shorter and shorter, and what is acknowledged is believed when
// it has come out twice.
func TestANarrowPathIsMeasured(t *testing.T) {
	s := measured(t, Config{HelloInterval: -1})
	s.ack(2*time.Second+sizingDelay, 2)
	s.want(
		"600ms whole HELLO of 1472 ns=1 nr=2",
		"1.1s whole HELLO of 1472 ns=1 nr=2",
		"1.6s whole HELLO of 1472 ns=1 nr=2",
		"2.1s whole HELLO of 1372 ns=1 nr=2",
		"2.6s whole HELLO of 1252 ns=1 nr=2",
	)
	s.ack(1900*time.Millisecond+sizingDelay, 3)
	s.want(
		"3.1s whole HELLO of 1472 ns=2 nr=2",
		"3.6s whole HELLO of 1472 ns=2 nr=2",
		"4.1s whole HELLO of 1472 ns=2 nr=2",
		"4.6s whole HELLO of 1372 ns=2 nr=2",
		"5s PathMax 1372 for 11m0s",
	)
	// It is told again before it is forgotten, and no more when the path is wide.
	s.ack(sizingLifetime+1600*time.Millisecond, 4)
	s.ack(sizingDelay+1600*time.Millisecond, 5)
	if n := len(s.lines); n == 0 || s.lines[n-1] != "10m8.7s PathMax 1372 for 11m0s" {
		t.Errorf("the machine did %q", s.lines)
	}
	s.lines = nil
	s.ack(sizingLifetime, 6)
	s.want("20m8.7s whole HELLO of 1472 ns=5 nr=2", "20m8.7s PathMax 0 for 0s")
}

// What was lost once was lost by chance.
func TestALossIsNotANarrowPath(t *testing.T) {
	s := measured(t, Config{HelloInterval: -1})
	s.ack(2*time.Second, 2) // 1372 has come through, all longer ones have been lost
	s.lines = nil
	s.ack(sizingDelay, 3)
	s.run(sizingLifetime - time.Second)
	s.want("2.6s whole HELLO of 1472 ns=2 nr=2")
}

// A peer that heeds no long ones says nothing about the path, and is not given up for that
// before the time that any other HELLO has.
func TestAPeerThatHeedsNoLongHellos(t *testing.T) {
	s := measured(t, Config{HelloInterval: -1})
	s.run(4 * time.Second)
	s.lines = nil
	s.ack(0, 2)
	s.run(sizingLifetime - time.Second)
	s.want()
	if n := s.m.Counters().Retransmitted; n != 1 {
		t.Errorf("%d messages count as sent again, want the one that was not filled up", n)
	}

	s = measured(t, Config{HelloInterval: -1})
	s.run(time.Minute)
	s.want(
		"600ms whole HELLO of 1472 ns=1 nr=2",
		"1.1s whole HELLO of 1472 ns=1 nr=2",
		"1.6s whole HELLO of 1472 ns=1 nr=2",
		"2.1s whole HELLO of 1372 ns=1 nr=2",
		"2.6s whole HELLO of 1252 ns=1 nr=2",
		"3.1s HELLO ns=1 nr=2",
		"4.1s HELLO ns=1 nr=2",
		"6.1s HELLO ns=1 nr=2",
		"10.1s HELLO ns=1 nr=2",
		"18.1s HELLO ns=1 nr=2",
		"26.1s HELLO ns=1 nr=2",
		"34.1s TunnelDown the peer stopped answering: no acknowledgement of HELLO within 31s",
		"34.1s Gone",
	)
}

// What there is to say goes first.
func TestAMeasurementMakesRoom(t *testing.T) {
	s := measured(t, Config{HelloInterval: -1})
	s.run(sizingDelay + 100*time.Millisecond)
	s.want("600ms whole HELLO of 1472 ns=1 nr=2")
	s.do(func(now time.Time) { s.m.Call(now, CallConfig{}) })
	s.want("700ms HELLO ns=1 nr=2", "700ms ICRQ ns=2 nr=2")
	s.ack(100*time.Millisecond, 3)
	s.peer(1, cdn(5, wire.Result{Code: wire.CallAdministrative}))
	s.run(sizingRepeat - time.Second)
	s.lines = nil
	s.run(time.Second)
	s.want("1m0.8s whole HELLO of 1472 ns=3 nr=3")
}

// A filled HELLO is a HELLO to its receiver, with a digest where there are digests.
func TestAFilledHelloIsOne(t *testing.T) {
	for _, size := range []int{12 + 8 + 7, 100, 1472, 65000} {
		m := &wire.Message{Type: wire.HELLO}
		p := wire.AppendFilling(m.Append(wire.AppendControlHeader(nil, 7, 0, 0, 0)), size, func([]byte) {})
		if len(p) != size {
			t.Errorf("%d octets, want %d", len(p), size)
		}
		s := answered(t, Config{HelloInterval: -1})
		s.peerAt(s.ns, s.nr, 0, p[12:])
		s.run(time.Second)
		s.want("200ms ZLB ns=1 nr=3")
	}
	p := make([]byte, 20)
	for size := range 27 {
		if got := wire.AppendFilling(p, size, func([]byte) {}); len(got) != 20 {
			t.Errorf("20 octets filled up to %d become %d", size, len(got))
		}
	}
}

// acked has the peer acknowledge what it gets of the messages, at once, while time passes:
// no more than so many octets of a HELLO.
func (s *script) acked(d time.Duration, through *int) {
	s.Helper()
	for end := s.now.Add(d); s.now.Before(end); {
		s.run(50 * time.Millisecond)
		lines := s.lines
		for _, line := range lines[s.seen:] {
			var size int
			_, filled, ok := strings.Cut(line, "whole HELLO of ")
			if ok {
				fmt.Sscan(filled, &size)
			}
			if strings.Contains(line, "HELLO") && size <= *through {
				s.peerAt(s.ns, s.m.reliable.una+1, 0, nil)
			}
		}
		s.seen = len(lines)
	}
}

// count is how many lines have some words, since it was called last.
func (s *script) count(words string) (n int) {
	for _, line := range s.lines {
		if strings.Contains(line, words) {
			n++
		}
	}
	s.lines, s.seen = nil, 0
	return n
}

// A path that is used is checked, and measured when it has become narrow, or narrower.
func TestAPathThatBecomesNarrowIsMeasured(t *testing.T) {
	var sent uint64
	through := 1500
	s := measured(t, Config{HelloInterval: -1, Sent: func() uint64 { return sent }})
	use := func(d time.Duration) {
		t.Helper()
		for ; d > 0; d -= time.Second {
			sent += 1400
			s.acked(time.Second, &through)
		}
	}
	use(time.Minute)
	if n := s.count("whole HELLO of 1472"); n < 2 || n > 4 {
		t.Errorf("%d filled HELLOs in a minute, want one every twenty seconds", n)
	}
	for _, c := range []struct {
		through int
		told    string
	}{{1400, "PathMax 1372 for 11m0s"}, {1300, "PathMax 1252 for 11m0s"}} {
		through = c.through
		use(45 * time.Second)
		if n := s.count(c.told); n != 1 {
			t.Fatalf("%q came %d times, want once", c.told, n)
		}
	}
	use(5 * time.Minute)
	if n := s.count("PathMax"); n != 0 {
		t.Errorf("a path that stays as it is was told %d times", n)
	}
	// What is measured every ten minutes is not put off by checks.
	through = 1500
	use(6 * time.Minute)
	if n := s.count("PathMax 0"); n != 1 {
		t.Errorf("a path that has become wide was told %d times, want once", n)
	}
}

// One that is idle is left in peace, until something is sent or the owner suspects something.
func TestAnIdlePathIsNotMeasured(t *testing.T) {
	var sent uint64
	through := 1500
	s := measured(t, Config{HelloInterval: -1, Sent: func() uint64 { return sent }})
	s.acked(5*time.Minute, &through)
	sent += sizingLeast - 1
	s.acked(4*time.Minute, &through)
	if n := s.count("HELLO"); n != 1 {
		t.Errorf("%d HELLOs on an idle path, want 1", n)
	}
	through = 1400
	s.do(s.m.Probe)
	s.acked(10*time.Second, &through)
	if n := s.count("PathMax 1372"); n != 1 {
		t.Errorf("the narrow path was told %d times after a probe, want once", n)
	}
	through = 1500
	s.do(s.m.Remeasure)
	s.acked(time.Second, &through)
	if n := s.count("PathMax 0"); n != 1 {
		t.Errorf("the wide path was told %d times, want once", n)
	}
}

// Who heeds no long ones is not asked all the time, whatever is sent.
func TestWhoHeedsNoLongHellosIsNotChecked(t *testing.T) {
	var sent uint64
	through := 100
	s := measured(t, Config{HelloInterval: -1, Sent: func() uint64 { sent += 1400; return sent }})
	s.acked(9*time.Minute, &through)
	if n := s.count("whole HELLO of 1472"); n != sizingLongest {
		t.Errorf("%d filled HELLOs, want %d", n, sizingLongest)
	}
	if n := s.count("PathMax"); n != 0 {
		t.Errorf("something was told %d times", n)
	}
}
