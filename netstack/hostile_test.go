package netstack

import (
	"bytes"
	"io"
	"net/netip"
	"testing"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

func checksumOf(b []byte) uint16 { return checksum.Checksum(b, 0) }

// ipv4 is a packet with a header of 20 bytes whose checksum is right.
func ipv4Packet(src, dst [4]byte, protocol byte, payload []byte) []byte {
	total := 20 + len(payload)
	p := append([]byte{0x45, 0, byte(total >> 8), byte(total), 0, 0, 0x40, 0, 64, protocol, 0, 0}, src[:]...)
	p = append(p, dst[:]...)
	s := ^checksumOf(p)
	p[10], p[11] = byte(s>>8), byte(s)
	return append(p, payload...)
}

// echo is an ICMP echo request.
func echo() []byte {
	p := []byte{8, 0, 0, 0, 0, 1, 0, 1, 'h', 'e', 'l', 'l', 'o', '!'}
	s := ^checksumOf(p)
	p[2], p[3] = byte(s>>8), byte(s)
	return p
}

func put(s link.Sink, frames ...[]byte) {
	b := link.NewBatch()
	defer b.Free()
	for _, f := range frames {
		b.Add(0, f, nil)
	}
	s.Put(b)
}

// What is no IPv4 packet that could be for us never reaches the stack, and is
// counted.
func TestMalformedPackets(t *testing.T) {
	s := newStack(t, nil)
	answers := 0
	n := addIP(t, s, link.SinkFunc(func(b *link.Batch) { answers += len(b.Frames) }), addrA)
	good := func() []byte { return ipv4Packet(addrB.As4(), addrA.As4(), 1, echo()) }
	change := func(f func(p []byte)) []byte {
		p := good()
		f(p)
		return p
	}
	for _, row := range []struct {
		name   string
		packet []byte
		want   Counters
	}{
		{"an echo request", good(), Counters{PacketsIn: 1, BytesIn: 34, PacketsOut: 1, BytesOut: 34}},
		{"padding behind it", append(good(), 0, 0, 0), Counters{PacketsIn: 1, BytesIn: 37, PacketsOut: 1, BytesOut: 34}},
		{"nothing", nil, Counters{Malformed: 1}},
		{"one byte", []byte{0x45}, Counters{Malformed: 1}},
		{"19 bytes", good()[:19], Counters{Malformed: 1}},
		{"less than its total length", good()[:33], Counters{Malformed: 1}},
		{"less than an IPv6 header", change(func(p []byte) { p[0] = 0x65 }), Counters{Malformed: 1}},
		{"version 0", change(func(p []byte) { p[0] = 0x05 }), Counters{NotIP: 1}},
		{"a header of 16 bytes", change(func(p []byte) { p[0] = 0x44 }), Counters{Malformed: 1}},
		{"a header longer than the packet", change(func(p []byte) { p[0] = 0x4f }), Counters{Malformed: 1}},
		{"a total length of nothing", change(func(p []byte) { p[2], p[3] = 0, 0 }), Counters{Malformed: 1}},
		{"from 127.0.0.1", ipv4Packet([4]byte{127, 0, 0, 1}, addrA.As4(), 1, echo()), Counters{Martian: 1}},
		{"to 127.0.0.1", ipv4Packet(addrB.As4(), [4]byte{127, 0, 0, 1}, 1, echo()), Counters{Martian: 1}},
		// These the stack itself drops.
		{"from ourselves", ipv4Packet(addrA.As4(), addrA.As4(), 1, echo()), Counters{PacketsIn: 1, BytesIn: 34}},
		{"to somebody else", ipv4Packet(addrB.As4(), [4]byte{10, 0, 0, 3}, 1, echo()), Counters{PacketsIn: 1, BytesIn: 34}},
		{"an IPv4 checksum that is wrong", change(func(p []byte) { p[10]++ }), Counters{CorruptIPv4: 1}},
		{"an ICMP checksum that is wrong", change(func(p []byte) { p[22]++ }), Counters{CorruptICMP: 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := n.Counters()
			answers = 0
			put(n, row.packet)
			got := n.Counters()
			got.subtract(before)
			if got != row.want {
				t.Errorf("counted %+v, want %+v", got, row.want)
			}
			if uint64(answers) != row.want.PacketsOut {
				t.Errorf("%d answers", answers)
			}
		})
	}
}

// The same of IPv6.
func TestMalformedIPv6(t *testing.T) {
	s := newStack(t, nil)
	answers := make(chan []byte, 10)
	n, err := s.AddIP(link.SinkFunc(func(b *link.Batch) { answers <- b.Frames[0].AppendTo(nil) }), &IPConfig{InterfaceID: idA})
	if err != nil {
		t.Fatal(err)
	}
	<-answers // the solicitation
	own, peer := linkLocal(idA), linkLocal(idB)
	addr := netip.MustParseAddr
	good := func() []byte { return icmp6Packet(peer, own, 64, echo6()) }
	change := func(f func(p []byte)) []byte {
		p := good()
		f(p)
		return p
	}
	tooBig := func(mtu byte) []byte { // whose 256s are given
		return icmp6Packet(peer, own, 64, append([]byte{2, 0, 0, 0, 0, 0, mtu, 0}, ipv6Packet(own, peer, 64, 6, make([]byte, 20))...))
	}
	in := func(size int) Counters { return Counters{PacketsIn: 1, BytesIn: uint64(size)} }
	for _, row := range []struct {
		name   string
		packet []byte
		want   Counters
	}{
		{"an echo request", good(), Counters{PacketsIn: 1, BytesIn: 54, PacketsOut: 1, BytesOut: 54}},
		{"padding behind it", append(good(), 0, 0, 0), Counters{PacketsIn: 1, BytesIn: 57, PacketsOut: 1, BytesOut: 54}},
		{"39 bytes", good()[:39], Counters{Malformed: 1}},
		{"less than its payload length", good()[:53], Counters{Malformed: 1}},
		{"from ::1", icmp6Packet(addr("::1"), own, 64, echo6()), Counters{Martian: 1}},
		{"to ::1", icmp6Packet(peer, addr("::1"), 64, echo6()), Counters{Martian: 1}},
		{"from a multicast address", icmp6Packet(addr("ff02::1"), own, 64, echo6()), Counters{Martian: 1}},
		{"from an IPv4-mapped address", icmp6Packet(addr("::ffff:10.0.0.2"), own, 64, echo6()), Counters{Martian: 1}},
		{"to an IPv4-mapped address", icmp6Packet(peer, addr("::ffff:10.0.0.1"), 64, echo6()), Counters{Martian: 1}},
		{"to no address", icmp6Packet(peer, addr("::"), 64, echo6()), Counters{Martian: 1}},
		{"UDP from no address", ipv6Packet(addr("::"), own, 64, 17, make([]byte, 8)), Counters{Martian: 1}},
		{"Packet Too Big of less than IPv6's MTU", tooBig(4), Counters{Malformed: 1}},
		{"Packet Too Big", tooBig(5), in(108)},
		// These the stack itself drops.
		{"ICMPv6 from no address", icmp6Packet(addr("::"), own, 64, echo6()), in(54)},
		{"from ourselves", icmp6Packet(own, own, 64, echo6()), in(54)},
		{"to somebody else", icmp6Packet(peer, addr("fe80::99"), 64, echo6()), in(54)},
		{"an ICMPv6 checksum that is wrong", change(func(p []byte) { p[42]++ }), Counters{CorruptICMP: 1}},
		{"a redirect", icmp6Packet(peer, own, 255, append([]byte{137}, make([]byte, 39)...)), in(80)},
		{"a solicitation of a neighbour with options without end", icmp6Packet(peer, own, 255, append([]byte{135}, make([]byte, 31)...)), in(72)},
		{"a jumbogram, which is a Parameter Problem", ipv6Packet(peer, own, 64, 0, []byte{58, 0, 0xc2, 4, 0, 1, 0, 0}), Counters{PacketsIn: 1, BytesIn: 48, PacketsOut: 1, BytesOut: 96}},
		{"a routing header of type 0", ipv6Packet(peer, own, 64, 43, append([]byte{58, 0, 0, 0, 0, 0, 0, 0}, echo6()...)), in(62)},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := n.Counters()
			put(n, row.packet)
			got := n.Counters()
			got.subtract(before)
			if got != row.want {
				t.Errorf("counted %+v, want %+v", got, row.want)
			}
			if uint64(len(answers)) != row.want.PacketsOut {
				t.Errorf("%d answers", len(answers))
			}
			for len(answers) > 0 {
				<-answers
			}
		})
	}
}

