package bridge

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A cable joins two ports as a loop outside does: what goes out of one comes in at the
// other, a little later, as long as it is plugged in and has room.
type cable struct {
	mu     sync.Mutex
	cut    bool
	passed int
}

func (c *cable) end(to *atomic.Pointer[Port]) link.Sink {
	return link.SinkFunc(func(b *link.Batch) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.passed += len(b.Frames)
		if c.cut {
			return
		}
		for i := range b.Frames {
			f := b.Frames[i].AppendTo(nil)
			time.AfterFunc(time.Millisecond, func() { (&wire{Port: to.Load()}).send(f) })
		}
	})
}

func (c *cable) plug(in bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = !in
}

func looped(t *testing.T, b *Bridge, one, two bool) (c *cable, p, q *Port) {
	t.Helper()
	c = &cable{}
	var ends [2]atomic.Pointer[Port]
	nowhere := link.SinkFunc(func(*link.Batch) {})
	attach := func(name string, there bool, near, far *atomic.Pointer[Port]) *Port {
		out := link.Sink(nowhere)
		if there {
			out = c.end(far)
		}
		p, err := b.Attach(name, out, nil)
		if err != nil {
			t.Fatal(err)
		}
		near.Store(p)
		return p
	}
	return c, attach("lower", one, &ends[0], &ends[1]), attach("higher", two, &ends[1], &ends[0])
}

// Issue 6: "a loop does not melt the process". One of its two ports is held as long as the
// loop is there, and the other goes on working.
func TestALoopIsCut(t *testing.T) {
	for _, c := range []struct {
		name          string
		forth, back   bool
		lower, higher bool // is held
		after         time.Duration
	}{
		{"a loop", true, true, false, true, 1},
		{"up only", true, false, false, true, 1},
		{"down only", false, true, true, false, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				b, w := bridgeOf(t, &Config{Events: func(e Event) { told = append(told, fmt.Sprint(e.Port.Name(), e.Held, e.From != nil)) }}, nil)
				defer b.Close()
				cable, lower, higher := looped(t, b, c.forth, c.back)
				held := func() [2]bool { return [2]bool{lower.Status().Held, higher.Status().Held} }
				pause(c.after*time.Second + time.Second/2)
				for range 100 {
					if got := held(); got != [2]bool{c.lower, c.higher} {
						t.Fatalf("held: %v", got)
					}
					pause(time.Second)
				}
				w[0].send(frame(broadcast, station(1), "x"))
				if n := cable.passed; n == 0 {
					t.Error("nothing has gone through the port that is not held")
				}
				cable.plug(false)
				pause(32 * time.Second)
				if got := held(); got != [2]bool{} {
					t.Errorf("after the loop, held: %v", got)
				}
				cable.plug(true)
				pause(5 * time.Second)
				if got := held(); got != [2]bool{c.lower, c.higher} {
					t.Errorf("again, held: %v", got)
				}
				name := map[bool]string{true: "lower", false: "higher"}[c.lower]
				if want := []string{name + "true true", name + "false false", name + "true true"}; fmt.Sprint(told) != fmt.Sprint(want) {
					t.Errorf("told %v, want %v", told, want)
				}
			})
		})
	}
}

// What comes back comes from a station that has just been heard elsewhere: it dies there,
// even before a probe has found the loop.
func TestAStormDiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := bridgeOf(t, &Config{ProbeInterval: -1}, nil)
		defer b.Close()
		cable, lower, higher := looped(t, b, true, true)
		for i := range 10 {
			w[0].send(frame(broadcast, station(i), "x"), frame(0x333300000001, station(i), "x"), frame(station(99), station(i), "x"))
		}
		pause(time.Minute)
		if cable.passed != 60 {
			t.Errorf("%d frames went through the loop, want 30 each way", cable.passed)
		}
		want(t, "what came back", w[0], "")
		if a, b := lower.Counters().Elsewhere, higher.Counters().Elsewhere; a != 30 || b != 30 {
			t.Errorf("%d and %d came back, want 30 each", a, b)
		}
	})
}

// Stations for which there is no room in the table are not recognised when they come back:
// their frames are as many a second as they may be.
func TestAStormOfStrangersIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := bridgeOf(t, &Config{ProbeInterval: -1, Addresses: 1}, nil)
		defer b.Close()
		cable, _, _ := looped(t, b, true, true)
		for i := range 10 {
			w[0].send(frame(broadcast, station(i), "x"))
		}
		pause(10 * time.Second)
		if n := cable.passed; n > 2*11*defaultFlood+20 {
			t.Errorf("%d frames in ten seconds", n)
		}
	})
}

// A wire that returns what it is sent, at once, on the same goroutine: two ports of a bridge
// that somebody has joined.
func TestPortsJoinedWithEachOther(t *testing.T) {
	b, w := bridgeOf(t, &Config{ProbeInterval: -1, Addresses: 1}, nil)
	var p, q *Port
	p, _ = b.Attach("p", link.SinkFunc(func(b *link.Batch) { q.Put(b) }), nil)
	q, _ = b.Attach("q", link.SinkFunc(func(b *link.Batch) { p.Put(b) }), nil)
	for i := range 10 {
		w[0].send(frame(broadcast, station(i), "x"))
	}
	if n := p.Counters().FramesIn + q.Counters().FramesIn; n == 0 || n > 10*defaultFlood {
		t.Errorf("%d frames", n)
	}
}

