package link

import (
	"encoding/binary"
	"fmt"
)

// Where things are in the headers of IPv4 (RFC 791 §3.1), IPv6 (RFC 8200 §3) and
// TCP (RFC 9293 §3.1), in bytes.
const (
	ipv4TotalLength = 2
	ipv4ID          = 4
	ipv4Fragment    = 6
	ipv4Protocol    = 9
	ipv4Checksum    = 10
	ipv4Addresses   = 12
	ipv4MinLen      = 20

	ipv6PayloadLength = 4
	ipv6NextHeader    = 6
	ipv6Addresses     = 8
	ipv6Len           = 40

	protocolTCP = 6

	tcpSequence = 4
	tcpOffset   = 12
	tcpFlags    = 13
	tcpChecksum = 16
	tcpMinLen   = 20

	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpCWR = 0x80
)

// Split cuts a TCP super-packet, one that a stack made larger than the link can
// carry, and hands the segments to out, in batches of at most [BatchMax].
// Headers are its IPv4 or IPv6 header and its TCP header, as one; payload is what
// follows, in pieces; mss is how many bytes of it each segment but the last carries. It
// reports how many segments there were. A packet no longer than mss is one
// segment: what Split does for it is to complete its checksum.
//
// The checksums in headers are not looked at and computed anew, as is the
// length; identification (of IPv4) and sequence number count up from what they
// are; FIN and PSH go with the last segment, CWR with the first (RFC 3168
// §6.1.2). A segment borrows its payload from at most two pieces; it
// copies one that lies in more. Headers that are not those of a whole IP packet
// with TCP in it, for IPv6 without extension headers, are an error, and nothing
// is handed to out then.
func Split(out Sink, headers []byte, payload [][]byte, mss int) (segments int, err error) {
	if err := checkHeaders(headers, mss); err != nil {
		return 0, err
	}
	size := 0
	for _, p := range payload {
		size += len(p)
	}
	b := NewBatch()
	defer b.Free()
	c := newCutter(headers)
	var at cursor
	for first := true; first || size > 0; first = false {
		n := min(mss, size)
		size -= n
		body, tail, ok := at.next(payload, n)
		var f *Frame
		if ok {
			f = b.Add(len(headers), body, tail)
		} else {
			f = b.Add(len(headers)+n, nil, nil)
			body = f.Head()[len(headers):]
			at.copy(body, payload)
		}
		c.write(f.Head()[:len(headers)], n, sum2(body, tail), first, size == 0)
		segments++
		if len(b.Frames) == BatchMax || size == 0 {
			out.Put(b)
			b.Reset()
		}
	}
	return segments, nil
}

func checkHeaders(h []byte, mss int) error {
	if len(h) < ipv4MinLen+tcpMinLen {
		return fmt.Errorf("link: %d bytes are too few for the headers of IP and TCP", len(h))
	}
	ip, protocol, carries := ipv6Len, h[ipv6NextHeader], 0xffff+ipv6Len
	switch h[0] >> 4 {
	case 4:
		ip, protocol, carries = int(h[0]&0x0f)*4, h[ipv4Protocol], 0xffff
	case 6:
	default:
		return fmt.Errorf("link: cannot split a packet of IP version %d, only of 4 and 6", h[0]>>4)
	}
	switch {
	case protocol != protocolTCP:
		return fmt.Errorf("link: cannot split protocol %d, only TCP (%d)", protocol, protocolTCP)
	case h[0]>>4 == 4 && binary.BigEndian.Uint16(h[ipv4Fragment:])&0x3fff != 0: // more fragments, or an offset
		return fmt.Errorf("link: cannot split a fragment")
	case ip < ipv4MinLen || ip+tcpMinLen > len(h):
		return fmt.Errorf("link: an IP header of %d bytes in %d bytes of headers", ip, len(h))
	case int(h[ip+tcpOffset]>>4)*4 != len(h)-ip:
		return fmt.Errorf("link: a TCP header of %d bytes where there are %d", int(h[ip+tcpOffset]>>4)*4, len(h)-ip)
	case mss < 1 || len(h)+mss > carries:
		return fmt.Errorf("link: segments of %d bytes of payload", mss)
	}
	return nil
}

