package netstack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A switched is two sessions that may send to each other, and their sinks.
type switched struct {
	one, two         *Port
	toOne, toTwo     basket
	addrOne, addrTwo netip.Addr // IPv6
}

// newSwitched has the second session carry as little as mtu.
func newSwitched(t testing.TB, mtu int) *switched {
	s := &switched{addrOne: sessionNet(2).Addr().Next(), addrTwo: sessionNet(3).Addr().Next()}
	r := newRouter6(t, newStack(t, nil), RoutedConfig{ClientToClient: true})
	s.one = attachWith(t, r, &s.toOne, PortConfig{InterfaceID: idA, Prefix: sessionNet(2)}, "10.77.0.2/32")
	s.two = attachWith(t, r, &s.toTwo, PortConfig{InterfaceID: idA, Prefix: sessionNet(3), MTU: mtu}, "10.77.0.3/32")
	s.toOne.take()
	s.toTwo.take()
	return s
}

func (s *switched) packet(v6 bool, protocol byte, payload []byte) []byte {
	if v6 {
		return ipv6Packet(s.addrOne, s.addrTwo, 64, protocol, payload)
	}
	return ipv4Packet(as4("10.77.0.2"), as4("10.77.0.3"), protocol, payload)
}

// Issue: "client to client when allowed (switched below the stack), MSS clamped".
func TestClientToClient(t *testing.T) {
	r := newRouter6(t, newStack(t, nil), RoutedConfig{ClientToClient: true, MTU: 1500})
	one, two := newClient6(t, r, 2, 0), newClient6(t, r, 3, 1300)
	v4, v6 := two.addresses()
	for _, a := range []netip.Addr{v4, v6} {
		bulk(t, one.stack, two.stack, a)
		echoUDP(t, one.stack, two.stack, a, 1000)
		if _, err := one.stack.Ping(patience(t), a, nil); err != nil {
			t.Error(err)
		}
	}
	a, b := one.port.Counters(), two.port.Counters()
	if a.Switched == 0 || b.Switched == 0 || a.ClientToClient+b.ClientToClient+a.TooLong+b.TooLong+b.Fragmented != 0 {
		t.Errorf("one: %+v\ntwo: %+v", a, b)
	}
}

// RFC 1812 §5.3.1: "A router MUST NOT originate or forward a datagram with a
// Time-to-Live (TTL) value of zero"; what goes on has one less, and a checksum that
// says so (RFC 1624). All else is as it was, padding apart.
func TestSwitchedPacketsAreAsTheyWere(t *testing.T) {
	s := newSwitched(t, 0)
	var want [][]byte
	for i := range 200 {
		payload := bytes.Repeat([]byte{byte(i)}, i)
		p := s.packet(i%2 == 0, 17, payload)
		w := bytes.Clone(p)
		if i%2 == 0 {
			w[7]--
		} else {
			w[8]--
			w[10], w[11] = 0, 0
			binary.BigEndian.PutUint16(w[10:], ^checksumOf(w[:20]))
		}
		if i%5 == 0 {
			p = append(p, 0, 0, 0)
		}
		put(s.one, p)
		want = append(want, w)
	}
	got := s.toTwo.take()
	if len(got) != len(want) || len(s.toOne.take()) != 0 {
		t.Fatalf("%d packets of %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("packet %d is % x, want\n% x", i, got[i], want[i])
		}
	}
}

// What is for several sessions in one batch keeps its order within each.
func TestSwitchedBatchKeepsOrder(t *testing.T) {
	r := newRouter6(t, newStack(t, nil), RoutedConfig{ClientToClient: true})
	var sinks [3]basket
	var ports [3]*Port
	for i := range sinks {
		ports[i] = attach(t, r, &sinks[i], fmt.Sprintf("10.77.0.%d/32", i+2))
	}
	var batch [][]byte
	var want [3][]byte
	for i := range 300 {
		to := (i*i/7 + i) % 3
		if to == 0 { // to the gateway, which is not there
			batch = append(batch, ipv4Packet(as4("10.77.0.2"), as4("10.77.9.9"), 17, []byte{byte(i)}))
			continue
		}
		batch = append(batch, ipv4Packet(as4("10.77.0.2"), [4]byte{10, 77, 0, byte(to + 2)}, 17, []byte{byte(i)}))
		want[to] = append(want[to], byte(i))
	}
	put(ports[0], batch...)
	for i := range sinks {
		var got []byte
		for _, p := range sinks[i].take() {
			got = append(got, p[20])
		}
		if !slices.Equal(got, want[i]) {
			t.Errorf("session %d was sent % x, want % x", i, got, want[i])
		}
		if c := ports[i].Counters(); i > 0 && (c.PacketsOut != uint64(len(want[i])) || c.BytesOut != uint64(21*len(want[i]))) {
			t.Errorf("session %d: %+v", i, c)
		}
	}
	if c := ports[0].Counters(); c.PacketsIn != 300 || c.Switched != uint64(len(want[1])+len(want[2])) {
		t.Errorf("%+v", c)
	}
}