// Receiving takes no memory that is not given back.
func TestReceivingAllocatesNothing(t *testing.T) {
	n := addIP(t, newStack(t, nil), discard, addrA)
	packet := ipv4Packet(addrB.As4(), [4]byte{10, 0, 0, 3}, 1, make([]byte, 1380)) // to somebody else
	b := link.NewBatch()
	defer b.Free()
	for range link.BatchMax {
		b.Add(0, packet, nil)
	}
	// Pools lose something now and then, and under the race detector often.
	if got := testing.AllocsPerRun(100, func() { n.Put(b) }); got > 2.5*link.BatchMax {
		t.Errorf("%v allocations for %d frames", got, link.BatchMax)
	}
}

// The interface verifies what it receives: bytes that were damaged on their way
// are never read, only their retransmission.
func TestDamagedSegments(t *testing.T) {
	p := newPair(t, nil, nil)
	client, server := p.connect(t)
	seen := 0
	p.ab.setTamper(func(f []byte) []byte {
		if seen++; len(f) > 60 && seen%40 == 0 {
			f[len(f)-1-seen%50] ^= 1 << (seen % 8)
		}
		return f
	})
	const size = 300_000
	go func() {
		io.Copy(client, &pattern{size: size})
		client.Close()
	}()
	if err := sameStream(server, size); err != nil {
		t.Error(err)
	}
	if c := p.nicB.Counters(); c.CorruptTCP == 0 {
		t.Error("nothing was damaged")
	}
}

