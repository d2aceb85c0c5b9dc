package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A told is what a Merger must not change: per flow, in order, each byte of the
// stream with its place and with what the headers said beside it, and every packet
// that is something else. It is found out with nothing of the Merger's.
type told map[string][]event

// An event is a byte of a stream, a push if there is no byte, or another packet.
type event struct {
	seq, value int
	said       string // by the headers
}

func (t told) hear(p []byte) {
	flow, headers, ip := flowOf(p)
	if mayBeTCP(p) { // of any of the flows, each of which has to stay in order with it
		for other := range t {
			t[other] = append(t[other], event{said: string(p)})
		}
	}
	if headers == 0 {
		t[flow] = append(t[flow], event{said: string(p)})
		return
	}
	said := bytes.Clone(p[:headers])
	if ip == 20 { // total length, identification, checksum
		clear(said[2:6])
		clear(said[10:12])
	} else {
		clear(said[4:6])
	}
	seq := binary.BigEndian.Uint32(said[ip+4:])
	clear(said[ip+4 : ip+8])
	clear(said[ip+16 : ip+18])
	said[ip+13] &^= 0x08
	headersSay := string(said)
	for i, b := range p[headers:] {
		t[flow] = append(t[flow], event{int(seq + uint32(i)), int(b), headersSay})
	}
	if p[ip+13]&0x08 != 0 {
		t[flow] = append(t[flow], event{value: -1})
	}
}

// flowOf is the flow that p belongs to, if that can be told, and the length of its headers and
// of its IP header, if it is of those segments that may be merged.
func flowOf(p []byte) (flow string, headers, ip int) {
	protocol := byte(0)
	switch {
	case len(p) >= 20 && p[0] == 0x45 && binary.BigEndian.Uint16(p[6:])&^0x4000&^0x8000 == 0 && int(binary.BigEndian.Uint16(p[2:])) == len(p):
		ip, protocol = 20, p[9]
	case len(p) >= 40 && p[0]>>4 == 6 && int(binary.BigEndian.Uint16(p[4:])) == len(p)-40:
		ip, protocol = 40, p[6]
	}
	if protocol != 6 || len(p) < ip+20 {
		return "other", 0, 0
	}
	addresses := 12
	if ip == 40 {
		addresses = 8
	}
	flow = fmt.Sprintf("%x", p[addresses:ip+4])
	if offset := int(p[ip+12]>>4) * 4; offset >= 20 && ip+offset < len(p) && p[ip+12]&0xf == 0 && p[ip+13]&^0x08 == 0x10 {
		headers = ip + offset
	}
	return flow, headers, ip
}

// mayBeTCP tells of a packet that has TCP behind options or extension headers, or in
// fragments, or too little of it to tell which flow's it is.
func mayBeTCP(p []byte) bool {
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		whole := p[0] == 0x45 && binary.BigEndian.Uint16(p[6:])&0x3fff == 0 && int(binary.BigEndian.Uint16(p[2:])) == len(p)
		return p[9] == 6 && (!whole || len(p) < 40)
	case len(p) >= 40 && p[0]>>4 == 6:
		whole := int(binary.BigEndian.Uint16(p[4:])) == len(p)-40
		return p[6] != 17 && p[6] != 58 && (p[6] != 6 || !whole || len(p) < 60)
	}
	return false
}

