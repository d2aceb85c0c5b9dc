package netstack

import (
	"context"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A wire is one direction of a link between two stacks: a [link.Sink] that
// copies what it gets and delivers it on a goroutine of its own, in batches. It
// loses, doubles and swaps frames if it is told to.
type wire struct {
	lose, double, exchange float64 // probabilities

	frames  chan []byte
	stopped chan struct{}
	running sync.WaitGroup
	rand    *rand.Rand

	mu      sync.Mutex
	to      link.Sink           // nil: nowhere
	tamper  func([]byte) []byte // changes a frame or, returning nil, takes it
	largest int                 // batch that was put
}

func newWire(t *testing.T, w *wire) *wire {
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *wire) start() {
	w.frames, w.stopped = make(chan []byte, 1024), make(chan struct{})
	w.rand = rand.New(rand.NewPCG(7, 7))
	w.running.Go(w.run)
}

func (w *wire) stop() {
	close(w.stopped)
	w.running.Wait()
}

func (w *wire) Put(b *link.Batch) {
	var copies [][]byte
	for i := range b.Frames {
		f := &b.Frames[i]
		clear(f.Push(link.Headroom - etherMax)) // as the layers below write their headers
		f.Pop(link.Headroom - etherMax)
		copies = append(copies, f.AppendTo(nil))
	}
	w.mu.Lock()
	w.largest = max(w.largest, len(b.Frames))
	tamper := w.tamper
	w.mu.Unlock()
	for _, c := range copies {
		if tamper != nil {
			c = tamper(c)
		}
		if c == nil {
			continue
		}
		select {
		case w.frames <- c:
		case <-w.stopped:
		}
	}
}

func (w *wire) deliverTo(s link.Sink) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = s
}

func (w *wire) setTamper(f func([]byte) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tamper = f
}

func (w *wire) run() {
	for {
		var frames [][]byte
		select {
		case first := <-w.frames:
			frames = append(frames, first)
		case <-w.stopped:
			return
		}
		for n := len(w.frames); n > 0 && len(frames) < link.BatchMax; n-- {
			frames = append(frames, <-w.frames)
		}
		b := link.NewBatch()
		for i := range frames {
			if j := w.rand.IntN(len(frames)); w.rand.Float64() < w.exchange {
				frames[i], frames[j] = frames[j], frames[i]
			}
		}
		for _, f := range frames {
			if w.rand.Float64() < w.lose {
				continue
			}
			b.Add(0, f, nil)
			if w.rand.Float64() < w.double {
				b.Add(0, f[:len(f)/3], f[len(f)/3:])
			}
		}
		w.mu.Lock()
		to := w.to
		w.mu.Unlock()
		if to != nil {
			to.Put(b)
		}
		b.Free()
		for _, f := range frames { // bytes are valid during the call
			for i := range f {
				f[i] = 0xa5
			}
		}
	}
}

var (
	addrA = netip.MustParseAddr("10.0.0.1")
	addrB = netip.MustParseAddr("10.0.0.2")
)

// A pair is two stacks at the ends of one link.
type pair struct {
	a, b       *Stack
	nicA, nicB *NIC
	ab, ba     *wire
}

// newPair joins two stacks by wires like the one given. DNS is a's server.
func newPair(t *testing.T, like *wire, cfg *Config, dns ...netip.Addr) *pair {
	if like == nil {
		like = &wire{}
	}
	p := &pair{}
	// Cleaned up in reverse: the stacks end before the wires do.
	p.ab = newWire(t, &wire{lose: like.lose, double: like.double, exchange: like.exchange})
	p.ba = newWire(t, &wire{lose: like.lose, double: like.double, exchange: like.exchange})
	p.a, p.b = newStack(t, cfg), newStack(t, nil)
	p.nicA = addIP(t, p.a, p.ab, addrA, dns...)
	p.nicB = addIP(t, p.b, p.ba, addrB)
	p.ab.deliverTo(p.nicB)
	p.ba.deliverTo(p.nicA)
	return p
}

func newStack(t testing.TB, cfg *Config) *Stack {
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func addIP(t testing.TB, s *Stack, out link.Sink, addr netip.Addr, dns ...netip.Addr) *NIC {
	n, err := s.AddIP(out, &IPConfig{Addresses: []netip.Prefix{netip.PrefixFrom(addr, 32)}, DNS: dns})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// discard is a link to nowhere.
var discard = link.SinkFunc(func(*link.Batch) {})

// patience is how long a test waits for what must happen. It only ever ends
// tests that fail.
func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// pattern is a stream of bytes in which each place can be told from its
// neighbours.
type pattern struct{ at, size int }

func (p *pattern) Read(b []byte) (n int, err error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	for n < len(b) && p.at < p.size {
		b[n] = byte(p.at ^ p.at>>8 ^ p.at>>16)
		n++
		p.at++
	}
	return n, nil
}
