package netstack

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
)

// A delivery is what is sent: batches of pieces of a stream.
type delivery struct {
	size    int
	batches [][]parcel
}

// A parcel is a segment on its way, to which something may have happened.
type parcel struct {
	at, n  int
	push   bool
	ecn    bool // congestion experienced, as a router marks it
	window byte
	damage damage
	bit    int // which, where one is another
}

type damage byte

const (
	intact    damage = iota
	padded           // there is more behind it
	flipped          // one bit is another
	cut              // the frame is shorter than its packet says
	shortened        // the packet says that it is shorter than it was
	unsummed         // its checksum is another
	damages
)

// anyDelivery is made of what a fuzzer says: each byte is a segment, of a burst in order,
// or what happens to it.
func anyDelivery(choices []byte) (d delivery) {
	next := func() int {
		if len(choices) == 0 {
			return 0
		}
		c := choices[0]
		choices = choices[1:]
		return int(c)
	}
	var batch []parcel
	for len(choices) > 0 && d.size < 24_000 { // all of it is in the first window, of 20 segments
		what := next()
		p := parcel{at: d.size, n: 1 + next()*4, push: what&0x30 == 0x30, window: 0xff}
		if what&8 != 0 {
			p.n = 1000
		}
		switch what & 7 {
		case 1: // lost: the end brings it
			d.size += p.n
			continue
		case 2: // twice
			batch = append(batch, p)
		case 3: // too late
			if len(batch) > 0 {
				i := next() % len(batch)
				batch = slices.Insert(batch, i, p)
				d.size += p.n
				continue
			}
		case 4: // once more, across two of before
			p.at = max(0, d.size-next()*8)
			p.n = min(p.n, d.size-p.at)
			if p.n == 0 {
				continue
			}
			batch = append(batch, p)
			continue
		case 5: // damaged
			p.damage, p.bit = damage(next()%int(damages)), next()<<8+next()
		case 6:
			if what&0x40 != 0 {
				p.ecn = true
			} else {
				p.window = 0xfe
			}
		}
		batch = append(batch, p)
		if d.size += p.n; what&0x80 != 0 && len(batch) > 20 || len(batch) == link.BatchMax {
			d.batches, batch = append(d.batches, batch), nil
		}
	}
	return delivery{d.size, append(d.batches, batch)}
}

// wire is what a parcel is on the link, and whether the stack is to get it.
func (p *rawPeer) wire(f *rawFlow, port uint16, stream []byte, x parcel) (frame []byte, arrives bool) {
	flags := byte(header.TCPFlagAck)
	if x.push {
		flags |= byte(header.TCPFlagPsh)
	}
	packet := p.segment(f, port, uint32(x.at), flags, nil, stream[x.at:x.at+x.n])
	ip := 20
	if p.v6 {
		ip = 40
	}
	resum := func() {
		if !p.v6 {
			packet[10], packet[11] = 0, 0
			binary.BigEndian.PutUint16(packet[10:], ^checksumOf(packet[:20]))
		}
	}
	if x.window != 0xff {
		packet[ip+14] = x.window
		packet = append(packet[:ip:ip], p.packet(6, packet[ip:], 16)[ip:]...)
	}
	if x.ecn {
		packet[1] |= 0x03 // of IPv4, and of IPv6 a bit of the flow label
		resum()
	}
	switch x.damage {
	case intact:
	case padded:
		return append(p.frame(packet), make([]byte, 1+x.bit%20)...), true
	case flipped:
		first := 0
		if p.v6 {
			first = 8 // no checksum is of what is before
		}
		among := (len(packet) - first) * 8
		if x.bit%2 == 0 { // in the IP header, which is short
			among = (ip - first) * 8
		}
		bit := x.bit / 2 % among
		packet[first+bit/8] ^= 1 << (bit % 8)
		return p.frame(packet), false
	case cut:
		f := p.frame(packet)
		return f[:len(f)-1-x.bit%(x.n)], false
	case shortened:
		n := len(packet) - 1
		if p.v6 {
			binary.BigEndian.PutUint16(packet[4:], uint16(n-40))
		} else {
			binary.BigEndian.PutUint16(packet[2:], uint16(n))
			resum()
		}
		return p.frame(packet), false
	case unsummed:
		packet[ip+16] ^= byte(1 + x.bit%255)
		return p.frame(packet), false
	}
	return p.frame(packet), true
}

// arrived is what a receiver has of a stream.
type arrived struct{ ranges [][2]uint32 } // disjoint, in order, none next to another

func (a *arrived) add(x parcel) {
	is := [2]uint32{uint32(x.at), uint32(x.at + x.n)}
	var all [][2]uint32
	for _, r := range a.ranges {
		if r[1] < is[0] || r[0] > is[1] {
			all = append(all, r)
			continue
		}
		is = [2]uint32{min(r[0], is[0]), max(r[1], is[1])}
	}
	a.ranges = append(all, is)
	slices.SortFunc(a.ranges, func(a, b [2]uint32) int { return cmp.Compare(a[0], b[0]) })
}

// acknowledged is what a receiver acknowledges, and what it has beyond that.
func (a *arrived) acknowledged() (next uint32, beyond [][2]uint32) {
	if len(a.ranges) > 0 && a.ranges[0][0] == 0 {
		return a.ranges[0][1], a.ranges[1:]
	}
	return 0, a.ranges
}

