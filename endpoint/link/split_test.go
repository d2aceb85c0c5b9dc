package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// superHeaders are the headers of a super-packet with FIN, PSH, ACK and CWR
// set, with so many bytes of TCP options. Their lengths and checksums are those
// of no packet.
func superHeaders(options int) []byte {
	h := make([]byte, 40+options)
	copy(h, []byte{0x45, 0x00, 0xab, 0xcd, 0xff, 0xfe, 0x40, 0x00, 64, 6, 0xde, 0xad, 10, 77, 0, 1, 10, 77, 0, 2})
	copy(h[20:], []byte{
		0xc0, 0x00, 0x00, 0x50, // ports
		0xff, 0xff, 0xfc, 0x00, // a sequence number about to wrap
		0x12, 0x34, 0x56, 0x78, // acknowledgement
		byte((20 + options) / 4 << 4), 0x99, // CWR ACK PSH FIN
		0x7f, 0xff, 0xbe, 0xef, 0x00, 0x00,
	})
	for i := range options {
		h[40+i] = 1 // no operation
	}
	return h
}

// superHeaders6 are the same with an IPv6 header, of a traffic class and a flow.
func superHeaders6(options int) []byte {
	h := []byte{0x6b, 0xa1, 0x23, 0x45, 0xde, 0xad, 6, 64}
	h = append(h, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe)
	h = append(h, 0x20, 0x01, 0x0d, 0xb8, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)
	return append(h, superHeaders(options)[20:]...)
}

// segments is a sink that keeps what it gets, each segment in one piece, and
// then spoils what it was lent, as the owner may after the call.
type segments struct {
	packets [][]byte
	copied  int // segments of which nothing was borrowed
	batches []int
}

func (s *segments) Put(b *Batch) {
	s.batches = append(s.batches, len(b.Frames))
	for i := range b.Frames {
		f := &b.Frames[i]
		s.packets = append(s.packets, f.AppendTo(nil))
		if len(f.Body)+len(f.Tail) == 0 {
			s.copied++
		}
		clear(f.Push(Headroom)) // a lower layer's header, anywhere in the room
		f.Pop(Headroom)
	}
}

// check is the oracle: it knows nothing of how the segments came about.
func check(headers []byte, payload []byte, mss int, got [][]byte) error {
	if want := max(1, (len(payload)+mss-1)/mss); len(got) != want {
		return fmt.Errorf("%d segments, want %d", len(got), want)
	}
	v6, ip := headers[0]>>4 == 6, int(headers[0]&0x0f)*4
	if v6 {
		ip = 40
	}
	var whole []byte
	for i, p := range got {
		first, last := i == 0, i == len(got)-1
		n := len(p) - len(headers)
		if n > mss || n < mss && !last {
			return fmt.Errorf("segment %d of %d carries %d bytes, where mss is %d", i, len(got), n, mss)
		}
		var pseudo []byte
		want := bytes.Clone(headers)
		if v6 { // RFC 8200 §8.1: 32 bits of length, three zero bytes, next header
			pseudo = binary.BigEndian.AppendUint32(bytes.Clone(p[8:40]), uint32(len(p)-ip))
			pseudo = append(pseudo, 0, 0, 0, 6)
			binary.BigEndian.PutUint16(want[4:], uint16(len(p)-40))
		} else {
			if s := plainSum(p[:ip]); s != 0xffff {
				return fmt.Errorf("segment %d: the IPv4 header sums up to %#04x", i, s)
			}
			pseudo = append(bytes.Clone(p[12:20]), 0, 6)
			pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(p)-ip))
			binary.BigEndian.PutUint16(want[2:], uint16(len(p)))
			binary.BigEndian.PutUint16(want[4:], binary.BigEndian.Uint16(headers[4:])+uint16(i))
			copy(want[10:12], p[10:12])
		}
		if s := plainSum(append(pseudo, p[ip:]...)); s != 0xffff {
			return fmt.Errorf("segment %d: TCP with its pseudo-header sums up to %#04x", i, s)
		}
		// What is left is what the headers were, but for the fields that Split writes.
		binary.BigEndian.PutUint32(want[ip+4:], binary.BigEndian.Uint32(headers[ip+4:])+uint32(len(whole)))
		copy(want[ip+16:ip+18], p[ip+16:])
		if !last {
			want[ip+13] &^= 0x09 // FIN, PSH
		}
		if !first {
			want[ip+13] &^= 0x80 // CWR
		}
		if !bytes.Equal(p[:len(headers)], want) {
			return fmt.Errorf("segment %d has the headers\n% x, want\n% x", i, p[:len(headers)], want)
		}
		whole = append(whole, p[len(headers):]...)
	}
	if !bytes.Equal(whole, payload) {
		return fmt.Errorf("the payloads of the segments together are not what was split")
	}
	return nil
}

