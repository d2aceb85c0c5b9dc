package netstack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// segment is a TCP segment with these flags and options in an IP packet, whose checksum
// is right. Options are padded with what ends them.
func segment(v6 bool, flags byte, options, payload []byte) []byte {
	for len(options)%4 != 0 {
		options = append(options[:len(options):len(options)], 0)
	}
	t := make([]byte, 20, 60+len(payload))
	t[12], t[13] = byte(20+len(options))<<2, flags
	t = append(append(t, options...), payload...)
	p := ipv4Packet([4]byte{10, 77, 0, 2}, [4]byte{10, 77, 0, 1}, 6, t)
	if v6 {
		p = ipv6Packet(netip.MustParseAddr("2001:db8:0:2::5"), gateway6, 64, 6, t)
	}
	h := len(p) - len(t)
	binary.BigEndian.PutUint16(p[h+16:], ^tcpSum(p, h))
	return p
}

// tcpSum is the sum of TCP's pseudo-header and the segment after so many bytes of
// IP header; all ones if the checksum is right.
func tcpSum(p []byte, h int) uint16 {
	addresses := p[8:40]
	if h == 20 {
		addresses = p[12:20]
	}
	n := len(p) - h
	return checksumOf(append(append(bytes.Clone(addresses), 0, 6, byte(n>>8), byte(n)), p[h:]...))
}

// RFC 6691 §2: "the MSS value to be sent in an MSS Option should be equal to the effective
// MTU minus the fixed IP and TCP headers." HOSTILE: a zero-length option in the clamp.
func TestClampMSS(t *testing.T) {
	const syn, ack, rst = 0x02, 0x10, 0x04
	mss := func(n uint16) []byte { return []byte{2, 4, byte(n >> 8), byte(n)} }
	for _, row := range []struct {
		name    string
		flags   byte
		options []byte
		at      int    // where in the options the MSS is, if it is changed
		want4   uint16 // with an MTU of 1300; 0: nothing is changed
		want6   uint16
	}{
		{"SYN", syn, mss(1460), 2, 1260, 1240},
		{"SYN-ACK", syn | ack, mss(1460), 2, 1260, 1240},
		{"a SYN that is small enough for one", syn, mss(1250), 2, 0, 1240},
		{"a SYN that is small enough", syn, mss(1240), 2, 0, 0},
		{"the largest", syn, mss(65535), 2, 1260, 1240},
		{"not a SYN", ack, mss(1460), 2, 0, 0},
		{"a reset", rst | ack, mss(1460), 2, 0, 0},
		{"behind others", syn, append([]byte{4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 3, 3, 7, 1}, mss(1460)...), 18, 1260, 1240},
		{"at an odd place", syn, append([]byte{1}, mss(1460)...), 3, 1260, 1240},
		{"none", syn, nil, 0, 0, 0},
		{"an option of no length before it", syn, append([]byte{8, 0}, mss(1460)...), 0, 0, 0},
		{"an option of length 1 before it", syn, append([]byte{8, 1}, mss(1460)...), 0, 0, 0},
		{"an option past the end", syn, []byte{8, 9, 0, 0}, 0, 0, 0},
		{"an option cut off", syn, []byte{1, 1, 1, 2}, 0, 0, 0},
		{"an MSS of a wrong length", syn, []byte{2, 3, 5, 1}, 0, 0, 0},
		{"an MSS past the end", syn, []byte{1, 1, 2, 4}, 0, 0, 0},
		{"behind the end of the options", syn, append([]byte{0}, mss(1460)...), 0, 0, 0},
	} {
		for _, v6 := range []bool{false, true} {
			h, want := 20, row.want4
			if v6 {
				h, want = 40, row.want6
			}
			p := segment(v6, row.flags, row.options, []byte("data"))
			expected := bytes.Clone(p)
			if want != 0 {
				binary.BigEndian.PutUint16(expected[h+20+row.at:], want)
				binary.BigEndian.PutUint16(expected[h+16:], 0)
				binary.BigEndian.PutUint16(expected[h+16:], ^tcpSum(expected, h))
			}
			if got := clampMSS(p, 1300); got != (want != 0) || !bytes.Equal(p, expected) {
				t.Errorf("%s, IPv6 %v: %v, % x, want\n% x", row.name, v6, got, p[h:], expected[h:])
			}
		}
	}
	// Fragments but the first have no header to be looked at, and other protocols none.
	for _, change := range []func(p []byte){func(p []byte) { p[7] = 1 }, func(p []byte) { p[9] = 17 }, func(p []byte) { p[0] = 0x4f }} {
		p := segment(false, syn, mss(1460), nil)
		change(p)
		if clampMSS(p, 1300) {
			t.Errorf("% x was changed", p)
		}
	}
}

// RFC 1624 §3: the checksum is what it would be if it were computed anew.
func TestClampedChecksum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v6 := rapid.Bool().Draw(t, "v6")
		nops := rapid.IntRange(0, 7).Draw(t, "NOPs")
		option := append(bytes.Repeat([]byte{1}, nops), 2, 4, byte(rapid.IntRange(5, 255).Draw(t, "high")), rapid.Byte().Draw(t, "low"))
		p := segment(v6, 0x02, option, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "payload"))
		h := 20
		if v6 {
			h = 40
		}
		if clampMSS(p, rapid.IntRange(68, 1300).Draw(t, "MTU")); tcpSum(p, h) != 0xffff {
			t.Fatalf("% x", p)
		}
	})
}

// FuzzClampMSS: nothing but a segment size and a checksum is changed, and it ends.
func FuzzClampMSS(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		f.Add(segment(v6, 0x02, []byte{2, 4, 5, 180}, nil))
		f.Add(segment(v6, 0x02, []byte{8, 0, 0, 0}, nil))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		was := bytes.Clone(p)
		changed := clampMSS(p, 1300)
		n := 0
		for i := range p {
			if p[i] != was[i] {
				n++
			}
		}
		if n > 4 || n > 0 && !changed {
			t.Errorf("% x became % x", was, p)
		}
	})
}
