package netstack

import (
	"bytes"
	"io"
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
		{"an IPv4 checksum that is wrong", change(func(p []byte) { p[10]++ }), Counters{PacketsIn: 1, BytesIn: 34}},
		{"an ICMP checksum that is wrong", change(func(p []byte) { p[22]++ }), Counters{PacketsIn: 1, BytesIn: 34}},
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

func (c *Counters) subtract(d Counters) {
	for _, x := range []struct{ c, d *uint64 }{
		{&c.PacketsIn, &d.PacketsIn}, {&c.BytesIn, &d.BytesIn}, {&c.PacketsOut, &d.PacketsOut}, {&c.BytesOut, &d.BytesOut},
		{&c.NotIP, &d.NotIP}, {&c.NoIPv6, &d.NoIPv6}, {&c.Malformed, &d.Malformed}, {&c.Martian, &d.Martian}, {&c.Spoofed, &d.Spoofed},
		{&c.ClientToClient, &d.ClientToClient}, {&c.Late, &d.Late}, {&c.NoRoute, &d.NoRoute},
	} {
		*x.c -= *x.d
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

// The stack verifies what it receives: bytes that were damaged on their way
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
	if p.b.gv.Stats().TCP.ChecksumErrors.Value() == 0 {
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
}

// FuzzPut: whatever a peer sends, nothing panics and nothing is answered that
// is not IPv4.
func FuzzPut(f *testing.F) {
	f.Add(ipv4Packet(addrB.As4(), addrA.As4(), 1, echo()))
	f.Add(ipv4Packet(addrB.As4(), addrA.As4(), 17, []byte{0, 53, 0, 53, 0, 8, 0, 0}))
	f.Add(ipv4Packet(addrB.As4(), addrA.As4(), 6, make([]byte, 20)))
	s := newStack(f, nil)
	n := addIP(f, s, link.SinkFunc(func(b *link.Batch) {
		for i := range b.Frames {
			if first := b.Frames[i].Peek(1); first == nil || first[0]>>4 != 4 {
				panic("sent what is not IPv4")
			}
		}
	}), addrA)
	ln, err := s.Listen("tcp", ":80")
	if err != nil {
		f.Fatal(err)
	}
	defer ln.Close()
	f.Fuzz(func(t *testing.T, packet []byte) {
		packet = bytes.Clone(packet)
		if len(packet) >= 20 && packet[0]>>4 == 4 { // past the first checksum
			if h := int(packet[0]&15) * 4; h >= 20 && h <= len(packet) {
				packet[10], packet[11] = 0, 0
				s := ^checksumOf(packet[:h])
				packet[10], packet[11] = byte(s>>8), byte(s)
			}
		}
		put(n, packet)
	})
}