func TestDamagedDatagram(t *testing.T) {
	p := newPair(t, nil, nil)
	server, err := p.b.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := p.a.Dial("udp", "10.0.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p.ab.setTamper(func(f []byte) []byte {
		f[len(f)-1] ^= 1
		p.ab.tamper = nil
		return f
	})
	for _, s := range []string{"damaged", "whole"} {
		io.WriteString(client, s)
	}
	b := make([]byte, 100)
	n, _, err := server.ReadFrom(b)
	if err != nil || string(b[:n]) != "whole" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if c := p.nicB.Counters(); c.CorruptUDP != 1 {
		t.Errorf("%d damaged datagrams were counted", c.CorruptUDP)
	}
}

// FuzzPut: whatever a peer sends, nothing panics and nothing is answered that
// is no IP packet.
func FuzzPut(f *testing.F) {
	f.Add(ipv4Packet(addrB.As4(), addrA.As4(), 1, echo()))
	f.Add(ipv4Packet(addrB.As4(), addrA.As4(), 17, []byte{0, 53, 0, 53, 0, 8, 0, 0}))
	f.Add(ipv4Packet(addrB.As4(), addrA.As4(), 6, make([]byte, 20)))
	f.Add(icmp6Packet(linkLocal(idB), linkLocal(idA), 64, echo6()))
	f.Add(icmp6Packet(linkLocal(idB), linkLocal(idA), 255, append([]byte{135}, make([]byte, 23)...)))
	f.Add(newAdvert().auto(prefixA).mtu(1280).rdnss(60, "2001:db8::53").packet())
	f.Add(ipv6Packet(linkLocal(idB), linkLocal(idA), 64, 44, []byte{6, 0, 0, 1, 0, 0, 0, 1}))
	f.Add(ipv6Packet(linkLocal(idB), linkLocal(idA), 64, 6, make([]byte, 20)))
	s := newStack(f, nil)
	n, err := s.AddIP(link.SinkFunc(func(b *link.Batch) {
		for i := range b.Frames {
			if first := b.Frames[i].Peek(1); first == nil || first[0]>>4 != 4 && first[0]>>4 != 6 {
				panic("sent what is not IP")
			}
		}
	}), &IPConfig{Addresses: []netip.Prefix{netip.PrefixFrom(addrA, 32)}, InterfaceID: idA})
	if err != nil {
		f.Fatal(err)
	}
	ln, err := s.Listen("tcp", ":80")
	if err != nil {
		f.Fatal(err)
	}
	defer ln.Close()
	f.Fuzz(func(t *testing.T, packet []byte) {
		packet = bytes.Clone(packet)
		switch { // past the first checksum
		case len(packet) >= 20 && packet[0]>>4 == 4:
			if h := int(packet[0]&15) * 4; h >= 20 && h <= len(packet) {
				packet[10], packet[11] = 0, 0
				s := ^checksumOf(packet[:h])
				packet[10], packet[11] = byte(s>>8), byte(s)
			}
		case len(packet) >= 44 && packet[0]>>4 == 6 && packet[6] == 58 && len(packet) < 1<<16:
			p := icmp6Packet(netip.AddrFrom16([16]byte(packet[8:])), netip.AddrFrom16([16]byte(packet[24:])), packet[7], packet[40:])
			copy(packet[42:44], p[42:44])
			copy(packet[4:6], p[4:6])
		}
		put(n, packet)
	})
}