// A port that gets its own frames back is held, and no other is: nobody can have another
// port held by what he sends.
func TestProbesThatAreReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := bridgeOf(t, nil, nil, nil, nil, &PortConfig{Edge: true})
		defer b.Close()
		pause(1500 * time.Millisecond)
		first, second := w[0].probes[0], w[1].probes[0]
		if len(first) != probeLen || destinationOf(first) != probeTo || sourceOf(first) != b.self || slices.Equal(first, second) || len(w[3].probes) != 0 {
			t.Fatalf("probes % x and % x", first, second)
		}
		for _, change := range []func(f []byte) []byte{
			func(f []byte) []byte { return f[:20] },
			func(f []byte) []byte { return f[:headerLen] },
			func(f []byte) []byte { f[portAt+3]++; return f },
			func(f []byte) []byte { f[tokenAt]++; return f },
			func(f []byte) []byte { f[headerLen]++; return f },
			func(f []byte) []byte { f[12]++; return f },
			func(f []byte) []byte { clear(f[tokenAt:]); return f },
		} {
			w[2].send(change(slices.Clone(first)))
		}
		if s := w[2].Status(); s.Held || s.Counters.Malformed != 7 || s.Counters.Loops != 0 || s.Addresses != 0 {
			t.Errorf("forged: %+v", s)
		}
		w[0].send(second) // of the port with the higher number: three times, or that is held
		w[0].send(second)
		if w[0].Status().Held || w[1].Status().Held {
			t.Error("a port is held too soon")
		}
		w[1].send(second)
		if s := w[1].Status(); !s.Held || s.Counters.Holds != 1 {
			t.Errorf("not held although it got its own probe: %+v", s)
		}
		w[1].send(frame(broadcast, station(1), "in"))
		w[0].send(frame(broadcast, station(2), "out"))
		want(t, "held", w[2], "out")
		want(t, "held", w[1], "")
		if c := w[1].Counters(); c.Held != 2 {
			t.Errorf("counted %+v", c)
		}
		pause(31 * time.Second) // the beat after the 30 s
		if w[1].Status().Held {
			t.Error("held for too long")
		}
		w[1].send(second)
		if s := w[1].Status(); s.Held {
			t.Errorf("held because of a probe of half a minute ago: %+v", s)
		}
	})
}

// Two bridges with a loop between them, each of which has the other's first link as its
// second one: both would hold their second ports, and nothing were left. One of them waits
// for the other.
func TestALoopThroughTwoBridges(t *testing.T) {
	for _, crossed := range []int{0, 1} {
		for _, late := range []time.Duration{0, 300 * time.Millisecond, 2500 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				var ends [2][2]atomic.Pointer[Port]
				var bridges [2]*Bridge
				for i := range bridges {
					if i > 0 {
						pause(late)
					}
					bridges[i], _ = bridgeOf(t, &Config{Rand: strings.NewReader(strings.Repeat(string(rune('0'+i)), 1<<20))})
					defer bridges[i].Close()
					for j := range 2 {
						far := &ends[1-i][j^crossed]
						p, err := bridges[i].Attach(fmt.Sprint(j), link.SinkFunc(func(b *link.Batch) {
							for k := range b.Frames {
								f := b.Frames[k].AppendTo(nil)
								time.AfterFunc(time.Millisecond, func() {
									if p := far.Load(); p != nil {
										(&wire{Port: p}).send(f)
									}
								})
							}
						}), nil)
						if err != nil {
							t.Fatal(err)
						}
						ends[i][j].Store(p)
					}
				}
				pause(10 * time.Second)
				for second := range 100 {
					held := 0
					for i := range ends {
						for j := range ends[i] {
							if ends[i][j].Load().Status().Held {
								held++
							}
						}
					}
					if held != 1 {
						t.Fatalf("crossed %d, the second bridge %v later: after %d s %d ports are held, want 1", crossed, late, 10+second, held)
					}
					pause(time.Second)
				}
			})
		}
	}
}

// Issue 6: "a loop does not melt the process": in real time, from many sides.
func TestManyPortsAtOnce(t *testing.T) {
	b, w := bridgeOf(t, &Config{ProbeInterval: time.Millisecond, Ageing: 5 * time.Millisecond, MoveAfter: -1, Addresses: 50}, nil, nil, nil, nil)
	var all sync.WaitGroup
	for i, w := range w {
		for j := range 2 {
			all.Go(func() {
				for k := range 600 {
					w.send(frame(station((k*7+i)%64), station((k*3+j)%60), "x"), frame(broadcast, station(i), "y"))
					switch k % 100 {
					case 0:
						b.Status()
						b.Stations()
					case 50:
						p, err := b.Attach("short", link.SinkFunc(w.take), &PortConfig{Learned: 3})
						if err != nil {
							t.Error(err)
							return
						}
						(&wire{Port: p}).send(frame(broadcast, station(100+k), "z"))
						p.Close()
					case 75:
						w.SetLink(nil)
						w.SetLink(link.SinkFunc(w.take))
					}
				}
			})
		}
	}
	all.Wait()
	if n := len(b.Ports()); n != 4 {
		t.Errorf("%d ports are left", n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	learned := 0
	for _, w := range w {
		if n := len(w.entries); int64(n) != w.learned.Load() {
			t.Errorf("%d entries, %d learnt", n, w.learned.Load())
		}
		learned += len(w.entries)
	}
	inTable := 0
	for i := range b.table.shards {
		inTable += len(b.table.shards[i].entries)
	}
	if learned != b.table.learned || inTable != learned || learned > 50 {
		t.Errorf("%d entries of ports, %d in the table, %d learnt", learned, inTable, b.table.learned)
	}
}

func TestWhereNothingIsSaid(t *testing.T) {
	if _, err := New(&Config{Rand: strings.NewReader("")}); err == nil {
		t.Error("a bridge without randomness")
	}
	b, _ := bridgeOf(t, nil)
	if _, err := b.Attach("x", nil, &PortConfig{MTU: -1}); err == nil || !strings.Contains(err.Error(), "found -1") {
		t.Errorf("an MTU of -1: %v", err)
	}
}