// What cannot go on is dropped and counted, and its sender told where ICMP has a word
// for it, from the gateway's address: RFC 1812 §4.3.3.4 and §5.2.7.1, RFC 4443 §3.2 and §3.3.
func TestWhatIsNotSwitched(t *testing.T) {
	s := newSwitched(t, 1300)
	expired := func(p []byte) []byte {
		if p[0]>>4 == 6 {
			p[7] = 1
			return p
		}
		p[8], p[10], p[11] = 1, 0, 0
		binary.BigEndian.PutUint16(p[10:], ^checksumOf(p[:20]))
		return p
	}
	header4 := func(p []byte, change func(p []byte)) []byte {
		change(p)
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^checksumOf(p[:20]))
		return p
	}
	long := make([]byte, 1301)
	unreachable := append([]byte{3, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 1300)...)
	damaged := s.packet(false, 17, []byte("hello"))
	damaged[10]++
	for _, row := range []struct {
		name   string
		packet []byte
		want   Counters
		told   []byte // the ICMP error's type, code and the word after the checksum; nil: nothing
	}{
		{"its time has run out", expired(s.packet(false, 17, []byte("hello"))), Counters{Expired: 1}, []byte{11, 0, 0, 0, 0, 0}},
		{"its hop limit has run out", expired(s.packet(true, 17, []byte("hello"))), Counters{Expired: 1}, []byte{3, 0, 0, 0, 0, 0}},
		{"too long, and must not be cut", s.packet(false, 17, long[:1281]), Counters{TooLong: 1}, []byte{3, 4, 0, 0, 0x05, 0x14}},
		{"too long, with options", header4(append(s.packet(false, 17, nil)[:20], long...), func(p []byte) {
			p[0], p[6] = 0x46, 0
			binary.BigEndian.PutUint16(p[2:], 1321)
		}), Counters{TooLong: 1}, []byte{3, 4, 0, 0, 0x05, 0x14}},
		{"too long, IPv6", s.packet(true, 17, long[:1261]), Counters{TooLong: 1}, []byte{2, 0, 0, 0, 0x05, 0x14}},
		{"too long, a later fragment", header4(s.packet(false, 17, long), func(p []byte) { p[7] = 10 }), Counters{TooLong: 1}, nil},
		{"too long, an ICMP error", s.packet(false, 1, unreachable), Counters{TooLong: 1}, nil},
		{"too long, an ICMPv6 error", s.packet(true, 58, append([]byte{1}, long...)), Counters{TooLong: 1}, nil},
		{"too long, an ICMPv6 error behind options", s.packet(true, 0, append([]byte{58, 0, 1, 4, 0, 0, 0, 0, 1}, long...)), Counters{TooLong: 1}, nil},
		{"too long, options without an end", s.packet(true, 60, append([]byte{60, 255}, long...)), Counters{TooLong: 1}, nil},
		{"an echo request, IPv6", s.packet(true, 58, append([]byte{128}, long...)), Counters{TooLong: 1}, []byte{2, 0, 0, 0, 0x05, 0x14}},
		{"a checksum that is wrong", damaged, Counters{Malformed: 1}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := counted(s.one, row.packet)
			if row.told != nil {
				row.want.PacketsOut, row.want.BytesOut = 1, got.BytesOut
			}
			if got != row.want {
				t.Errorf("counted %+v, want %+v", got, row.want)
			}
			told := s.toOne.take()
			if len(told) != 0 != (row.told != nil) || len(s.toTwo.take()) != 0 {
				t.Fatalf("told % x", told)
			}
			if row.told == nil {
				return
			}
			p := told[0]
			m, about := p[20:], row.packet
			if p[0]>>4 == 6 {
				m = p[40:]
				if !checksumOK(p) || netip.AddrFrom16([16]byte(p[8:])) != gateway6 || netip.AddrFrom16([16]byte(p[24:])) != s.addrOne {
					t.Errorf("% x", p[:48])
				}
				about = about[:min(len(about), 1280-48)]
			} else {
				if checksumOf(p[:20]) != 0xffff || checksumOf(m) != 0xffff || [4]byte(p[12:]) != gateway.As4() || [4]byte(p[16:]) != as4("10.77.0.2") {
					t.Errorf("% x", p[:28])
				}
				about = about[:min(len(about), 576-28)]
			}
			if got := append(bytes.Clone(m[:2]), m[4:8]...); !bytes.Equal(got, row.told) || !bytes.Equal(m[8:], about) {
				t.Errorf("told % x about % x", got, m[8:])
			}
		})
	}
	// Such answers are rare.
	s.toOne.take()
	begun := time.Now()
	for range 10 * complaintBurst {
		put(s.one, expired(s.packet(true, 17, nil)))
	}
	most := complaintBurst + 1 + int(time.Since(begun)/complaintInterval)
	if n := len(s.toOne.take()); n > most {
		t.Errorf("told %d times, want %d at most", n, most)
	}
}

