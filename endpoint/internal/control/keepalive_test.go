package control

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// traffic is what a test's owner counts of data messages.
type traffic struct{ sent, received uint64 }

func (d *traffic) read() (sent, received uint64) { return d.sent, d.received }

// RFC 2661 §6.5: "without receiving any message (data or control) from the peer".
func TestDataPutsTheHelloOff(t *testing.T) {
	var d traffic
	s := answered(t, Config{Traffic: d.read})
	for range 100 {
		s.run(50 * time.Second)
		d.received++
	}
	s.want()
	s.run(time.Minute + lookInterval)
	s.want("1h24m22.5s HELLO ns=1 nr=2") // after the look that has seen the last one
}

// "a Hello as soon as traffic has gone one way for 5 s", and the peer is found
// dead within 30 s of when it became so, though a cycle alone has 31 s.
func TestOneWayTraffic(t *testing.T) {
	var d traffic
	s := answered(t, Config{Traffic: d.read})
	stream := func(both bool, duration time.Duration) {
		for range duration / (100 * time.Millisecond) {
			d.sent++
			if both {
				d.received++
			}
			s.run(100 * time.Millisecond)
		}
	}
	stream(true, 20*time.Minute)
	s.want()
	stream(false, 30*time.Second)
	s.want(
		"20m10s HELLO ns=1 nr=2", // the last that came has been seen at 2.5 s
		"20m11s HELLO ns=1 nr=2",
		"20m13s HELLO ns=1 nr=2",
		"20m17s HELLO ns=1 nr=2",
		"20m25s HELLO ns=1 nr=2",
		"20m27s TunnelDown the peer stopped answering: no acknowledgement of HELLO within 17s",
		"20m27s Gone",
	)
}

// An answer to the Hello, and data as well, makes all as it was.
func TestOneWayTrafficToAPeerThatLives(t *testing.T) {
	var d traffic
	s := answered(t, Config{Traffic: d.read})
	s.mute = true
	hellos := 0
	for range 3600 {
		d.sent++
		before := s.nr
		s.run(time.Second)
		if s.nr != before {
			hellos++
			s.zlb()
		}
	}
	s.wantState(established)
	if hellos < 300 || hellos > 720 {
		t.Errorf("%d HELLOs in an hour of data to a silent peer, expected one in 5 to 10 s", hellos)
	}

	d = traffic{}
	s = answered(t, Config{Traffic: d.read})
	for range 8 {
		d.sent++
		s.run(time.Second)
	}
	s.want("7.5s HELLO ns=1 nr=2")
	s.mute = true
	for range 60 { // the acknowledgements are lost, data is not
		d.sent++
		d.received++
		s.run(time.Second)
	}
	s.wantState(established)
	s.zlb()
	s.run(10 * time.Second)
	s.wantState(established)
	// But the acknowledgement is not waited for until the end of days: 16 times.
	s.do(s.m.sendHello)
	for range 120 {
		d.received++
		s.run(time.Second)
	}
	s.wantState(gone)
}

// A HELLO that is turned off is so for traffic too, but not for one who asks.
func TestWithoutHello(t *testing.T) {
	var d traffic
	s := answered(t, Config{Traffic: d.read, HelloInterval: -1})
	for range 100 {
		d.sent++
		s.run(time.Second)
	}
	s.want()
	s.do(s.m.Probe)
	s.want("1m40.1s HELLO ns=1 nr=2")
}

// A probe asks at once, and takes silence for an answer soon.
func TestProbe(t *testing.T) {
	var d traffic
	s := answered(t, Config{Traffic: d.read})
	d.received++ // before the probe
	s.do(s.m.Probe)
	s.run(5 * time.Second)
	s.do(s.m.Probe) // means nothing more
	s.run(time.Minute)
	s.want(
		"100ms HELLO ns=1 nr=2",
		"1.1s HELLO ns=1 nr=2",
		"3.1s HELLO ns=1 nr=2",
		"7.1s HELLO ns=1 nr=2",
		"10.1s TunnelDown the peer stopped answering: no acknowledgement of HELLO within 10s",
		"10.1s Gone",
	)

	d = traffic{}
	s = answered(t, Config{Traffic: d.read})
	s.do(s.m.Probe)
	s.want("100ms HELLO ns=1 nr=2")
	s.run(500 * time.Millisecond)
	s.zlb()
	s.run(time.Minute)
	s.want("1m0.6s HELLO ns=2 nr=2") // as ever, a minute after it was heard
	s.run(6 * time.Second)
	s.want("1m1.6s HELLO ns=2 nr=2", "1m3.6s HELLO ns=2 nr=2")
	// With a message under way, that one is the probe, at once.
	s.do(s.m.Probe)
	s.run(5 * time.Second)
	s.want("1m6.6s HELLO ns=2 nr=2")
	d.received++ // data makes all as it was, too
	s.run(6 * time.Second)
	s.wantState(established)

	s = newScript(t, Dial, Config{})
	s.do(s.m.Probe) // nobody is there yet
	s.want("0s SCCRQ ns=0 nr=0 tunnel=0")
}

// A peer that lives, on a line that loses a fifth: an hour with data one way, both
// ways and none, and calls all the time, ends no tunnel.
func TestALossyLineEndsNoTunnel(t *testing.T) {
	for seed := range seeds(6, 500) {
		var d [2]traffic
		p := newPair(t, seed, Config{Traffic: d[0].read}, Config{Traffic: d[1].read})
		p.run(2 * time.Second)
		p.loss, p.duplication, p.delay = 0.2, 0.1, 80*time.Millisecond
		for second := range 3600 {
			for i := range d {
				pps := 10 // the link's own echo is a part of what flows
				if way := second / 600 % 3; way == 2 || way == i {
					pps = 1
				}
				for range pps {
					d[i].sent++
					if p.rng.Float64() >= p.loss {
						d[1-i].received++
					}
				}
			}
			if second%10 == 0 {
				e := p.ends[second/10%2]
				id := p.call(e)
				p.run(time.Second / 2)
				p.do(e, func(m *Tunnel) { m.Hangup(p.now, id, wire.Result{}) })
				p.run(time.Second / 2)
			} else {
				p.run(time.Second)
			}
			p.steps = 0
		}
		for _, e := range p.ends {
			if !e.up || e.down {
				t.Errorf("seed %d: %s: up %v, down with %v", seed, e.name, e.up, e.err)
			}
		}
	}
}

// The Hellos of many tunnels that were set up at once do not come at once: they are
// spread over a tenth of the interval.
func TestHellosAreSpread(t *testing.T) {
	at := map[time.Duration]bool{}
	for seed := range uint64(20) {
		s := newScript(t, Answer, Config{Rand: rand.NewChaCha8([32]byte{byte(seed)})})
		s.peer(0, sccrq())
		s.peer(0, &wire.Message{Type: wire.SCCCN})
		s.run(time.Second)
		due := s.m.helloAt().Sub(s.start)
		if due <= 54*time.Second || due > time.Minute {
			t.Errorf("seed %d: the first HELLO is due after %v, expected 54 s to 60 s", seed, due)
		}
		at[due] = true
	}
	if len(at) < 10 {
		t.Errorf("the HELLOs of 20 tunnels are due at %d times", len(at))
	}
}