// merge has packets merged, and checks that they are whole and say what was said.
func merge(m *Merger, packets [][]byte) (got [][]byte, err error) {
	m.Reset()
	want, is := told{}, told{}
	for _, p := range packets {
		want.hear(p)
		m.Add(bytes.Clone(p))
	}
	if m.Len() != len(packets) {
		return nil, fmt.Errorf("%d packets, of %d that were added", m.Len(), len(packets))
	}
	for i := range packets {
		h, n := m.Size(i)
		if h == 0 {
			continue
		}
		n += h
		p := bytes.Repeat([]byte{0xa5}, n)
		m.Write(i, p[:h], p[h:])
		if _, headers, _ := flowOf(p); h != n && h != headers {
			return nil, fmt.Errorf("headers of %d bytes, not %d", h, headers)
		}
		if n > 0xffff && !slices.ContainsFunc(packets, func(q []byte) bool { return bytes.Equal(p, q) }) {
			return nil, fmt.Errorf("a packet of %d bytes", n)
		}
		if _, headers, ip := flowOf(p); headers > 0 && ip == 20 && !bytes.Equal(p, packets[i]) && plainSum(p[:20]) != 0xffff {
			return nil, fmt.Errorf("an IPv4 header that sums up to %#04x", plainSum(p[:20]))
		}
		is.hear(p)
		got = append(got, p)
	}
	for flow := range want {
		for i, w := range want[flow] {
			if i >= len(is[flow]) || is[flow][i] != w {
				return nil, fmt.Errorf("flow %s: of %d events, number %d is not %x", flow, len(want[flow]), i, w)
			}
		}
		if len(is[flow]) > len(want[flow]) {
			return nil, fmt.Errorf("flow %s: more than there was: %x", flow, is[flow][len(want[flow]):])
		}
	}
	return got, nil
}

// split is what Split makes of headers and payload.
func split(t testing.TB, headers, payload []byte, mss int) [][]byte {
	var out segments
	if _, err := Split(&out, headers, [][]byte{payload}, mss); err != nil {
		t.Fatal(err)
	}
	return out.packets
}

// plainHeaders are headers with ACK and PSH, and nothing that keeps segments from
// being merged.
func plainHeaders(v6 bool, options int) []byte {
	h := superHeaders(options)
	if v6 {
		h = superHeaders6(options)
	}
	h[len(h)-options-7] = 0x18
	return h
}

// Splitting and merging undo each other.
func TestMergeUndoesSplit(t *testing.T) {
	payload := randomBytes(62008)
	for _, v6 := range []bool{false, true} {
		for _, mss := range []int{1, 7, 536, 1348, 1400, 9000, 62008} {
			var m Merger
			size := min(len(payload), 60*mss)
			headers := plainHeaders(v6, 12)
			got, err := merge(&m, split(t, headers, payload[:size], mss))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 {
				t.Fatalf("segments of %d bytes become %d packets", mss, len(got))
			}
			p := got[0]
			if !bytes.Equal(p[len(headers):], payload[:size]) {
				t.Fatalf("segments of %d bytes become other bytes", mss)
			}
			total := len(p)
			if says := int(binary.BigEndian.Uint16(p[2:])); !v6 && says != total {
				t.Errorf("the total length is %d of %d", says, total)
			}
			if says := int(binary.BigEndian.Uint16(p[4:])); v6 && says != total-40 {
				t.Errorf("the payload length is %d of %d", says, total-40)
			}
			ip := 20
			if v6 {
				ip = 40
			}
			if flags := p[ip+13]; flags != 0x18 {
				t.Errorf("the flags are %#x, want PSH and ACK", flags)
			}
		}
	}
}