func TestSplit(t *testing.T) {
	payload := randomBytes(62008)
	for _, row := range []struct {
		name    string
		options int
		size    int
		cuts    []int // where one piece ends and the next begins
		mss     int
		batches []int
		copied  int
	}{
		{name: "an acknowledgement, without payload", mss: 1348, batches: []int{1}, copied: 1},
		{name: "one byte", size: 1, mss: 1348, batches: []int{1}},
		{name: "a segment that is full", size: 1348, mss: 1348, batches: []int{1}},
		{name: "one byte more", size: 1349, mss: 1348, batches: []int{2}},
		{name: "a super-packet in one piece", options: 12, size: 62008, mss: 1348, batches: []int{46}},
		{name: "a super-packet in two pieces", options: 12, size: 62008, cuts: []int{32768}, mss: 1348, batches: []int{46}},
		{name: "pieces cut at odd places", options: 12, size: 9000, cuts: []int{777, 2001, 4444}, mss: 1347, batches: []int{7}},
		{name: "pieces that end with a segment", size: 4000, cuts: []int{1000, 2000, 3000}, mss: 1000, batches: []int{4}},
		{name: "empty pieces", size: 4000, cuts: []int{0, 0, 1500, 1500, 4000}, mss: 1000, batches: []int{4}},
		{name: "a segment that lies in three pieces is copied", size: 3000, cuts: []int{1400, 1500}, mss: 1000, batches: []int{3}, copied: 1},
		{name: "a segment that lies in many pieces is copied", size: 40, cuts: []int{5, 6, 7, 8, 9, 10, 11, 12, 35}, mss: 20, batches: []int{2}, copied: 1},
		{name: "more than a batch", options: 40, size: 62008, mss: 460, batches: []int{64, 64, 7}},
		{name: "two batches to the brim", size: 128, mss: 1, batches: []int{64, 64}},
	} {
		for _, version := range []struct {
			name    string
			headers []byte
		}{{"IPv4", superHeaders(row.options)}, {"IPv6", superHeaders6(row.options)}} {
			t.Run(version.name+" "+row.name, func(t *testing.T) {
				headers, data := version.headers, payload[:row.size]
				var pieces [][]byte
				from := 0
				for _, to := range append(row.cuts, row.size) {
					pieces, from = append(pieces, data[from:to]), to
				}
				before := bytes.Clone(headers)
				var out segments
				n, err := Split(&out, headers, pieces, row.mss)
				if err != nil || n != len(out.packets) {
					t.Fatalf("Split reports %d segments, %v, and handed %d out", n, err, len(out.packets))
				}
				if err := check(headers, data, row.mss, out.packets); err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(out.batches) != fmt.Sprint(row.batches) {
					t.Errorf("batches of %v, want %v", out.batches, row.batches)
				}
				if out.copied != row.copied {
					t.Errorf("%d segments borrowed nothing, want %d", out.copied, row.copied)
				}
				if !bytes.Equal(headers, before) {
					t.Error("Split wrote to the headers that it was given")
				}
			})
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	for _, row := range []struct {
		name    string
		headers []byte
		change  func(h []byte) []byte
		mss     int
		want    string
	}{
		{"too little", superHeaders(0), func(h []byte) []byte { return h[:39] }, 1000, "too few"},
		{"version 5", superHeaders(0), func(h []byte) []byte { h[0] = 0x55; return h }, 1000, "version 5"},
		{"UDP", superHeaders(0), func(h []byte) []byte { h[9] = 17; return h }, 1000, "protocol 17"},
		{"the first fragment", superHeaders(0), func(h []byte) []byte { h[6] |= 0x20; return h }, 1000, "fragment"},
		{"a later fragment", superHeaders(0), func(h []byte) []byte { h[7] = 1; return h }, 1000, "fragment"},
		{"an IPv4 header that is too short", superHeaders(0), func(h []byte) []byte { h[0] = 0x44; return h }, 1000, "IP header of 16"},
		{"an IPv4 header that leaves no room", superHeaders(0), func(h []byte) []byte { h[0] = 0x46; return h }, 1000, "IP header of 24"},
		{"TCP options that are not there", superHeaders(0), func(h []byte) []byte { h[32] = 0x60; return h }, 1000, "TCP header of 24"},
		{"bytes after the TCP header", superHeaders(0), func(h []byte) []byte { return append(h, 0, 0, 0, 0) }, 1000, "TCP header of 20"},
		{"segments of nothing", superHeaders(0), func(h []byte) []byte { return h }, 0, "segments of 0"},
		{"segments longer than IPv4 can say", superHeaders(0), func(h []byte) []byte { return h }, 65496, "segments of 65496"},

		{"too little IPv6", superHeaders6(0), func(h []byte) []byte { return h[:59] }, 1000, "IP header of 40 bytes in 59"},
		{"UDP over IPv6", superHeaders6(0), func(h []byte) []byte { h[6] = 17; return h }, 1000, "protocol 17"},
		{"an extension header: a fragment", superHeaders6(0), func(h []byte) []byte { h[6] = 44; return h }, 1000, "protocol 44"},
		{"TCP options that are not there", superHeaders6(0), func(h []byte) []byte { h[52] = 0x60; return h }, 1000, "TCP header of 24"},
		{"segments longer than IPv6 can say", superHeaders6(0), func(h []byte) []byte { return h }, 65516, "segments of 65516"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out segments
			_, err := Split(&out, row.change(row.headers), [][]byte{randomBytes(2000)}, row.mss)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("the error is %v, want one with %q", err, row.want)
			}
			if len(out.packets) != 0 {
				t.Errorf("%d segments were handed out", len(out.packets))
			}
		})
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(superHeaders(12), randomBytes(5000), []byte{1, 200, 30}, 1348)
	f.Add(superHeaders(0), randomBytes(100), []byte{}, 7)
	f.Add(superHeaders6(12), randomBytes(5000), []byte{1, 200, 30}, 1328)
	f.Fuzz(func(t *testing.T, headers, payload, cuts []byte, mss int) {
		if len(payload) > 1<<16 {
			return
		}
		var pieces [][]byte
		rest := payload
		for _, c := range cuts {
			n := min(len(rest), int(c)*8)
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		pieces = append(pieces, rest)
		var out segments
		if _, err := Split(&out, headers, pieces, mss); err != nil {
			if len(out.packets) != 0 {
				t.Fatalf("%d segments were handed out with the error %v", len(out.packets), err)
			}
			return
		}
		if err := check(headers, payload, mss, out.packets); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkSplit splits what one write of gVisor's TCP makes of 62,008 bytes.
func BenchmarkSplit(b *testing.B) {
	headers, payload := superHeaders(12), randomBytes(62008)
	pieces := [][]byte{payload[:32768], payload[32768:]}
	count := 0
	out := SinkFunc(func(b *Batch) { count += len(b.Frames) })
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Split(out, headers, pieces, 1348); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(count), "ns/segment")
}
