package netstack

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/l2tpnet/l2tpnet/endpoint/link"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// canFragment4 reports whether a packet of IPv4 can be cut here. Options would have to
// be looked through for those that each fragment must have (RFC 791 §3.1), and
// nobody sends any.
func canFragment4(h header.IPv4) bool { return h.HeaderLength() == header.IPv4MinimumSize }

// fragments are the pieces that an IP packet, or a fragment of one, is sent in.
type fragments struct {
	headers []byte // as the first piece has them
	v6      bool
	rest    []byte
	offset  int  // of rest in the whole packet
	more    bool // something follows rest
	each    int  // bytes of payload in all but the last
}

// fragment4 cuts an IPv4 packet without options (RFC 791 §2.3). A whole one with DF
// has been sent without a thought of being cut, and gets an identification (RFC
// 6864 §4).
func fragment4(p header.IPv4, mtu int) fragments {
	const dontFragment = 0x40
	headers := append([]byte(nil), p[:header.IPv4MinimumSize]...)
	if headers[6]&dontFragment != 0 {
		headers[6] &^= dontFragment
		if p.ID() == 0 && !p.More() && p.FragmentOffset() == 0 {
			binary.BigEndian.PutUint16(headers[4:], uint16(1+rand.N(0xffff)))
		}
	}
	return fragments{
		headers: headers, rest: p[header.IPv4MinimumSize:], offset: int(p.FragmentOffset()), more: p.More(),
		each: (mtu - header.IPv4MinimumSize) &^ 7,
	}
}

// fragment6 cuts an IPv6 packet of our own stack's (RFC 8200 §4.5), which has no
// extension headers but for being a fragment already.
func fragment6(p header.IPv6, mtu int) fragments {
	const size = header.IPv6MinimumSize + header.IPv6FragmentHeaderSize
	f := fragments{v6: true, each: (mtu - size) &^ 7}
	if p.NextHeader() == header.IPv6FragmentHeader && len(p) >= size {
		offset := binary.BigEndian.Uint16(p[header.IPv6MinimumSize+2:])
		f.headers, f.rest, f.offset, f.more = append([]byte(nil), p[:size]...), p[size:], int(offset&^7), offset&1 != 0
		return f
	}
	f.headers, f.rest = make([]byte, size), p[header.IPv6MinimumSize:]
	copy(f.headers, p[:header.IPv6MinimumSize])
	f.headers[6], f.headers[header.IPv6MinimumSize] = header.IPv6FragmentHeader, p.NextHeader()
	binary.BigEndian.PutUint32(f.headers[header.IPv6MinimumSize+4:], rand.Uint32())
	return f
}

// addTo hands the pieces to out by way of b, which has room, and in which the last
// ones are left. It reports how many there are, and their bytes.
func (f *fragments) addTo(b *link.Batch, out link.Sink) (packets, bytes int) {
	for first := true; first || len(f.rest) > 0; first = false {
		if len(b.Frames) >= link.BatchMax {
			out.Put(b)
			b.Reset()
		}
		n := min(f.each, len(f.rest))
		head := b.Add(len(f.headers), f.rest[:n], nil).Head()
		copy(head, f.headers)
		f.write(head, n)
		f.rest, f.offset = f.rest[n:], f.offset+n
		packets, bytes = packets+1, bytes+len(head)+n
	}
	return packets, bytes
}

// write writes into the headers where n bytes of payload belong.
func (f *fragments) write(head []byte, n int) {
	more := f.more || n < len(f.rest)
	if f.v6 {
		field := uint16(f.offset)
		if more {
			field |= 1
		}
		binary.BigEndian.PutUint16(head[header.IPv6MinimumSize+2:], field)
		header.IPv6(head).SetPayloadLength(uint16(header.IPv6FragmentHeaderSize + n))
		return
	}
	h := header.IPv4(head)
	var flags uint8
	if more {
		flags = header.IPv4FlagMoreFragments
	}
	h.SetFlagsFragmentOffset(flags, uint16(f.offset))
	h.SetTotalLength(uint16(len(head) + n))
	h.SetChecksum(0)
	h.SetChecksum(^h.CalculateChecksum())
}