// RFC 3168 §5: what says that there is congestion is in the IP header. RFC 7323
// §3.2: timestamps are for the segment that has them.
func TestMergeKeepsApart(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		ip, hop := 20, 8
		if v6 {
			ip, hop = 40, 7
		}
		for _, row := range []struct {
			name   string
			change func(p []byte) []byte // of the second of three segments
			want   int                   // packets
		}{
			{"nothing", func(p []byte) []byte { return p }, 1},
			{"another identification", func(p []byte) []byte {
				if !v6 {
					p[4]++
				}
				return p
			}, 1},
			{"a checksum, which is right by agreement", func(p []byte) []byte { p[ip+16]++; return p }, 1},
			{"congestion experienced", func(p []byte) []byte {
				if v6 {
					p[1] |= 0x30
				} else {
					p[1] |= 3
				}
				return p
			}, 3},
			{"another hop limit", func(p []byte) []byte { p[hop]--; return p }, 3},
			{"another acknowledgement", func(p []byte) []byte { p[ip+11]++; return p }, 3},
			{"another window", func(p []byte) []byte { p[ip+15]++; return p }, 3},
			{"another urgent pointer", func(p []byte) []byte { p[ip+19]++; return p }, 3},
			{"another option", func(p []byte) []byte { p[ip+23]++; return p }, 3},
			{"a sequence number further on", func(p []byte) []byte { p[ip+7]++; return p }, 3},
			{"another port", func(p []byte) []byte { p[ip+3]++; return p }, 3},
			{"another address", func(p []byte) []byte { p[ip-1]++; return p }, 3},
			{"PSH", func(p []byte) []byte { p[ip+13] |= 0x08; return p }, 2},
			{"FIN", func(p []byte) []byte { p[ip+13] |= 0x01; return p }, 3},
			{"SYN", func(p []byte) []byte { p[ip+13] |= 0x02; return p }, 3},
			{"RST", func(p []byte) []byte { p[ip+13] |= 0x04; return p }, 3},
			{"URG", func(p []byte) []byte { p[ip+13] |= 0x20; return p }, 3},
			{"ECE", func(p []byte) []byte { p[ip+13] |= 0x40; return p }, 3},
			{"CWR", func(p []byte) []byte { p[ip+13] |= 0x80; return p }, 3},
			{"AE", func(p []byte) []byte { p[ip+12] |= 1; return p }, 3},
			{"no ACK", func(p []byte) []byte { p[ip+13] &^= 0x10; return p }, 3},
			{"a header longer than the segment", func(p []byte) []byte { p[ip+12] = 0xf0; return p[:ip+40] }, 3},
			{"a header that is too short", func(p []byte) []byte { p[ip+12] = 0x40; return p }, 3},
			{"no payload", func(p []byte) []byte {
				p = p[:ip+32]
				if v6 {
					p[4], p[5] = 0, 32
				} else {
					p[2], p[3] = 0, 52
				}
				return p
			}, 3},
			{"more fragments", func(p []byte) []byte {
				if v6 {
					p[6] = 44
				} else {
					p[6] |= 0x20
				}
				return p
			}, 3},
			{"another protocol", func(p []byte) []byte {
				if v6 {
					p[6] = 17
				} else {
					p[9] = 17
				}
				return p
			}, 3},
		} {
			packets := split(t, plainHeaders(v6, 12), randomBytes(300), 100)
			packets[1] = row.change(packets[1])
			var m Merger
			got, err := merge(&m, packets)
			if err != nil {
				t.Errorf("%s, IPv6 %v: %v", row.name, v6, err)
			}
			// What does not touch the flow leaves a gap all the same.
			if len(got) != row.want {
				t.Errorf("%s, IPv6 %v: %d packets, want %d", row.name, v6, len(got), row.want)
			}
		}
	}
	// Options that are not told apart by anything else: the first segment's are longer.
	a := split(t, plainHeaders(false, 12), randomBytes(100), 100)
	b := split(t, plainHeaders(false, 0), randomBytes(100), 100)
	binary.BigEndian.PutUint32(b[0][24:], binary.BigEndian.Uint32(b[0][24:])+100)
	a[0][33] = 0x10
	var m Merger
	if got, err := merge(&m, [][]byte{a[0], b[0]}); err != nil || len(got) != 2 {
		t.Errorf("%d packets, %v", len(got), err)
	}
}

// What may be of any flow is not overtaken by the segments behind it.
func TestMergeDoesNotOvertake(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		h := plainHeaders(v6, 0)
		h[len(h)-7] = 0x10
		packets := split(t, h, randomBytes(300), 100)
		obscure := bytes.Clone(packets[1])
		if v6 {
			obscure[6] = 60 // Destination Options
		} else {
			obscure[0] = 0x46 // with options
		}
		var m Merger
		if got, err := merge(&m, [][]byte{packets[0], obscure, packets[1]}); err != nil || len(got) != 3 {
			t.Errorf("IPv6 %v: %d packets, %v", v6, len(got), err)
		}
	}
}

// A pure acknowledgement stays where it is in its flow, and another flow's segments
// do not care.
func TestMergeInterleaved(t *testing.T) {
	for flows := 1; flows <= mergeFlows; flows++ {
		var m Merger
		var packets [][]byte
		for k := range 6 {
			for i := range flows {
				h := plainHeaders(i%2 == 1, 0)
				h[len(h)-20] += byte(i)
				h[len(h)-7] = 0x10
				packets = append(packets, split(t, h, randomBytes(600), 100)[k])
			}
		}
		got, err := merge(&m, packets)
		if err != nil || len(got) != flows {
			t.Errorf("%d flows become %d packets, %v", flows, len(got), err)
		}
	}
}