// A cutter writes the headers of the segments. What they have in common is
// summed up once.
type cutter struct {
	headers []byte
	v6      bool
	ip      int    // length of the IP header
	ipSum   uint64 // all of the IPv4 header but what differs; IPv6 has no checksum
	tcpSum  uint64 // the same of TCP, and of its pseudo-header
	id      uint16 // of IPv4
	seq     uint32
}

func newCutter(h []byte) cutter {
	c := cutter{headers: h, v6: h[0]>>4 == 6}
	var addresses []byte
	if c.v6 {
		c.ip = ipv6Len
		addresses = h[ipv6Addresses:ipv6Len]
	} else {
		c.ip = int(h[0]&0x0f) * 4
		addresses = h[ipv4Addresses : ipv4Addresses+8]
		c.ipSum = uint64(sum(h[:ipv4TotalLength])) + uint64(sum(h[ipv4Fragment:ipv4Checksum])) + uint64(sum(h[ipv4Addresses:c.ip]))
		c.id = binary.BigEndian.Uint16(h[ipv4ID:])
	}
	// The pseudo-headers of RFC 9293 §3.1 and RFC 8200 §8.1 have the same sum:
	// addresses, protocol, and TCP's length, which differs.
	t := h[c.ip:]
	c.tcpSum = uint64(sum(addresses)) + protocolTCP +
		uint64(sum(t[:tcpSequence])) + uint64(sum(t[tcpSequence+4:tcpOffset])) +
		uint64(sum(t[tcpFlags+1:tcpChecksum])) + uint64(sum(t[tcpChecksum+2:]))
	c.seq = binary.BigEndian.Uint32(t[tcpSequence:])
	return c
}

// write writes the headers of the next segment, with n bytes of payload that
// sum up to payloadSum, to h.
func (c *cutter) write(h []byte, n int, payloadSum uint16, first, last bool) {
	copy(h, c.headers)
	if c.v6 {
		binary.BigEndian.PutUint16(h[ipv6PayloadLength:], uint16(len(h)+n-ipv6Len))
	} else {
		total := uint16(len(h) + n)
		binary.BigEndian.PutUint16(h[ipv4TotalLength:], total)
		binary.BigEndian.PutUint16(h[ipv4ID:], c.id)
		binary.BigEndian.PutUint16(h[ipv4Checksum:], ^fold(c.ipSum+uint64(total)+uint64(c.id)))
		c.id++
	}

	t := h[c.ip:]
	binary.BigEndian.PutUint32(t[tcpSequence:], c.seq)
	if !first {
		t[tcpFlags] &^= tcpCWR
	}
	if !last {
		t[tcpFlags] &^= tcpFIN | tcpPSH
	}
	differs := uint64(c.seq>>16) + uint64(c.seq&0xffff) + uint64(binary.BigEndian.Uint16(t[tcpOffset:])) + uint64(len(t)+n)
	binary.BigEndian.PutUint16(t[tcpChecksum:], ^fold(c.tcpSum+differs+uint64(payloadSum)))
	c.seq += uint32(n)
}

// A cursor is a place in a payload that lies in pieces. (The payload is an
// argument of its methods, and not kept, so that it need not be on the heap.)
type cursor struct{ piece, off int }

// next is the next n bytes, of which there are as many, when they lie in one
// piece or in two. Otherwise it stays where it is and reports false.
func (c *cursor) next(payload [][]byte, n int) (body, tail []byte, ok bool) {
	if n == 0 {
		return nil, nil, true
	}
	first := c.rest(payload)
	if len(first) >= n {
		c.off += n
		return first[:n], nil, true
	}
	behind := cursor{piece: c.piece + 1}
	second := behind.rest(payload)
	if len(first)+len(second) < n {
		return nil, nil, false
	}
	behind.off = n - len(first)
	*c = behind
	return first, second[:behind.off], true
}

// copy copies the next len(b) bytes.
func (c *cursor) copy(b []byte, payload [][]byte) {
	for len(b) > 0 {
		n := copy(b, c.rest(payload))
		c.off += n
		b = b[n:]
	}
}

// rest is what is left of the first piece that has something left.
func (c *cursor) rest(payload [][]byte) []byte {
	for c.off == len(payload[c.piece]) {
		c.piece, c.off = c.piece+1, 0
	}
	return payload[c.piece][c.off:]
}
