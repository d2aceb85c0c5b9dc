package netstack

import (
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A bulk transfer is handed down in super-packets that are as long as one
// UDP_SEGMENT send takes, with headers of 32 bytes below IP: 64 segments, 65,507
// bytes, all of one length but the last.
func TestSuperPackets(t *testing.T) {
	for _, row := range []struct{ mtu, segments int }{
		{576, 64}, {1400, 45}, {1500, 42}, {9000, 7}, {40_000, 1}, {65_535, 1},
	} {
		t.Run(fmt.Sprint(row.mtu), func(t *testing.T) {
			a, b := newStack(t, nil), newStack(t, nil)
			ab, ba := newWire(t, &wire{}), newWire(t, &wire{})
			var mu sync.Mutex
			longest, bytes := 0, 0
			watch := link.SinkFunc(func(batch *link.Batch) {
				mu.Lock()
				defer mu.Unlock()
				sum := 0
				for i := range batch.Frames {
					f := &batch.Frames[i]
					sum += f.Len() + 32
					first := batch.Frames[0].Len()
					if n := f.Len(); n > first || n < first && i < len(batch.Frames)-1 || n > row.mtu {
						t.Errorf("frame %d of %d has %d bytes, the first %d, the MTU is %d", i, len(batch.Frames), n, first, row.mtu)
					}
				}
				longest, bytes = max(longest, len(batch.Frames)), max(bytes, sum)
				ab.Put(batch)
			})
			add := func(s *Stack, out link.Sink, addr netip.Addr) *NIC {
				n, err := s.AddIP(out, &IPConfig{Addresses: []netip.Prefix{netip.PrefixFrom(addr, 32)}, MTU: row.mtu})
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			ba.deliverTo(add(a, watch, addrA))
			ab.deliverTo(add(b, ba, addrB))
			p := &pair{a: a, b: b}
			client, server := p.connect(t)
			const size = 4 << 20
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := sameStream(server, size); err != nil {
					t.Error(err)
				}
			})
			if _, err := io.CopyBuffer(struct{ io.Writer }{client}, &pattern{size: size}, make([]byte, 256<<10)); err != nil {
				t.Fatal(err)
			}
			client.Close()
			wg.Wait()
			mu.Lock()
			defer mu.Unlock()
			// How close to it they come depends on the congestion window.
			if longest > row.segments || longest < min(row.segments, 8) || bytes > 65507 && row.segments > 1 {
				t.Errorf("the longest has %d segments, want %d; the largest %d bytes", longest, row.segments, bytes)
			}
			const options = 40 // for which gVisor leaves room in every segment
			if got, want := gsoMaxSize(row.mtu, 20), 161+row.segments*(row.mtu-20-20-options); got != uint32(want) {
				t.Errorf("GSOMaxSize is %d, want %d", got, want)
			}
		})
	}
}

// The stack's own packets that lie in more than two pieces are copied.
func TestPutWhole(t *testing.T) {
	for n := 1; n <= 5; n++ {
		var got basket
		var pieces [][]byte
		for i := range n {
			pieces = append(pieces, []byte(fmt.Sprint("piece ", i, "; ")))
		}
		putWhole(&got, pieces, 9*n)
		want := ""
		for _, p := range pieces {
			want += string(p)
		}
		if packets := got.take(); len(packets) != 1 || string(packets[0]) != want {
			t.Errorf("%d pieces become %q", n, packets)
		}
	}
}
