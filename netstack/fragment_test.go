package netstack

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"pgregory.net/rapid"
)

// Fragments, and fragments of fragments, say where they belong: laid where their
// offsets say they make the packet again, and all but the last have the bit that says
// so.
func TestFragments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v6 := rapid.Bool().Draw(t, "v6")
		payload := rapid.SliceOfN(rapid.Byte(), 1, 9000).Draw(t, "payload")
		var packet []byte
		least := 68
		if v6 {
			least = 1280
			packet = ipv6Packet(netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), 64, 17, payload)
		} else {
			packet = ipv4Packet([4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}, 17, payload)
			if rapid.Bool().Draw(t, "DF is off") {
				packet[6] = 0
			}
		}
		packets := [][]byte{packet}
		for _, mtu := range rapid.SliceOfN(rapid.IntRange(least, 1500), 1, 3).Draw(t, "MTUs") {
			var next [][]byte
			for _, p := range packets {
				if len(p) <= mtu {
					next = append(next, p)
					continue
				}
				var got basket
				var b link.Batch
				f := fragment4(p, mtu)
				if v6 {
					f = fragment6(p, mtu)
				}
				n, size := f.addTo(&b, &got)
				got.Put(&b)
				pieces := got.take()
				for _, piece := range pieces {
					if len(piece) > mtu {
						t.Fatalf("a fragment of %d bytes where the MTU is %d", len(piece), mtu)
					}
					size -= len(piece)
				}
				if n != len(pieces) || size != 0 {
					t.Fatalf("%d fragments are said to be %d, %d bytes more", len(pieces), n, size)
				}
				next = append(next, pieces...)
			}
			packets = next
		}
		if len(packets) == 1 {
			return
		}
		again := make([]byte, len(payload))
		for i, p := range packets {
			offset, more, rest := 0, false, []byte(nil)
			if v6 {
				h := header.IPv6(p)
				if int(h.PayloadLength()) != len(p)-40 || h.NextHeader() != 44 || p[40] != 17 || !bytes.Equal(p[44:48], packets[0][44:48]) {
					t.Fatalf("% x", p[:48])
				}
				offset, more, rest = int(p[42])<<8|int(p[43]&^7), p[43]&1 != 0, p[48:]
			} else {
				h := header.IPv4(p)
				if int(h.TotalLength()) != len(p) || !h.IsChecksumValid() || h.ID() != header.IPv4(packets[0]).ID() || packet[6] != 0 && h.ID() == 0 || p[6]&0x40 != 0 {
					t.Fatalf("% x", p[:20])
				}
				offset, more, rest = (int(p[6]&0x1f)<<8|int(p[7]))*8, p[6]&0x20 != 0, p[20:]
			}
			if last := i == len(packets)-1; more == last || more && len(rest)%8 != 0 || offset+len(rest) > len(again) {
				t.Fatalf("fragment %d of %d: offset %d, %d bytes, more: %v", i, len(packets), offset, len(rest), more)
			}
			copy(again[offset:], rest)
		}
		if !bytes.Equal(again, payload) {
			t.Fatal("other bytes than before")
		}
	})
}
