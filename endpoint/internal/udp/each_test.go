package udp

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// Frames that each have a path of their own arrive where it leads, in their order.
func TestEachFrameGoesItsWay(t *testing.T) {
	for name, newConn := range forms {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			out := newConn(listen(t, "udp4", "127.0.0.1:0"))
			var in []*Conn
			var paths []*Path // two for each receiver: tunnels with one peer
			for range 3 {
				c := New(listen(t, "udp4", "127.0.0.1:0"))
				in = append(in, c)
				for range 2 {
					paths = append(paths, out.Path(c.LocalAddr(), netip.Addr{}))
				}
			}
			for round := range 20 {
				lengths := make([]int, 1+r.IntN(300))
				ways := make([]*Path, len(lengths))
				for i := range lengths {
					lengths[i] = []int{0, 40, 40, 60, 1000}[r.IntN(5)]
					ways[i] = paths[r.IntN(len(paths))]
					if i > 0 && r.IntN(2) == 0 {
						ways[i] = ways[i-1]
					}
				}
				var b link.Batch
				whole := fill(&b, lengths...)
				if sent, err := out.SendEach(b.Frames, ways); sent != len(lengths) || err != nil {
					t.Fatalf("round %d: %d of %d sent, error %v", round, sent, len(lengths), err)
				}
				for k, c := range in {
					var want [][]byte
					for i, p := range ways {
						if p.Peer == c.LocalAddr() {
							want = append(want, whole[i])
						}
					}
					for i, d := range take(t, c, len(want)) {
						if !bytes.Equal(d.bytes, want[i]) {
							t.Fatalf("round %d: datagram %d of receiver %d has %d bytes, want the %d that were sent", round, i, k, len(d.bytes), len(want[i]))
						}
					}
				}
			}
		})
	}
}

// What is refused on one path is an error, and all others arrive.
func TestARefusalConcernsOnePath(t *testing.T) {
	for name, newConn := range forms {
		t.Run(name, func(t *testing.T) {
			in, out := New(listen(t, "udp4", "127.0.0.1:0")), newConn(listen(t, "udp4", "127.0.0.1:0"))
			good := out.Path(in.LocalAddr(), netip.Addr{})
			bad := out.Path(netip.MustParseAddrPort("[2001:db8::1]:1701"), netip.Addr{}) // a socket of IPv4 has no way there
			ways := []*Path{bad, good, good, bad, bad, good, bad}
			var b link.Batch
			want := fill(&b, 10, 20, 20, 30, 30, 40, 50)
			sent, err := out.SendEach(b.Frames, ways)
			if sent != 3 || err == nil {
				t.Errorf("%d sent, error %v; want 3, and an error", sent, err)
			}
			got := take(t, in, 3)
			for i, k := range []int{1, 2, 5} {
				if !bytes.Equal(got[i].bytes, want[k]) {
					t.Errorf("datagram %d has %d bytes, want frame %d with %d", i, len(got[i].bytes), k, len(want[k]))
				}
			}
		})
	}
}

// One that is too long for any datagram takes no others with it.
func TestOneThatIsTooLongGoesAlone(t *testing.T) {
	for name, newConn := range forms {
		t.Run(name, func(t *testing.T) {
			in, out := New(listen(t, "udp4", "127.0.0.1:0")), newConn(listen(t, "udp4", "127.0.0.1:0"))
			p := out.Path(in.LocalAddr(), netip.Addr{})
			var b link.Batch
			fill(&b, 10, 65508, 20)
			sent, err := out.SendEach(b.Frames, []*Path{p, p, p})
			if sent != 2 || err == nil {
				t.Errorf("%d sent, error %v; want 2, and an error", sent, err)
			}
			for i, d := range take(t, in, 2) {
				if want := 10 * (i + 1); len(d.bytes) != want {
					t.Errorf("datagram %d has %d bytes, want %d", i, len(d.bytes), want)
				}
			}
		})
	}
}