// The longest packet is one that IPv4 can say.
func TestMergeLongest(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		h := plainHeaders(v6, 0)
		h[len(h)-7] = 0x10
		var packets [][]byte
		payload := randomBytes(1395)
		for range 100 {
			packets = append(packets, split(t, h, payload, 1395)...)
			seq := h[len(h)-16:]
			binary.BigEndian.PutUint32(seq, binary.BigEndian.Uint32(seq)+1395)
		}
		var m Merger
		got, err := merge(&m, packets)
		if want := (0xffff - len(h)) / 1395 * 1395; err != nil || len(got) != 3 || len(got[0]) != len(h)+want {
			t.Errorf("%d packets, the first of %d bytes, %v", len(got), len(got[0]), err)
		}
	}
}

// Whatever comes, in whichever order, each flow's receiver is told the same.
func TestMergeTellsTheSame(t *testing.T) {
	var m Merger
	merged := 0
	for seed := range uint64(150) {
		packets := anyTraffic(rand.New(rand.NewPCG(seed, 5)))
		got, err := merge(&m, packets)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		merged += len(packets) - len(got)
	}
	if merged < 1500 {
		t.Errorf("only %d segments have been merged", merged)
	}
}

// anyTraffic is a batch of segments of some flows, in bursts, a few of which are
// lost, come twice or too late, or are something else.
func anyTraffic(r *rand.Rand) (packets [][]byte) {
	flows := make([][]byte, 1+r.IntN(mergeFlows+4))
	for i := range flows {
		flows[i] = plainHeaders(r.IntN(2) == 0, r.IntN(4)*4)
	}
	for len(packets) < BatchMax {
		i := r.IntN(len(flows))
		h := flows[i]
		ip := 20
		if h[0]>>4 == 6 {
			ip = 40
		}
		h[ip+3] = byte(i)
		for range 1 + r.IntN(8) {
			n := r.IntN(40)
			p := append(bytes.Clone(h), make([]byte, n)...)
			for j := range n {
				p[len(h)+j] = byte(r.Uint32())
			}
			if ip == 20 {
				binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
			} else {
				binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
			}
			p[ip+13] = 0x10
			if r.IntN(6) == 0 {
				p[ip+13] |= 0x08
			}
			if r.IntN(20) == 0 {
				p[ip+13] = byte(r.Uint32())
			}
			if r.IntN(20) == 0 {
				p[r.IntN(len(p))] ^= 1 << r.IntN(8)
			}
			if seq := h[ip+4:]; r.IntN(20) != 0 {
				binary.BigEndian.PutUint32(seq, binary.BigEndian.Uint32(seq)+uint32(n))
			}
			if r.IntN(30) != 0 {
				packets = append(packets, p)
			}
		}
	}
	if r.IntN(3) == 0 {
		for range 5 {
			i, j := r.IntN(len(packets)), r.IntN(len(packets))
			packets[i], packets[j] = packets[j], packets[i]
		}
	}
	return packets
}

// The Merger is given what peers send.
func FuzzMerge(f *testing.F) {
	pack := func(packets [][]byte) (b []byte) {
		for _, p := range packets {
			b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
			b = append(b, p...)
		}
		return b
	}
	for seed := range uint64(4) {
		f.Add(pack(anyTraffic(rand.New(rand.NewPCG(seed, 6)))))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var packets [][]byte
		for len(b) > 2 && len(packets) < 2*BatchMax {
			n := min(max(1, int(binary.BigEndian.Uint16(b))), len(b)-2)
			packets = append(packets, b[2:2+n])
			b = b[2+n:]
		}
		var m Merger
		if _, err := merge(&m, packets); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkMerge merges what one receive brings.
func BenchmarkMerge(b *testing.B) {
	packets := split(b, plainHeaders(false, 12), randomBytes(62008), 1348)
	var m Merger
	whole := make([]byte, 0xffff)
	b.SetBytes(62008)
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range packets {
			m.Add(p)
		}
		for i := range m.Len() {
			if h, n := m.Size(i); h > 0 {
				m.Write(i, whole[:h], whole[h:h+n])
			}
		}
		m.Reset()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(packets)), "ns/segment")
}
