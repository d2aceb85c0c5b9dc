package control

import (
	"errors"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/internal/wire"
)

// seeds is how many of them a test tries: many with L2TPNET_FULL=1, fewer with -short.
func seeds(few, many uint64) uint64 {
	if os.Getenv("L2TPNET_FULL") == "1" {
		return many
	}
	if testing.Short() {
		return few / 3
	}
	return few
}

// aThousand seeds, or three with L2TPNET_FULL=1, and fewer with -short.
func aThousand() uint64 {
	if testing.Short() {
		return seeds(300, 3000)
	}
	return seeds(1000, 3000)
}

// The times that doc.go promises.
const (
	cycle     = 31 * time.Second
	setup     = 30 * time.Second
	callLimit = cycle + setup
	outLimit  = callLimit + setup
	lossLimit = time.Minute + cycle // a HELLO after a minute of silence, and nobody acknowledges it
)

// isTimeout and the like say which kind an error is.
func isTimeout(err error) bool { return errors.As(err, new(*TimeoutError)) }
func isPeers(err error) bool   { return errors.As(err, new(*PeerError)) }

// A fifth of the datagrams are lost each way, a tenth come twice, and they
// overtake each other. Tunnels and calls come up, or fail within the documented
// time with the right error; both ends agree on what stands; nothing is left.
func TestLossyLink(t *testing.T) {
	// The retries are those that the times are of.
	v2 := Config{Secret: []byte("s"), PlacesCalls: true, Retries: 5}
	with := func(v V3) Config {
		cfg := v2
		v.Pseudowires = []uint16{5}
		cfg.V3 = &v
		return cfg
	}
	v3 := with(V3{})
	old := with(V3{OldSecret: []byte("s")})
	old.Secret = []byte("the new one")
	for _, c := range []struct {
		name              string
		dialler, answerer Config
		version           uint8
	}{
		{"L2TPv2", v2, v2, 2},
		{"L2TPv3", v3, v3, 3},
		{"L2TPv3 with SHA-1 as well", with(V3{Digests: []wire.DigestType{wire.DigestSHA1, wire.DigestMD5}}), v3, 3},
		{"L2TPv3 while the secret changes", old, v3, 3},
		{"L2TPv3 by fall-back", with(V3{Fallback: true}), v3, 3},
		{"fall-back to L2TPv2", with(V3{Fallback: true}), v2, 2},
		{"an answerer of both", v2, v3, 2},
	} {
		t.Run(c.name, func(t *testing.T) { testLossyLink(t, c.dialler, c.answerer, c.version) })
	}
}

func testLossyLink(t *testing.T, dials, answers Config, version uint8) {
	tunnels, calls, up := 0, 0, 0
	for seed := range aThousand() {
		dials.HideAVPs, answers.HideAVPs = seed%2 == 0, seed%2 == 0
		p := newPair(t, seed, dials, answers)
		p.loss, p.duplication, p.delay = 0.2, 0.1, 80*time.Millisecond
		dialler, answerer := p.ends[0], p.ends[1]

		// Ten calls in the first 20 s, from both ends, incoming and outgoing ones,
		// some of them hung up soon, by whoever finds it.
		for range 10 {
			e := p.ends[p.rng.IntN(2)]
			begin := p.call
			if p.rng.IntN(2) == 0 {
				begin = p.place
			}
			id := begin(e)
			p.run(time.Duration(p.rng.Int64N(int64(2 * time.Second))))
			if other := p.ends[p.rng.IntN(2)]; p.rng.IntN(3) == 0 && len(other.order) > 0 {
				if other != e {
					id = other.order[p.rng.IntN(len(other.order))]
				}
				p.do(other, func(m *Tunnel) { m.Hangup(p.now, id, wire.Result{}) })
			}
		}

		// Then quiet, until all timers have had their turn, also those that
		// notice that the other end has given up.
		p.run(4 * time.Minute)
		if dialler.down != answerer.down {
			p.run(lossLimit)
		}
		for i, e := range p.ends {
			if !e.up && !e.down {
				t.Fatalf("seed %d: %s is neither up nor down", seed, e.name)
			}
			if e.up && e.upAt.Sub(p.start) > callLimit || !e.up && e.downAt.Sub(p.start) > callLimit {
				t.Errorf("seed %d: %s took too long to come up or fail", seed, e.name)
			}
			if e.down && !isTimeout(e.err) && !isPeers(e.err) {
				t.Errorf("seed %d: %s failed with %v", seed, e.name, e.err)
			}
			if e.down != p.ends[1-i].down {
				t.Errorf("seed %d: the dialler is down: %v, the answerer: %v", seed, dialler.down, answerer.down)
			}
			for id, s := range e.sessions {
				if !s.up && !s.down {
					t.Errorf("seed %d: session %d of %s is neither up nor down", seed, id, e.name)
				} else if took := s.settled.Sub(s.begun); took > outLimit && !e.down {
					t.Errorf("seed %d: session %d of %s took %v to come up or fail", seed, id, e.name, took)
				}
				if s.err != nil && !isTimeout(s.err) && !isPeers(s.err) && s.err != ErrTunnelClosed {
					t.Errorf("seed %d: session %d of %s: %v", seed, id, e.name, s.err)
				}
				if s.up && s.down && isTimeout(s.err) && !e.down {
					t.Errorf("seed %d: session %d of %s was established, and then: %v", seed, id, e.name, s.err)
				}
				calls++
				if s.up {
					up++
				}
			}
		}
		if a, b := p.standing(0), p.standing(1); !maps.Equal(a, b) {
			t.Errorf("seed %d: for the dialler %v stand, for the answerer %v", seed, a, b)
		}
		if !dialler.down {
			tunnels++
		}
		for _, e := range p.ends {
			if e.up && e.m.version != version {
				t.Errorf("seed %d: %s has L2TPv%d, expected L2TPv%d", seed, e.name, e.m.version, version)
			}
			// An ACK that comes before SCCRP cannot be verified yet.
			if n := e.m.Counters().BadDigest; n > 0 && e == answerer {
				t.Errorf("seed %d: %s has dropped %d messages for their digests", seed, e.name, n)
			}
			for id, s := range e.sessions {
				if s.up && version == 3 && (string(s.theirs.Cookie) != "cookie 8" || s.theirs.Status != wire.CircuitActive || s.theirs.Type != 0 && s.theirs.Type != 5) {
					t.Errorf("seed %d: session %d of %s: the peer has told %+v", seed, id, e.name, s.theirs)
				}
			}
		}

		p.do(p.ends[p.rng.IntN(2)], func(m *Tunnel) { m.Close(p.now, wire.Result{}) })
		p.run(lossLimit + cycle)
		p.mustBeGone(seed)
	}
	n := int(aThousand())
	t.Logf("%d of %d tunnels and %d of %d ends of calls came up", tunnels, n, up, calls)
	if up < calls*2/3 {
		t.Errorf("%d of %d ends of calls came up, expected most", up, calls)
	}
	if tunnels < n*9/10 { // a fifth of all is lost
		t.Errorf("%d of %d tunnels came up, expected nearly all", tunnels, n)
	}
}

