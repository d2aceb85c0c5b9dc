package bridge

import (
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// FuzzBridge has frames of any kind come in at four ports. Each input is a list of frames:
// an octet that says where and how it lies, one for its length, and its bytes.
func FuzzBridge(f *testing.F) {
	add := func(port byte, frame []byte) []byte { return append([]byte{port, byte(len(frame))}, frame...) }
	f.Add(append(add(0, frame(broadcast, station(1), "x")), add(1, frame(station(1), station(2), "y"))...))
	f.Add(add(2, frame(reserved, station(1), "bpdu")))
	f.Add(add(0x13, frame(probeTo, station(0), "\x00\x00loop")))
	f.Add(add(1, []byte("short")))
	f.Fuzz(func(t *testing.T, input []byte) {
		b, w := bridgeOf(t, &Config{ProbeInterval: -1, Addresses: 5}, &PortConfig{MTU: 40}, &PortConfig{Isolated: true}, &PortConfig{Isolated: true, Learned: 2}, nil)
		defer b.Close()
		batch := link.NewBatch()
		defer batch.Free()
		sent := uint64(0)
		for len(input) >= 2 {
			where, n := input[0], min(int(input[1]), len(input)-2)
			bytes := input[2 : 2+n]
			input = input[2+n:]
			head, tail := int(where>>2&7)*n/8, int(where>>5)*n/8
			tail = min(tail, n-head)
			copy(batch.Add(head, bytes[head:n-tail], bytes[n-tail:]).Head(), bytes)
			if where&1 == 0 || len(input) < 2 {
				w[where>>1&3].Put(batch)
				sent += uint64(len(batch.Frames))
				batch.Reset()
			}
		}
		var sum uint64
		for i, w := range w {
			c := w.Counters()
			sum += c.FramesIn
			if dropped := c.Malformed + c.Reserved + c.Filtered + c.Elsewhere; dropped > c.FramesIn {
				t.Errorf("port %d dropped %d of %d", i, dropped, c.FramesIn)
			}
			for _, frame := range w.frames {
				if len(frame) < headerLen || i == 0 && len(frame) > 40+headerLen+tagLen || destinationOf(frame).isReserved() || !sourceOf(frame).isStation() {
					t.Errorf("port %d got % x", i, frame)
				}
			}
		}
		if sum != sent {
			t.Errorf("%d of %d frames were counted", sum, sent)
		}
		if n := len(b.Stations()); n > 5 {
			t.Errorf("%d stations", n)
		}
		b.mu.Lock()
		b.forgetOld(int64(1000 * time.Hour))
		left := b.table.learned
		b.mu.Unlock()
		if left != 0 {
			t.Errorf("%d stations stay for ever", left)
		}
	})
}

// BenchmarkBridge is what a bridge costs a batch of 64 frames: for one station, for two
// stations by turns, and for all ports.
func BenchmarkBridge(b *testing.B) {
	for _, c := range []struct {
		name string
		dst  [2]mac
	}{
		{"one station", [2]mac{station(2), station(2)}},
		{"two stations", [2]mac{station(2), station(3)}},
		{"all", [2]mac{broadcast, broadcast}},
	} {
		b.Run(c.name, func(b *testing.B) {
			br, err := New(nil)
			if err != nil {
				b.Fatal(err)
			}
			defer br.Close()
			var ports []*Port
			for range 3 {
				p, err := br.Attach("p", link.SinkFunc(func(*link.Batch) {}), &PortConfig{Broadcast: -1})
				if err != nil {
					b.Fatal(err)
				}
				ports = append(ports, p)
			}
			(&wire{Port: ports[1]}).send(frame(station(1), station(2), ""))
			(&wire{Port: ports[2]}).send(frame(station(1), station(3), ""))
			batch := link.NewBatch()
			payload := string(make([]byte, 1400))
			for i := range link.BatchMax {
				batch.Add(0, frame(c.dst[i%2], station(1), payload), nil)
			}
			b.ReportAllocs()
			for b.Loop() {
				ports[0].Put(batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/link.BatchMax, "ns/frame")
		})
	}
}
