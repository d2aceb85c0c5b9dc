package link

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// packetOf is an IP packet with all checksums right, of which check is where the
// transport's is in that (-1: it has none).
func packetOf(v6 bool, protocol byte, transport []byte, check int) []byte {
	addresses := []byte{10, 77, 0, 1, 10, 77, 0, 2}
	var p []byte
	if v6 {
		addresses = superHeaders6(0)[8:40]
		p = append([]byte{0x60, 0, 0, 0, 0, byte(len(transport)), protocol, 64}, addresses...)
	} else {
		p = append([]byte{0x46, 0, 0, byte(24 + len(transport)), 0, 7, 0x40, 0, 64, protocol, 0, 0}, addresses...)
		p = append(p, 1, 1, 1, 0) // options: no operation, end
		binary.BigEndian.PutUint16(p[10:], ^plainSum(p))
	}
	ip := len(p)
	p = append(p, transport...)
	if check >= 0 {
		var pseudo []byte
		if protocol != 1 {
			pseudo = append(pseudo, addresses...)
			pseudo = append(pseudo, 0, protocol, 0, byte(len(transport)))
		}
		binary.BigEndian.PutUint16(p[ip+check:], ^plainSum(append(pseudo, p[ip:]...)))
	}
	return p
}

var transports = []struct {
	name     string
	protocol byte
	v4, v6   bool
	data     []byte
	check    int
	corrupt  Integrity
}{
	{"TCP", 6, true, true, append(make([]byte, 16), 0, 0, 0, 0, 1, 2, 3), 16, CorruptTCP},
	{"UDP", 17, true, true, []byte{0, 1, 0, 2, 0, 11, 0, 0, 7, 8, 9}, 6, CorruptUDP},
	{"ICMP", 1, true, false, []byte{8, 0, 0, 0, 1, 2, 3, 4, 5}, 2, CorruptICMP},
	{"ICMPv6", 58, false, true, []byte{128, 0, 0, 0, 1, 2, 3, 4, 5}, 2, CorruptICMP},
}

// A packet is intact, and not if any of its bits that a checksum is of is another.
func TestVerify(t *testing.T) {
	for _, row := range transports {
		for _, v6 := range []bool{false, true} {
			if v6 && !row.v6 || !v6 && !row.v4 {
				continue
			}
			t.Run(fmt.Sprintf("%s IPv6 %v", row.name, v6), func(t *testing.T) {
				p := packetOf(v6, row.protocol, row.data, row.check)
				if got := Verify(p); got != Intact {
					t.Fatalf("the packet is said to be %v", got)
				}
				ip := 24
				if v6 {
					ip = 40
				}
				for i := range len(p) * 8 {
					if v6 && i/8 < 8 {
						continue // IPv6 has no checksum of its header, and lengths are not Verify's to see
					}
					want := row.corrupt
					if !v6 && i/8 < ip {
						want = CorruptIPv4
					}
					p[i/8] ^= 1 << (i % 8)
					got := Verify(p)
					p[i/8] ^= 1 << (i % 8)
					switch {
					case got == Intact:
						t.Errorf("with bit %d of byte %d changed it is said to be intact", i%8, i/8)
					case got == Unverified && (!v6 && i/8 < 1 || row.protocol == 17 && i/8-ip >= 4 && i/8-ip < 6):
						// Another version, or lengths that cannot be.
					case got != want:
						t.Errorf("with bit %d of byte %d changed it is %v, want %v", i%8, i/8, got, want)
					}
				}
			})
		}
	}
}

func TestVerifySpecialCases(t *testing.T) {
	udp := []byte{0, 1, 0, 2, 0, 11, 0, 0, 7, 8, 9}
	change := func(p []byte, at int, b byte) []byte {
		p[at] = b
		if p[0]>>4 == 4 {
			p[10], p[11] = 0, 0
			binary.BigEndian.PutUint16(p[10:], ^plainSum(p[:24]))
		}
		return p
	}
	for _, row := range []struct {
		name   string
		packet []byte
		want   Integrity
	}{
		// RFC 768: "An all zero transmitted checksum value means that the transmitter
		// generated no checksum".
		{"UDP without a checksum", packetOf(false, 17, udp, -1), Intact},
		// RFC 8200 §8.1: "IPv6 receivers must discard UDP packets containing a zero
		// checksum".
		{"UDP over IPv6 without a checksum", packetOf(true, 17, udp, -1), CorruptUDP},
		{"UDP that is shorter than the packet", func() []byte {
			p := packetOf(false, 17, udp, 6)
			return change(append(p, 1), 3, byte(len(p)+1))
		}(), Intact},
		{"UDP of an impossible length", packetOf(false, 17, []byte{0, 1, 0, 2, 0, 7, 1, 1, 9}, -1), Unverified},
		{"UDP longer than the packet", packetOf(false, 17, []byte{0, 1, 0, 2, 0, 10, 1, 1, 9}, -1), Unverified},
		{"too little TCP", packetOf(false, 6, make([]byte, 19), -1), Unverified},
		{"the first fragment", change(packetOf(false, 17, udp, 6), 6, 0x20), Unverified},
		{"a later fragment", change(packetOf(false, 17, udp, 6), 7, 1), Unverified},
		{"a fragment of IPv6", packetOf(true, 44, make([]byte, 16), -1), Unverified},
		{"another protocol", packetOf(false, 47, make([]byte, 16), -1), Unverified},
		{"ICMP over IPv6", packetOf(true, 1, make([]byte, 16), -1), Unverified},
		{"ICMPv6 over IPv4", packetOf(false, 58, make([]byte, 16), -1), Unverified},
		{"nothing", nil, Unverified},
		{"19 bytes", packetOf(false, 6, nil, -1)[:19], Unverified},
		{"39 bytes of IPv6", packetOf(true, 6, nil, -1)[:39], Unverified},
		{"a header longer than the packet", change(packetOf(false, 6, nil, -1), 0, 0x4f), Unverified},
		{"version 7", change(packetOf(true, 6, make([]byte, 20), 16), 0, 0x70), Unverified},
	} {
		if got := Verify(row.packet); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

// What Split makes is intact.
func TestVerifyWhatIsSplit(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for i, p := range split(t, plainHeaders(v6, 12), randomBytes(5000), 777) {
			if got := Verify(p); got != Intact {
				t.Errorf("segment %d is %v", i, got)
			}
		}
	}
}

// BenchmarkVerify verifies a segment of 1,400 bytes.
func BenchmarkVerify(b *testing.B) {
	p := split(b, plainHeaders(false, 12), randomBytes(1348), 1348)[0]
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if Verify(p) != Intact {
			b.Fatal("not intact")
		}
	}
}