func (p *pair) mustBeGone(seed uint64) {
	p.Helper()
	for _, e := range p.ends {
		if !e.gone || !e.m.Deadline().IsZero() {
			p.Errorf("seed %d: %s is left: %+v", seed, e.name, e)
		}
	}
}

// The line goes dead, at any time: both ends find out, within a minute of
// silence and the 31 s of a HELLO, and tell the right error.
func TestLinkGoesDead(t *testing.T) {
	for seed := range seeds(200, 5000) {
		p := newPair(t, seed, Config{}, Config{})
		p.loss, p.delay = 0.05, 20*time.Millisecond
		p.cut = p.now.Add(time.Duration(p.rng.Int64N(int64(200 * time.Millisecond))))
		if p.rng.IntN(4) == 0 {
			p.cut = p.now.Add(time.Duration(p.rng.Int64N(int64(10 * time.Minute))))
		}
		p.call(p.ends[0])
		p.call(p.ends[0])
		p.run(p.cut.Sub(p.now) + lossLimit)
		for _, e := range p.ends {
			if e.m.state == idle { // SCCRQ did not arrive
				e.m.Close(p.now, wire.Result{})
				p.drain()
				continue
			}
			if !e.down || !isTimeout(e.err) {
				t.Errorf("seed %d: %s is down: %v with %v, expected a TimeoutError", seed, e.name, e.down, e.err)
			}
		}
		p.run(cycle)
		p.mustBeGone(seed)
	}
}

// Other secrets, or none at one end: whoever sees it says so, the other end is
// told so or hears nothing, and no call ever rings.
func TestLossyLinkAndWrongSecrets(t *testing.T) {
	for seed := range seeds(200, 5000) {
		secrets := [][]byte{nil, []byte("one"), []byte("two")}
		a := p3(seed)
		b := (a + 1 + int(seed/3%2)) % 3
		p := newPair(t, seed, Config{Secret: secrets[a]}, Config{Secret: secrets[b]})
		p.loss, p.duplication, p.delay = 0.2, 0.1, 80*time.Millisecond
		p.call(p.ends[0])
		p.run(lossLimit + callLimit)
		seen := false
		for _, e := range p.ends {
			var refused *PeerError
			var auth AuthError
			switch {
			case !e.down || len(p.ends[1].sessions) > 0:
				t.Errorf("seed %d: %s is up: %+v", seed, e.name, e)
			case errors.As(e.err, &auth):
				seen = true
			case errors.As(e.err, &refused) && refused.Result.Code == wire.StopNotAuthorized && refused.Message == wire.StopCCN:
			case isTimeout(e.err):
			default:
				t.Errorf("seed %d: %s failed with %v", seed, e.name, e.err)
			}
		}
		if !seen && !isTimeout(p.ends[0].err) {
			t.Errorf("seed %d: nobody said what is wrong: %v, %v", seed, p.ends[0].err, p.ends[1].err)
		}
		p.run(cycle)
		p.mustBeGone(seed)
	}
}

func p3(seed uint64) int { return int(seed % 3) }