// deliver sends everything to a stack, in batches or packet by packet, and then what is
// missing. After each batch the stack has to acknowledge what it has got, and no more, by
// SACK as well; and all bytes have to be the stream's at the end.
func (p *rawPeer) deliver(t testing.TB, ln net.Listener, port uint16, d delivery, singly bool) {
	t.Helper()
	f, c := p.connect(t, ln, port)
	defer c.Close()
	stream := make([]byte, d.size)
	(&pattern{size: d.size}).Read(stream)
	read := make(chan error, 1)
	go func() {
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(got, stream) {
			err = fmt.Errorf("%d bytes came, or others than the %d that were sent", len(got), len(stream))
		}
		read <- err
	}()
	var has arrived
	most := 0 // ranges, since there were none: a receiver remembers some of them alone
	send := func(batch []parcel, fin bool) {
		t.Helper()
		var frames [][]byte
		for _, x := range batch {
			frame, arrives := p.wire(f, port, stream, x)
			if frames = append(frames, frame); arrives {
				has.add(x)
				_, beyond := has.acknowledged()
				most = max(most, len(beyond))
			}
		}
		next, beyond := has.acknowledged()
		if fin {
			frames = append(frames, p.frame(p.segment(f, port, uint32(d.size), byte(header.TCPFlagAck|header.TCPFlagFin), nil, nil)))
			next++
		}
		if singly {
			for _, frame := range frames {
				put(p.nic, frame)
			}
		} else {
			put(p.nic, frames...)
		}
		if len(beyond) == 0 {
			most = 0
		}
		p.await(t, fmt.Sprintf("that %d bytes are acknowledged, and beyond that %v", next, beyond), f, func() bool {
			return f.acked == next && (most > 4 || slices.Equal(f.sack, beyond))
		})
	}
	for _, batch := range d.batches {
		send(batch, false)
	}
	var rest []parcel
	for at := 0; at < d.size; at += 1400 {
		rest = append(rest, parcel{at: at, n: min(1400, d.size-at), window: 0xff})
	}
	for len(rest) > link.BatchMax {
		send(rest[:link.BatchMax], false)
		rest = rest[link.BatchMax:]
	}
	send(rest, true)
	if err := <-read; err != nil {
		t.Fatal(err)
	}
}

// Issue 5: "a test corrupts checksums, sizes and orders on purpose, and merging is fuzzed
// against an oracle that does not merge." The oracle is the same stack, which gets the same
// packets one by one, and a list of what has arrived.
func TestMergingIsNotSeen(t *testing.T) {
	for _, l := range rawLinks {
		t.Run(l.name, func(t *testing.T) {
			merging, s1, ln1 := newRawPeer(t, l.ether, l.v6)
			not, s2, ln2 := newRawPeer(t, l.ether, l.v6)
			for seed := range uint64(12) {
				r := rand.New(rand.NewPCG(seed, 3))
				choices := make([]byte, 400)
				for i := range choices {
					choices[i] = byte(r.Uint32())
					if r.IntN(3) > 0 { // long bursts in order, too
						choices[i] &= 0x78
					}
				}
				d := anyDelivery(choices)
				merging.deliver(t, ln1, uint16(1000+seed), d, false)
				not.deliver(t, ln2, uint16(1000+seed), d, true)
			}
			few, many := s1.gv.Stats().TCP.ValidSegmentsReceived.Value(), s2.gv.Stats().TCP.ValidSegmentsReceived.Value()
			if few > many*4/5 {
				t.Errorf("the stack got %d segments where they are merged, and %d where they are not", few, many)
			}
			damaged := not.nic.(interface{ Counters() Counters }).Counters()
			if with := merging.nic.(interface{ Counters() Counters }).Counters(); with.CorruptTCP != damaged.CorruptTCP || damaged.CorruptTCP == 0 || with.Malformed != damaged.Malformed || damaged.Malformed == 0 {
				t.Errorf("of what was damaged were counted %+v, and one by one %+v", with, damaged)
			}
		})
	}
}

func FuzzMergingIsNotSeen(f *testing.F) {
	f.Add([]byte{0x08, 0, 0x08, 0, 0x0d, 2, 9, 9, 0x08, 0, 0x0b, 0, 1, 0x08, 0})
	f.Add(bytes.Repeat([]byte{0x10, 200}, 50))
	f.Add(bytes.Repeat([]byte{0x08, 0, 0x01, 30, 0x04, 100, 90}, 20))
	type ends struct {
		p    [2]*rawPeer
		ln   [2]net.Listener
		port uint16
	}
	var all []*ends
	for _, l := range rawLinks {
		e := &ends{port: 1000}
		for i := range e.p {
			e.p[i], _, e.ln[i] = newRawPeer(f, l.ether, l.v6)
		}
		all = append(all, e)
	}
	n := 0
	f.Fuzz(func(t *testing.T, choices []byte) {
		d := anyDelivery(choices[:min(len(choices), 1000)])
		e := all[n%len(all)]
		n++
		if e.port++; e.port > 60000 {
			t.Skip("no ports are left")
		}
		for i := range e.p {
			e.p[i].deliver(t, e.ln[i], e.port, d, i == 1)
		}
	})
}