// RFC 1812 §4.2.2.7: "Fragmentation, as described in [INTERNET:1], MUST be supported by
// a router."
func TestSwitchedPacketsAreFragmented(t *testing.T) {
	s := newSwitched(t, 600)
	var want [][]byte
	for i := range 100 { // many packets in one batch, and many fragments
		p := s.packet(false, 17, bytes.Repeat([]byte{byte(i)}, 1380))
		p[4], p[5], p[6], p[10], p[11] = 0, byte(i), 0, 0, 0
		binary.BigEndian.PutUint16(p[10:], ^checksumOf(p[:20]))
		want = append(want, p)
	}
	put(s.one, want...)
	got := s.toTwo.take()
	if len(got) != 300 {
		t.Fatalf("%d fragments, want 300", len(got))
	}
	for i, p := range got {
		h := header.IPv4(p)
		if len(p) > 600 || int(h.ID()) != i/3 || h.TTL() != 63 || !h.IsChecksumValid() || p[20] != byte(i/3) || h.More() != (i%3 < 2) || int(h.FragmentOffset()) != i%3*576 {
			t.Fatalf("fragment %d: % x", i, p[:24])
		}
	}
	if c := s.two.Counters(); c.Fragmented != 100 || c.PacketsOut != 300 || c.BytesOut != 100*(3*20+1380) {
		t.Errorf("%+v", c)
	}
}

// What one session sends another takes no memory that is not given back, apart from
// that which gVisor's pools lose.
func TestSwitchingAllocatesNothing(t *testing.T) {
	r := newRouter6(t, newStack(t, nil), RoutedConfig{ClientToClient: true})
	one := attach(t, r, discard, "10.77.0.2/32")
	attach(t, r, discard, "10.77.0.3/32")
	b := manyOf(ipv4Packet(as4("10.77.0.2"), as4("10.77.0.3"), 17, make([]byte, 1372)))
	defer b.Free()
	if got := testing.AllocsPerRun(100, func() { one.Put(b) }); got > 1.5*float64(len(b.Frames)) {
		t.Errorf("%v allocations for %d frames", got, len(b.Frames))
	}
}

// manyOf is a full batch of the same packet.
func manyOf(packet []byte) *link.Batch {
	b := link.NewBatch()
	for range link.BatchMax {
		b.Add(0, packet, nil)
	}
	return b
}

func BenchmarkSwitching(b *testing.B) {
	r := newRouter6(b, newStack(b, nil), RoutedConfig{ClientToClient: true})
	one := attach(b, r, discard, "10.77.0.2/32")
	attach(b, r, discard, "10.77.0.3/32")
	batch := manyOf(ipv4Packet(as4("10.77.0.2"), as4("10.77.0.3"), 17, make([]byte, 1372)))
	b.SetBytes(link.BatchMax * 1392)
	for b.Loop() {
		one.Put(batch)
	}
}
